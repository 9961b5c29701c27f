"""`xtcp-replay show`: the right messages, every number where it says it is, and nothing lost of what is damaged."""

from __future__ import annotations

import contextlib
import gzip
import os
import pty
import re
import struct
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from tests.cli.running import ENVIRONMENT, REPLAY
from tests.layers.columns import OWN
from tests.patience import patient
from tests.replay.made import (
    T0,
    block,
    cooked,
    dump,
    enhanced,
    interface,
    pcap,
    pcap_header,
    record,
    row,
    saved,
    section,
)
from tests.replay.packed import zstandard
from xtcp.errors import ExitCode
from xtcp_replay.cli.main import run

layers = import_module("xtcp_replay.layers")

TWO = [*dump((1, 2, 3)), *dump((2, 4), family=10)]
LINE = re.compile(r"([0-9a-f]{8})  ([0-9a-f]{4,})  +(\w+) +(\d+|0x[0-9a-f]+)( |$)", re.MULTILINE)
HEADER = {"nlmsg_len": 4, "nlmsg_type": 2, "nlmsg_flags": 2, "nlmsg_seq": 4, "nlmsg_pid": 4}
SIZES = {**HEADER, "idiag_state": 1, "idiag_uid": 4, "idiag_inode": 4, "tcpi_rtt": 4, "tcpi_bytes_acked": 8, "mark": 4}


def shown(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = ExitCode.OK) -> tuple[str, str]:
    """What `xtcp-replay show` writes, and what it says beside it."""
    assert run(["show", *arguments]) == code
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return captured.out, captured.err


def cookies(text: str) -> list[int]:
    """The cookies of the rows in a text."""
    return [int(cookie) for cookie in re.findall(r"cookie (\d+)$", text, re.MULTILINE)]


def numbers_at_their_places(text: str, content: bytes, order: str) -> int:
    """Compares each number in the text with the bytes of the file at the place that stands before it; how many."""
    compared = 0
    for at, _, name, value, _ in LINE.findall(text):
        if name in SIZES:
            there = content[int(at, 16) :][: SIZES[name]]
            assert int.from_bytes(there, "little" if order == "<" else "big") == int(value, 0), (at, name)
            compared += 1
    return compared


