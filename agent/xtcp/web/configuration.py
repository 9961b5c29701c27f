"""exporter-toolkit's web configuration file: TLS, headers, users. The format of Prometheus and all its exporters.

    tls_server_config: {cert_file: …, key_file: …, client_auth_type: RequireAndVerifyClientCert, client_ca_file: …}
    http_server_config: {headers: {Strict-Transport-Security: …}}
    basic_auth_users: {alice: $2y$10$…}

docs/web-configuration.md of prometheus/exporter-toolkit says what each key means. Paths are relative to the file. What
Python's TLS cannot do (a client certificate that nobody verifies, a list of curves) is refused, not ignored; `http2`
is taken and means nothing, for there is none here.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from xtcp.errors import ConfigurationError
from xtcp.spelling import meant

_SECTIONS: Final = ("tls_server_config", "http_server_config", "basic_auth_users")
_TLS: Final = (
    *("cert_file", "key_file", "client_ca_file", "client_auth_type", "client_allowed_sans"),
    *("min_version", "max_version", "cipher_suites", "prefer_server_cipher_suites", "curve_preferences"),
)
_HTTP: Final = ("http2", "headers")
# Headers with the values that they may have; none: any.
_HEADERS: Final[Mapping[str, tuple[str, ...]]] = {
    "Content-Security-Policy": (),
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
}
_CLIENT_AUTH: Final = {
    "": ssl.CERT_NONE,
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_UNVERIFIED: Final = ("RequestClientCert", "RequireAnyClientCert")
_VERSIONS: Final = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
_HASH: Final = re.compile(r"\$2[aby]\$(0[4-9]|1[0-9]|2[0-9]|3[01])\$[./A-Za-z0-9]{53}")
# More rounds than this are minutes of CPU a check.
_MOST_ROUNDS: Final = 16


@dataclass(frozen=True)
class WebConfiguration:
    """What the file says. `files` are those it was read from, itself first; `context` None: no TLS."""

    files: tuple[Path, ...] = ()
    context: ssl.SSLContext | None = None
    allowed_sans: frozenset[str] = frozenset()
    headers: Mapping[str, str] = field(default_factory=dict)
    users: Mapping[str, bytes] = field(default_factory=dict)


def load(path: Path) -> WebConfiguration:
    """Reads the file and those that it names. Raises `ConfigurationError`, which never shows a hash."""
    try:
        import yaml
    except ImportError as error:
        raise ConfigurationError(
            f"{path}: a web configuration file needs PyYAML, which is not installed.",
            "",
            "pip install 'xtcp[prometheus]'",
        ) from error
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _bad(path, f"cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark is not None else ""
        raise _bad(path, f"is no YAML{where}") from None
    sections = _mapping(path, "the file", found if found is not None else {}, _SECTIONS)
    tls = _mapping(path, "tls_server_config", sections.get("tls_server_config") or {}, _TLS)
    http = _mapping(path, "http_server_config", sections.get("http_server_config") or {}, _HTTP)
    http2 = http.get("http2", True)
    if not isinstance(http2, bool):
        raise _bad(path, "http2 is neither true nor false")
    files = [path, *(_path(path, tls, name) for name in ("cert_file", "key_file", "client_ca_file") if tls.get(name))]
    return WebConfiguration(
        tuple(files),
        _context(path, tls) if tls else None,
        frozenset(_texts(path, tls, "client_allowed_sans")),
        _headers(path, http.get("headers") or {}),
        _users(path, sections.get("basic_auth_users") or {}),
    )


def _bad(path: Path, what: str, to_do: str = "") -> ConfigurationError:
    see = "The format is exporter-toolkit's; its docs/web-configuration.md has every key."
    return ConfigurationError(f"{path}: {what}.", see, to_do)


def _mapping(path: Path, name: str, found: Any, known: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise _bad(path, f"{name} is no mapping")
    for key in found:
        if key not in known:
            raise _bad(path, f"{name} has no key {key!r}", meant(str(key), known))
    return found


def _texts(path: Path, found: Mapping[str, Any], name: str) -> list[str]:
    values = found.get(name) or []
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise _bad(path, f"{name} is no list of texts")
    return values


def _path(path: Path, tls: Mapping[str, Any], name: str) -> Path:
    value = tls.get(name)
    if not isinstance(value, str) or not value:
        raise _bad(path, f"tls_server_config lacks {name}")
    return path.parent / value


def _one_of(path: Path, tls: Mapping[str, Any], name: str, otherwise: str, known: Mapping[str, Any]) -> Any:
    value = tls.get(name, otherwise)
    if not isinstance(value, str) or value not in known:
        every = ", ".join(key for key in known if key)
        raise _bad(path, f"{name} is {value!r}, which is none of {every}", meant(str(value), known))
    return known[value]


def _context(path: Path, tls: Mapping[str, Any]) -> ssl.SSLContext:
    for name in ("client_auth_type", "curve_preferences"):
        if tls.get(name) in _UNVERIFIED or (name == "curve_preferences" and tls.get(name)):
            raise _bad(
                path, f"{name} {tls[name]!r} is not possible here", "Use RequireAndVerifyClientCert; leave out curves."
            )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _one_of(path, tls, "min_version", "TLS12", _VERSIONS)
    context.maximum_version = _one_of(path, tls, "max_version", "TLS13", _VERSIONS)
    if context.minimum_version > context.maximum_version:
        raise _bad(path, "min_version is above max_version")
    if tls.get("prefer_server_cipher_suites", True) is True:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    _ciphers(path, context, _texts(path, tls, "cipher_suites"))
    cert, key = _path(path, tls, "cert_file"), _path(path, tls, "key_file")
    _of_openssl(path, f"cert_file {cert} and key_file {key}", lambda: context.load_cert_chain(cert, key, _no_password))
    context.verify_mode = _one_of(path, tls, "client_auth_type", "", _CLIENT_AUTH)
    if tls.get("client_ca_file"):
        if context.verify_mode is ssl.CERT_NONE:
            raise _bad(path, "client_ca_file is there, but client_auth_type asks for no certificate")
        authority = _path(path, tls, "client_ca_file")
        _of_openssl(path, f"client_ca_file {authority}", lambda: context.load_verify_locations(authority))
    elif context.verify_mode is not ssl.CERT_NONE:
        raise _bad(path, "client_auth_type asks for certificates, but client_ca_file is missing")
    if tls.get("client_allowed_sans") and context.verify_mode is not ssl.CERT_REQUIRED:
        raise _bad(path, "client_allowed_sans needs client_auth_type RequireAndVerifyClientCert")
    return context


def _ciphers(path: Path, context: ssl.SSLContext, names: list[str]) -> None:
    """Allows only these; those of TLS 1.3 are always allowed, as in Go."""
    always = {cipher["name"] for cipher in context.get_ciphers() if cipher["protocol"] == "TLSv1.3"}
    wanted = {name: _openssl_name(name) for name in names if name not in always}
    if wanted:
        _of_openssl(path, "cipher_suites", lambda: context.set_ciphers(":".join(wanted.values())))
    allowed = {cipher["name"] for cipher in context.get_ciphers()}
    for name, ours in wanted.items():
        if ours not in allowed:
            raise _bad(path, f"cipher_suites names {name}, which OpenSSL does not have")


def _no_password() -> str:
    """A key with a password would make OpenSSL ask at the terminal."""
    raise ValueError("the key has a password")


def _of_openssl(path: Path, what: str, act: Callable[[], object]) -> None:
    try:
        act()
    except ssl.SSLError as error:
        reason = (getattr(error, "reason", None) or str(error)).replace("_", " ").lower()
        raise _bad(path, f"{what}: OpenSSL says {reason}") from None
    except OSError as error:
        raise _bad(path, f"{what}: {error.strerror}") from None
    except ValueError as error:
        raise _bad(path, f"{what}: {error}") from None


def _openssl_name(name: str) -> str:
    """A cipher suite's name in OpenSSL of its name in the registry of TLS, which Go uses."""
    exchange, _, cipher = name.removeprefix("TLS_").partition("_WITH_")
    cipher = cipher.replace("AES_128", "AES128").replace("AES_256", "AES256").replace("_CBC", "")
    if cipher.startswith("CHACHA20"):
        cipher = cipher.removesuffix("_SHA256")
    words = [] if exchange == "RSA" else [exchange]
    return "-".join([*words, cipher]).replace("_", "-") if cipher else name


def _headers(path: Path, found: Any) -> dict[str, str]:
    headers = _mapping(path, "headers", found, tuple(_HEADERS))
    for name, value in headers.items():
        if _HEADERS[name] and value not in _HEADERS[name]:
            raise _bad(path, f"the header {name} can only be {' or '.join(_HEADERS[name])}")
        if not isinstance(value, str) or not value.isprintable() or not value.isascii():
            raise _bad(path, f"the header {name} has no value that can be sent")
    return headers


def _users(path: Path, found: Any) -> dict[str, bytes]:
    if not isinstance(found, dict):
        raise _bad(path, "basic_auth_users is no mapping")
    users = {}
    for name, hashed in found.items():
        if not isinstance(name, str) or not isinstance(hashed, str) or not _HASH.fullmatch(hashed):
            raise _bad(path, f"the password of user {name!r} is no bcrypt hash", "Make one: htpasswd -nBC 10 '' NAME")
        if int(hashed[4:6]) > _MOST_ROUNDS:
            raise _bad(path, f"the hash of user {name!r} has more than {_MOST_ROUNDS} rounds")
        # $2y is htpasswd's word for $2b; not every version of the library knows it.
        users[name] = hashed.replace("$2y$", "$2b$", 1).encode()
    return users
