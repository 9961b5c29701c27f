"""Where messages come from: sockets, files, and what is said where there is none."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtcp.collect.arrivals import KERNEL_DROPS, Arrivals, Input
from xtcp.collect.connections import CUT_OFF, MOST, NO_FRAME, REFUSED
from xtcp.collect.datagrams import LONGER, SLOT, Datagrams, drops
from xtcp.collect.frames import BLOCK, Frames
from xtcp.collect.listening import opened, parsed
from xtcp.errors import ConfigurationError, PermissionMissing, Temporary, Unavailable, UsageError


def messages(arrivals: Arrivals | None) -> list[bytes]:
    """Each message by itself."""
    assert arrivals is not None
    raw = arrivals.data.tobytes()
    return [raw[a:b] for a, b in zip(arrivals.starts.tolist(), arrivals.ends.tolist(), strict=True)]


def everything(source: Input) -> list[bytes]:
    """All messages of an input that ends."""
    out: list[bytes] = []
    while (arrivals := source.take(0.2)) is not None:
        out += messages(arrivals)
    return out


def framed(message: bytes) -> bytes:
    """A message behind its length."""
    length, out = len(message), bytearray()
    while length > 0x7F:
        out.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes((*out, length)) + message


@pytest.mark.parametrize("one_call", [True, False])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_udp(host: str, one_call: bool) -> None:
    """Datagrams of any length, in order, with the address of their sender; an IPv4 sender is one by either socket."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_DGRAM)
    bound.bind(("::" if host.startswith("::ffff") else host, 0))
    source = Datagrams(bound, "udp", slots=8, one_call=one_call)
    sent = [b"", b"a", b"b" * 1400, b"c" * 60_000, *(bytes((n,)) for n in range(20))]
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        for one in sent:
            sender.sendto(one, (host, bound.getsockname()[1]))
    taken: list[bytes] = []
    while len(taken) < len(sent):
        arrivals = source.take(20)
        assert arrivals is not None and len(arrivals.starts)
        assert set(arrivals.sources) == {host.removeprefix("::ffff:")}
        taken += messages(arrivals)
    assert taken == sent
    assert messages(source.take(0)) == []
    assert (source.counts.messages, source.counts.bytes) == (len(sent), sum(map(len, sent)))
    source.close()