@pytest.mark.parametrize("path", OWN, ids=lambda p: p.parent.name)
def test_numbers_stand_where_it_says(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the file and in the packet, of all messages of a real capture in either byte order."""
    order = ">" if "s390x" in path.parent.name else "<"
    text, _ = shown(capsys, str(path), "--limit", "60")
    assert numbers_at_their_places(text, path.read_bytes(), order) > 300
    places = {(int(at, 16) - int(within, 16)) for at, within, *_ in LINE.findall(text)}
    assert len(places) == text.count("packet ")


def test_numbers_in_other_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A classic pcap, a simple packet block, and a dump of ss -D have their packets at other places."""
    simple = section() + interface(snaplen=1 << 18)
    for datagram in TWO:
        packet = cooked(datagram)
        simple += block("<", 3, struct.pack("<I", len(packet)) + packet + bytes(-len(packet) % 4))
    for content in (pcap(TWO), simple, b"".join(d for d in TWO if not d[6] & 1)):
        text, _ = shown(capsys, saved(tmp_path, content), "--all", "-q")
        assert numbers_at_their_places(text, content, "<") >= 5 * 7
        assert cookies(text) == [1, 2, 3, 2, 4]


def test_ten_messages_unless_told_otherwise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says how many more there are; packets that are named are shown whole."""
    path = saved(tmp_path, pcap([*dump(range(1, 31)), *dump(range(31, 61), family=10)]))
    text, said = shown(capsys, path)
    assert text.count("nlmsghdr") == 10 and "10 of 64 messages shown" in said
    text, said = shown(capsys, path, "--limit", "40")
    assert text.count("nlmsghdr") == 40 and "40 of 64" in said
    text, said = shown(capsys, path, "--all")
    assert text.count("nlmsghdr") == 64 and "shown" not in said
    text, said = shown(capsys, path, "--packet", "2,6")
    assert cookies(text) == list(range(1, 31)) and "packet 6" in text and "packet 3" not in text
    assert shown(capsys, path, "--packet", "99") == ("", "note: no message was chosen\n")


def test_packets_are_numbered_as_in_wireshark(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those of other interfaces count."""
    content = section() + interface() + interface(link_type=1)
    content += enhanced(bytes(60), number=1) + enhanced(cooked(row(7))) + enhanced(bytes(60), number=1)
    content += enhanced(cooked(row(8)))
    text, _ = shown(capsys, saved(tmp_path, content, "a.pcapng"), "--packet", "4")
    assert cookies(text) == [8] and text.startswith("packet 4 at byte ")


def test_sockets_are_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By cookie, dump, state and port: their messages alone, with their number in the packet."""
    path = saved(tmp_path, pcap(TWO))
    text, _ = shown(capsys, path, "--cookie", "2")
    assert cookies(text) == [2, 2] and text.count("nlmsghdr") == 2
    assert "message 2 of 3" in text and "message 1 of 2" in text and "cooked" not in text
    assert cookies(shown(capsys, path, "--cookie", "sk:2,0x4", "--dump", "2")[0]) == [2, 4]
    assert cookies(shown(capsys, path, "--states", "LISTEN")[0]) == []
    assert cookies(shown(capsys, path, "--states", "ESTAB", "--packet", "5")[0]) == [2, 4]
    own = next(path for path in OWN if "x86" in path.parent.name)
    text, _ = shown(capsys, str(own), "--states", "TIME-WAIT", "--limit", "3")
    assert text.count("TIME-WAIT 127") + text.count("TIME-WAIT [") == 3


def test_other_files(tmp_path: Path, capsys: pytest.CaptureFixture[str], captures: Path) -> None:
    """Compressed captures, and archives, whose records are no bytes of the file."""
    packed = tmp_path / "a.pcap.gz"
    packed.write_bytes(gzip.compress(pcap(TWO)))
    assert cookies(shown(capsys, str(packed))[0]) == [1, 2, 3, 2, 4]
    zstandard()
    text, said = shown(capsys, str(captures / "m-lab" / "archiveRecords.jsonl.zst"), "--limit", "2")
    assert text.startswith("message 1, ") and len(cookies(text)) == 2
    assert re.search(r"^0000  nlmsghdr", text, re.MULTILINE) and "2 of " in said


def test_standard_input(tmp_path: Path) -> None:
    """`-`, in one pass, to a reader that has seen enough."""
    path = saved(tmp_path, pcap([*dump(range(1, 2000))]))
    script = f'{" ".join(REPLAY)} show - --all < "{path}" | head -c 100'
    done = subprocess.run(["bash", "-o", "pipefail", "-c", script], env=ENVIRONMENT, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"") and len(done.stdout) == 100


def test_words_for_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """States, flags, options, types by their names; units; texts that cannot move a cursor."""
    nl = layers.of("<", (6, 1))
    body = nl.inet_diag_msg(
        idiag_family=10,
        idiag_state="LISTEN",
        idiag_src="fe80::1",
        idiag_sport=443,
        idiag_if=3,
        attributes=[
            nl.INET_DIAG_INFO(tcpi_options=7, tcpi_rtt=1500, tcpi_snd_wscale=7),
            nl.INET_DIAG_CONG(cong="cu\x1b[2J"),
            nl.INET_DIAG_ULP_INFO(
                nla_type=0x8013, attributes=[nl.INET_ULP_INFO_TLS(attributes=[nl.TLS_INFO_RX_NO_PAD()])]
            ),
        ],
    )
    text, _ = shown(capsys, saved(tmp_path, pcap([bytes(nl.nlmsghdr(nlmsg_flags=0x12) / body)])))
    assert "LISTEN [fe80::1]%3:443 > [::]:*" in text
    assert "NLM_F_MULTI|NLM_F_DUMP_INTR" in text and "SOCK_DIAG_BY_FAMILY" in text
    assert "TCPI_OPT_TIMESTAMPS|TCPI_OPT_SACK|TCPI_OPT_WSCALE" in text
    assert re.search(r"tcpi_rtt +1500 us +smoothed round trip time", text)
    assert re.search(r"tcpi_snd_wscale +7 ", text) and re.search(r"ulp_tls_rx_no_pad +1 ", text)
    assert "INET_DIAG_ULP_INFO|NLA_F_NESTED" in text and "\x1b" not in text and "cu\\x1b[2J" in text


def test_what_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Members of a shorter tcp_info are named; the last of a full one, where nobody says the kernel."""
    nl = layers.of(">", (7, 0))
    full = nl.INET_DIAG_INFO(tcpi_ecn_mode=2)
    short = nl.nlattr(nla_type=2, data=bytes(232))
    for attribute, options, expected in (
        (short, (), r"absent +232 of 280 bytes are here, without tcpi_rcv_wnd, tcpi_rehash … \w+ \(12 members\)"),
        (full, (), r"not understood +4 bytes +6.18 and 7.0 .*--kernel-release"),
        (full, ("--kernel-release", "7.0.3"), r"tcpi_ecn_mode +2 "),
        (nl.nlattr(nla_type=2, data=bytes(230)), (), r"not understood +2 bytes +ends in the middle of a member"),
        (nl.nlattr(nla_type=2, data=bytes(288)), (), r"not understood +12 bytes +longer than the table"),
    ):
        message = nl.nlmsghdr() / nl.inet_diag_msg(idiag_family=2, attributes=[attribute])
        text, _ = shown(capsys, saved(tmp_path, pcap([bytes(message)])), *options)
        assert re.search(expected, text), (expected, text)


def test_what_is_not_understood(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Unknown attributes and messages, remnants that make none, and packets of no messages: their bytes, and exit 3
    where the decoder sets something aside.
    """
    nl = layers.of("<")
    unknown = nl.nlattr(nla_type=23, data=b"\xab\xcd\xef")
    ok = nl.nlmsghdr() / nl.inet_diag_msg(idiag_family=2, attributes=[unknown])
    damaged = nl.nlmsghdr() / nl.inet_diag_msg(idiag_family=2, attributes=[nl.INET_DIAG_TOS(nla_len=200)])
    other = nl.nlmsghdr(nlmsg_type=99) / b"\x11\x22\x33\x44"
    cut = bytes(ok)[:50]
    path = saved(tmp_path, pcap([bytes(ok), bytes(ok) + bytes(damaged) + bytes(other) + cut]))
    text, said = shown(capsys, path, code=ExitCode.DAMAGED)
    assert re.search(r"unknown attribute +type 23, 7 bytes\n.* abcdef", text)
    assert "c8000500 00000000" in text and "make no whole attribute" in text
    assert "11223344" in text and "UNKNOWN(99)" in text
    assert re.search(r"not understood +50 bytes +make no whole message", text)
    assert "1 quarantined, 1 kept up to a damaged attribute" in said
    text, said = shown(capsys, path, "--strict", code=ExitCode.DAMAGED)
    assert text == "" and "nothing" in said
    noise = pcap_header() + record(b"\0\4\3\x38" + bytes(12) + b"route") + record(b"junk")
    text, said = shown(capsys, saved(tmp_path, noise), "--packet", "1-2", code=ExitCode.DAMAGED)
    assert "726f7574 65" in text and "NETLINK_ROUTE" in text and "packet 2" in text
    text, said = shown(capsys, saved(tmp_path, pcap(TWO)[:-30]), code=ExitCode.DAMAGED)
    assert "the file is cut in a packet" in said


def test_keys_are_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not in the tree, not in --hex, not in what is left of a cut message; unless asked for."""
    for order in ("<", ">"):
        nl = layers.of(order)
        secret = b"correct horse battery staple"
        key = nl.tcp_diag_md5sig(tcpm_family=2, tcpm_keylen=len(secret), tcpm_addr="10.0.0.1", tcpm_key=secret)
        other = nl.tcp_diag_md5sig(tcpm_family=2, tcpm_keylen=4, tcpm_addr="10.0.0.2", tcpm_key=b"otherkey")
        message = bytes(
            nl.nlmsghdr() / nl.inet_diag_msg(idiag_family=2, attributes=[nl.INET_DIAG_MD5SIG(md5sig=[key, other])])
        )
        digits = [secret[i : i + 4].hex() for i in range(0, 28, 4)]
        for datagram, code in ((message, ExitCode.OK), (message[:-90], ExitCode.DAMAGED)):
            path = saved(tmp_path, pcap([datagram]))
            for options in ((), ("--hex",)):
                text, _ = shown(capsys, path, *options, code=code)
                assert not any(word in text for word in digits) and "correct" not in text and "otherkey" not in text
            text, _ = shown(capsys, path, "--hex", "--md5-keys", code=code)
            assert all(word in text for word in digits)
            text, _ = shown(capsys, path, "--hex", code=code)
            assert "--------" in text


def test_scapy_may_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it raises, the bytes are shown, and the next packet has its turn; without it, what to install."""
    from xtcp_replay.layers import blocks

    def failing(*_: object) -> None:
        raise RecursionError

    path = saved(tmp_path, pcap(TWO))
    monkeypatch.setattr(blocks, "dissect", failing)
    text, _ = shown(capsys, path)
    assert text.count("dissecting it failed (RecursionError)") == 6
    monkeypatch.setitem(sys.modules, "xtcp_replay.layers.blocks", None)
    _, said = shown(capsys, path, code=ExitCode.CONFIGURATION)
    assert "pip install 'xtcp[replay]'" in said


def test_wrong_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Choices that are none, and files that are not there."""
    path = saved(tmp_path, pcap(TWO))
    for options in (["--packet", "0"], ["--packet", "3-2"], ["--cookie", "x"], ["--limit", "0"], ["--states", "OPEN"]):
        shown(capsys, path, *options, code=ExitCode.USAGE)
    shown(capsys, str(tmp_path / "none"), code=ExitCode.USAGE)
    shown(capsys, saved(tmp_path, b"no capture"), code=ExitCode.DAMAGED)


@pytest.mark.parametrize(("variable", "coloured"), [("", True), ("1", False)])
def test_colours_are_for_terminals(tmp_path: Path, variable: str, coloured: bool) -> None:
    """And not for those who set NO_COLOR; to a pipe there are none (the other tests)."""
    path = saved(tmp_path, pcap(dump((1,))))
    ours, theirs = pty.openpty()
    environment = {**ENVIRONMENT, "NO_COLOR": variable, "TERM": "xterm"}
    command = [*REPLAY, "show", path, "--limit", "1"]
    text = b""
    with os.fdopen(ours, "rb", 0) as terminal:
        try:
            done = subprocess.run(
                command, env=environment, stdout=theirs, stderr=subprocess.PIPE, check=False, timeout=patient(30)
            )
        finally:
            os.close(theirs)
        with contextlib.suppress(OSError):  # EIO: that was all
            while piece := terminal.read(1 << 16):
                text += piece
    assert done.returncode == 0
    assert (b"\x1b[" in text) == coloured and b"nlmsghdr" in text


def test_times_of_any_clock(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A time is written to the nanosecond, and one that no calendar has, as it is."""
    content = section() + interface() + enhanced(cooked(row(1)), T0 // 1000) + enhanced(cooked(row(2)), 2**63)
    text, _ = shown(capsys, saved(tmp_path, content, "a.pcapng"))
    assert "2023-11-14T22:13:20.123456000Z" in text and "9223372036854.775808000 s" in text
