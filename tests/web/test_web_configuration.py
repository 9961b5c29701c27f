"""exporter-toolkit's file: what is taken, what is refused, TLS with real clients, reloading."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import bcrypt
import pytest

from tests.conftest import require_program
from tests.web.certificates import Authority, Pair
from tests.web.serving import Answer, ask, basic, connect, converse, request, serving, until, written
from xtcp.errors import ConfigurationError
from xtcp.web import protocol
from xtcp.web import server as server_module
from xtcp.web.configuration import load
from xtcp.web.server import Server

HASH = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The one that everybody trusts."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server_pair(authority: Authority) -> Pair:
    """The server's."""
    return authority.issue("server")


def tls(pair: Pair, *more: str) -> str:
    """A TLS section."""
    lines = [f"  cert_file: {pair.cert}", f"  key_file: {pair.key}", *(f"  {line}" for line in more)]
    return "\n".join(["tls_server_config:", *lines, ""])


def client(authority: Authority, own: Pair | None = None) -> ssl.SSLContext:
    """A client that trusts `authority`, and shows `own`."""
    context = ssl.create_default_context(cafile=str(authority.pair.cert))
    if own is not None:
        context.load_cert_chain(own.cert, own.key)
    return context


def ask_tls(server: Server, context: ssl.SSLContext, **headers: str) -> Answer:
    """A request by TLS."""
    with context.wrap_socket(connect(server), server_hostname="127.0.0.1") as connection:
        return converse(connection, request(**headers))


def promtool_takes(*paths: Path) -> set[Path]:
    """Those of the files that exporter-toolkit itself, in promtool, takes."""
    program = require_program("promtool", "prometheus")
    command = [program, "check", "web-config", *map(str, paths)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    said = (finished.stdout + finished.stderr).splitlines()
    taken, refused = (
        {path for path in paths if any(line.startswith(f"{path} {word}") for line in said)}
        for word in ("SUCCESS", "FAILED")
    )
    assert taken | refused == set(paths) and not taken & refused
    return taken


def test_good_files(tmp_path: Path, server_pair: Pair, authority: Authority) -> None:
    """What exporter-toolkit takes is taken, relative paths and Go's names of ciphers included."""
    shutil.copy(server_pair.cert, tmp_path / "s.pem")
    shutil.copy(server_pair.key, tmp_path / "s.key")
    shutil.copy(authority.pair.cert, tmp_path / "ca.pem")
    assert load(written(tmp_path, "")).context is None
    assert load(written(tmp_path, "# nothing\n---\n")).users == {}
    path = written(
        tmp_path,
        f"""
tls_server_config:
  cert_file: s.pem
  key_file: s.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.pem
  min_version: TLS12
  max_version: TLS13
  prefer_server_cipher_suites: true
  cipher_suites:
    - TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
    - TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
    - TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
    - TLS_RSA_WITH_AES_128_CBC_SHA
http_server_config:
  http2: false
  headers:
    Strict-Transport-Security: max-age=31536000
    X-Frame-Options: deny
basic_auth_users:
  alice: {HASH}
  bob: {HASH.replace("$2b$", "$2y$")}
""",
    )
    assert promtool_takes(path) == {path}
    found = load(path)
    assert found.context is not None and found.context.verify_mode is ssl.CERT_REQUIRED
    names = {cipher["name"] for cipher in found.context.get_ciphers()}
    assert {"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305", "AES128-SHA"} <= names
    assert "ECDHE-ECDSA-AES256-GCM-SHA384" not in names
    assert set(found.users) == {"alice", "bob"}
    assert found.headers["X-Frame-Options"] == "deny"
    assert [path.name for path in found.files] == ["web.yml", "s.pem", "s.key", "ca.pem"]


BAD = {
    "no YAML": "a: [",
    "a list": "[1]",
    "a text": "hello",
    "an unknown section": "tls_config: {}",
    "an unknown key": "tls_server_config: {cert_fle: x}",
    "no certificate": "tls_server_config: {key_file: KEY}",
    "no key": "tls_server_config: {cert_file: CERT}",
    "a certificate that is not there": "tls_server_config: {cert_file: nowhere.pem, key_file: KEY}",
    "a certificate that is none": "tls_server_config: {cert_file: web.yml, key_file: KEY}",
    "a key of another certificate": "tls_server_config: {cert_file: CERT, key_file: OTHER}",
    "an unknown client_auth_type": "tls_server_config: {cert_file: CERT, key_file: KEY, client_auth_type: Always}",
    "an unverified client": (
        "tls_server_config: {cert_file: CERT, key_file: KEY, client_auth_type: RequireAnyClientCert}"
    ),
    "clients without an authority": (
        "tls_server_config: {cert_file: CERT, key_file: KEY, client_auth_type: RequireAndVerifyClientCert}"
    ),
    "an authority for nobody": "tls_server_config: {cert_file: CERT, key_file: KEY, client_ca_file: CERT}",
    "names of nobody": "tls_server_config: {cert_file: CERT, key_file: KEY, client_allowed_sans: [x]}",
    "a version that is none": "tls_server_config: {cert_file: CERT, key_file: KEY, min_version: SSL30}",
    "versions the wrong way": (
        "tls_server_config: {cert_file: CERT, key_file: KEY, min_version: TLS13, max_version: TLS12}"
    ),
    "a cipher that is none": "tls_server_config: {cert_file: CERT, key_file: KEY, cipher_suites: [TLS_ROT13]}",
    "curves": "tls_server_config: {cert_file: CERT, key_file: KEY, curve_preferences: [CurveP256]}",
    "http2 that is neither": "http_server_config: {http2: maybe}",
    "an unknown header": "http_server_config: {headers: {Server: mine}}",
    "a header with a line feed": 'http_server_config: {headers: {X-XSS-Protection: "a\\nSet-Cookie: b"}}',
    "a header's value that is none": "http_server_config: {headers: {X-Frame-Options: perhaps}}",
    "users that are a list": "basic_auth_users: [alice]",
    "a line that does not end": 'basic_auth_users: {alice: "secretword',
    "a password in clear": "basic_auth_users: {alice: secretword}",
    "a hash of md5": 'basic_auth_users: {alice: "$apr1$secretword"}',
    "a hash that takes minutes": "basic_auth_users: {alice: HASH20}",
    "code": "!!python/object/apply:os.system [id]",
}


# What exporter-toolkit takes: Go can do some of it, and some it finds out later, or never.
OURS_ALONE = {
    *("an unverified client", "clients without an authority", "versions the wrong way", "curves"),
    *("a hash that takes minutes", "a header with a line feed"),
}


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory: pytest.TempPathFactory, server_pair: Pair, authority: Authority) -> dict[str, Path]:
    """Each of BAD in a folder of its own."""
    words = {
        "CERT": str(server_pair.cert),
        "KEY": str(server_pair.key),
        "OTHER": str(authority.issue("other").key),
        "HASH20": HASH.replace("$04$", "$20$"),
    }
    files = {}
    for name, text in BAD.items():
        for word, value in words.items():
            text = text.replace(word, value)
        files[name] = written(tmp_path_factory.mktemp("bad"), text)
    return files