@pytest.mark.parametrize("one_call", [True, False])
def test_unix_datagrams(tmp_path: Path, one_call: bool) -> None:
    """The file is made, one that a dead collector left is taken over, and it is gone at the end; what is longer than
    a datagram may be is counted.
    """
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
        dead.bind(str(path))
    source = opened(parsed(f"unixgram:{path}"))
    assert isinstance(source, Datagrams)
    source._one_call = one_call
    with pytest.raises(Temporary, match="in use"):
        opened(parsed(f"unixgram:{path}"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * SLOT)
        sender.connect(str(path))
        sender.send(b"one")
        sender.send(bytes(SLOT + 1))
        sender.send(bytes(SLOT))
    arrivals = source.take(1)
    assert [len(m) for m in messages(arrivals)] == [3, SLOT]
    assert arrivals is not None and arrivals.sources == ["", ""]
    assert source.counts.lost == {LONGER: 1}
    source.close()
    assert not path.exists()


def test_unix_streams(tmp_path: Path) -> None:
    """Frames of several connections, however they are cut; a connection that sends none, that ends in one, or is one
    too many, is counted, and the others go on.
    """
    path = str(tmp_path / "s")
    source = opened(parsed(f"unix:{path}"))
    with contextlib.ExitStack() as stack:

        def connect() -> socket.socket:
            sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            sock.connect(path)
            return sock

        def taken() -> list[bytes]:
            return [m for _ in range(4) for m in messages(source.take(0))]

        one, two = connect(), connect()
        one.send(framed(b"abc") + framed(b"de")[:1])
        two.send(framed(bytes(300)))
        assert sorted(taken()) == [framed(b"abc"), framed(bytes(300))]
        one.send(framed(b"de")[1:])
        assert taken() == [framed(b"de")]
        bad, cut = connect(), connect()
        bad.send(b"\xff" * 20)
        cut.send(b"\x09a")
        cut.close()
        assert taken() == []
        many = [connect() for _ in range(MOST)]
        two.send(framed(b"x"))
        assert [m for _ in range(MOST) for m in taken()] == [framed(b"x")]
        assert source.counts.lost == {NO_FRAME: 1, CUT_OFF: 1, REFUSED: 2}
        assert many[-1].recv(1) == bad.recv(1) == b""
    taken()
    source.close()
    assert not Path(path).exists()


def test_an_abstract_name() -> None:
    """It has no file to remove."""
    source = opened(parsed(f"unixgram:@xtcp-test-{os.getpid()}"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", f"\0xtcp-test-{os.getpid()}")
    assert messages(source.take(1)) == [b"x"]
    source.close()


@pytest.mark.live
def test_fault_93_what_the_kernel_drops_is_counted() -> None:
    """A flood into a small buffer: received and dropped are all that was sent."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.bind(("127.0.0.1", 0))
    source = Datagrams(bound, "udp")
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    assert drops(bound) == 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(bound.getsockname())
        for _ in range(500):
            sender.send(bytes(1000))
    received = len(messages(source.take(1)))
    assert 0 < received < 500
    assert source.counts.lost == {KERNEL_DROPS: 500 - received}
    source.close()


def test_what_cannot_be_listened_on() -> None:
    """Each with its own words and exit code."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        with pytest.raises(Temporary, match="another collector"):
            opened(parsed(f"udp:127.0.0.1:{other.getsockname()[1]}")).close()
    with pytest.raises(ConfigurationError, match="ip address"):
        opened(parsed("udp:192.0.2.1:0"))
    with pytest.raises(Unavailable):
        opened(parsed("udp:no-such-host.invalid:0"))
    with pytest.raises((PermissionMissing, ConfigurationError)):
        opened(parsed("unixgram:/proc/none"))
    for text in ("", "13000", "tcp:1", "unixgram:", "udp:x:70000", "udp:1:2:3"):
        with pytest.raises(UsageError):
            parsed(text)
    assert parsed("udp:").name == "udp:127.0.0.1:13000"
    assert parsed("udp:[::]").name == "udp:[::]:13000"


@given(st.lists(st.binary(max_size=300), max_size=20), st.integers(0, 40))
def test_a_file_of_frames(many: list[bytes], lost: int) -> None:
    """Every whole frame is a message, its length with it; of a cut file it is said where."""
    whole = b"".join(map(framed, many))
    cut = whole[: max(0, len(whole) - lost)]
    at, expected = 0, []
    for one in map(framed, many):
        at += len(one)
        if at <= len(cut):
            expected.append(one)
    with tempfile.NamedTemporaryFile() as file:
        file.write(cut)
        file.flush()
        source = Frames(file.name)
        assert everything(source) == expected
        assert bool(source.counts.damage) == (sum(map(len, expected)) != len(cut))
        source.close()


def test_large_and_false_frames(tmp_path: Path) -> None:
    """A frame larger than a block is one message; a length that nothing has ends the file."""
    path = tmp_path / "f"
    large = framed(bytes(BLOCK * 2 + 5))
    path.write_bytes(framed(b"abc") + large + b"\xff\xff\xff\xff\x0f" + b"behind")
    source = Frames(str(path))
    assert everything(source) == [framed(b"abc"), large]
    assert source.counts.damage == f"no message begins at offset {4 + len(large):,}"
    source.close()
    with pytest.raises(UsageError):
        Frames(str(tmp_path / "none"))


def test_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard input: nothing yet is not the end."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as stdin:
        monkeypatch.setattr("sys.stdin", type("Stdin", (), {"buffer": stdin}))
        source = Frames("-")
        assert messages(source.take(0)) == []
        os.write(writer, framed(b"abc")[:2])
        assert messages(source.take(1)) == []
        os.write(writer, framed(b"abc")[2:])
        assert messages(source.take(1)) == [framed(b"abc")]
        os.close(writer)
        assert everything(source) == []
        source.close()