@pytest.mark.parametrize("name", BAD)
def test_fault_87_bad_files(name: str, bad_files: dict[str, Path]) -> None:
    """Each is an error that names the file, never a traceback, never a password."""
    with pytest.raises(ConfigurationError) as error:
        load(bad_files[name])
    assert str(bad_files[name]) in error.value.what
    for shown in (error.value, error.value.__cause__):
        assert "secretword" not in str(shown) and HASH[7:] not in str(shown)


def test_fault_87_promtool_refuses_bad_files_too(bad_files: dict[str, Path]) -> None:
    """But for what only we refuse."""
    # Older promtools do not know client_allowed_sans at all.
    asked = {path: name for name, path in bad_files.items() if name != "names of nobody"}
    assert {asked[path] for path in promtool_takes(*asked)} == OURS_ALONE


def test_fault_87_no_file(tmp_path: Path) -> None:
    """One that is not there is an error too."""
    with pytest.raises(ConfigurationError):
        load(tmp_path / "nowhere.yml")


def test_fault_87_tls(tmp_path: Path, server_pair: Pair, authority: Authority) -> None:
    """Who trusts the authority is served; TLS 1.0 and 1.1, plain HTTP, and who does not, are refused and counted."""
    with serving(written(tmp_path, tls(server_pair))) as server:
        assert server.url.startswith("https://")
        assert ask_tls(server, client(authority)).status == 200
        for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
            old = client(authority)
            old.set_ciphers("ALL:@SECLEVEL=0")
            with pytest.warns(DeprecationWarning, match="TLSv1"):
                old.minimum_version = old.maximum_version = version
            with pytest.raises(ssl.SSLError):
                ask_tls(server, old)
        stranger = Authority(tmp_path / "stranger")
        with pytest.raises(ssl.SSLCertVerificationError, match=r"unable to get|self.signed"):
            ask_tls(server, client(stranger))
        assert ask(server).status == 0
        until(lambda: server.state().refused.get("tls") == 4 and server.state().connections == 0)
        assert ask_tls(server, client(authority)).status == 200


def test_fault_87_an_expired_certificate(tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients refuse it; once it is renewed they are served, without a restart and without being told."""
    monkeypatch.setattr(server_module, "_LOOK_AGAIN_S", 0.01)
    pair = authority.issue("expired", days=-1)
    with serving(written(tmp_path, tls(pair))) as server:
        with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
            ask_tls(server, client(authority))
        fresh = authority.issue("fresh")
        fresh.key.replace(pair.key)
        fresh.cert.replace(pair.cert)

        def served() -> bool:
            try:
                return ask_tls(server, client(authority)).status == 200
            except ssl.SSLError:
                return False

        until(served)


def test_fault_87_client_certificates(tmp_path: Path, server_pair: Pair, authority: Authority) -> None:
    """Without one, with a stranger's, with an expired one, with another name: refused and counted."""
    text = tls(
        server_pair,
        "client_auth_type: RequireAndVerifyClientCert",
        f"client_ca_file: {authority.pair.cert}",
        "client_allowed_sans: [scraper.example]",
    )
    good = authority.issue("scraper", "DNS:scraper.example")
    stranger = Authority(tmp_path / "stranger").issue("scraper", "DNS:scraper.example")
    expired = authority.issue("late", "DNS:scraper.example", days=-1)
    unknown = authority.issue("unknown", "DNS:other.example")
    with serving(written(tmp_path, text)) as server:
        assert ask_tls(server, client(authority, good)).status == 200
        for pair in (None, stranger, expired, unknown):
            assert _refused(server, client(authority, pair)), pair
        until(lambda: server.state().refused == {"tls": 3, "certificate": 1})
        assert ask_tls(server, client(authority, good)).status == 200


def _refused(server: Server, context: ssl.SSLContext) -> bool:
    """TLS 1.3 tells a client only after its first bytes that its certificate is not taken."""
    try:
        return ask_tls(server, context).status == 0
    except (ssl.SSLError, ConnectionError):
        return True


def test_fault_84_a_handshake_in_time(
    tmp_path: Path, server_pair: Pair, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections that never shake hands are bounded and ended too, and nobody waits for them."""
    with serving(written(tmp_path, tls(server_pair))) as server, ExitStack() as stack:
        with ExitStack() as idle:
            for n in range(1, 100):
                idle.enter_context(connect(server, f"127.0.3.{n}"))
            assert server.state().connections <= 64
            assert ask_tls(server, client(authority)).status == 200
        until(lambda: server.state().connections == 0)
        # Now for so short a time that who shakes hands might be late, too.
        monkeypatch.setattr(protocol, "HEAD_S", 0.3)
        before = sum(server.state().refused.values())
        for n in range(1, 100):
            stack.enter_context(connect(server, f"127.0.3.{n}"))
        until(lambda: sum(server.state().refused.values()) == before + 99 and server.state().connections == 0)


def test_fault_87_reload(tmp_path: Path, server_pair: Pair, authority: Authority) -> None:
    """A new file is taken for the connections after it; a bad one leaves the old one; the port stays open."""
    path = written(tmp_path, "")
    with serving(path) as server:
        port = server.port
        assert ask(server).status == 200
        path.write_text(tls(server_pair) + f"basic_auth_users: {{alice: {HASH}}}\n")
        server.reload()
        assert ask_tls(server, client(authority)).status == 401
        assert ask_tls(server, client(authority), Authorization=basic("alice", "right")).status == 200
        path.write_text("tls_server_config: {cert_file: gone.pem, key_file: gone.key}")
        with pytest.raises(ConfigurationError, match=r"gone\.pem"):
            server.reload()
        assert ask_tls(server, client(authority), Authorization=basic("alice", "right")).status == 200
        path.write_text("http_server_config: {headers: {X-Frame-Options: deny}}")
        server.reload()
        answer = ask(server)
        assert (answer.status, answer.headers["x-frame-options"]) == (200, "deny")
        assert server.port == port


def test_fault_87_a_file_that_changes_for_the_worse(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found when a connection comes, said once, not taken; nobody need send a signal."""
    monkeypatch.setattr(server_module, "_LOOK_AGAIN_S", 0.01)
    path = written(tmp_path, f"basic_auth_users: {{alice: {HASH}}}")
    with serving(path) as server:
        assert ask(server).status == 401
        path.write_text("basic_auth_users: {alice: in clear}")

        def said() -> bool:
            assert ask(server).status == 401
            return "is not taken" in caplog.text

        until(said)
        for _ in range(5):
            time.sleep(0.02)
            assert ask(server).status == 401
        assert "in clear" not in caplog.text
        path.write_text("")
        until(lambda: ask(server).status == 200)
    assert caplog.text.count("is not taken") == 1


def test_many_clients_by_tls(tmp_path: Path, server_pair: Pair, authority: Authority) -> None:
    """40 at once, from their own addresses, in as many threads as before."""
    context = client(authority)
    with serving(written(tmp_path, tls(server_pair))) as server, ThreadPoolExecutor(20) as pool:

        def scrape(number: int) -> int:
            with context.wrap_socket(
                connect(server, f"127.0.4.{1 + number // 4}"), server_hostname="127.0.0.1"
            ) as connection:
                return converse(connection, request()).status

        assert set(pool.map(scrape, range(40))) == {200}
        assert sum(thread.name == "web" for thread in threading.enumerate()) == 1
        assert socket.getdefaulttimeout() is None
