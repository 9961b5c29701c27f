"""A monitor read: on a real packet socket, of loopback where the kernel has no nlmon; and what refusals mean.

The interface's type is the one thing that is pretended here; tests/live/test_monitor.py has nlmon itself, in a guest.
"""

from __future__ import annotations

import errno
import socket
import sys
import time

import pytest

from tests.conftest import require_root
from xtcp.errors import ConfigurationError, PermissionMissing, Unavailable
from xtcp_replay.recording import nlmon
from xtcp_replay.recording.nlmon import Monitor, Seen

LOOPBACK = 772  # ARPHRD_LOOPBACK


@pytest.mark.root
@pytest.mark.live
def test_packets_of_a_packet_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """What passes comes whole, behind a cooked header with its type and protocol, at the time it passed."""
    require_root()
    monkeypatch.setattr(nlmon, "ARPHRD_NETLINK", LOOPBACK)
    monkeypatch.setattr(nlmon, "LONGEST_DATAGRAM", 2000)
    marks = {size: bytes([size % 251]) * size for size in (300, 3000)}
    found: dict[int, Seen] = {}
    with Monitor("lo") as monitor, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as both:
        both.bind(("127.0.0.1", 0))
        before = time.time_ns()
        for payload in marks.values():
            both.sendto(payload, both.getsockname())
        end = time.monotonic() + 5
        for packet in monitor.packets(lambda: time.monotonic() > end):
            for size, payload in marks.items():
                if payload[:200] in packet.netlink:
                    found[size] = packet
            if len(found) == 2:
                break
        after = time.time_ns()
        assert monitor.dropped == 0
    for size, packet in found.items():
        assert packet.cooked[2:4] == LOOPBACK.to_bytes(2, "big")
        assert packet.cooked[14:] == packet.family.to_bytes(2, "big") == b"\x08\x00"
        assert before <= packet.time_ns <= after
        assert packet.wirelen == 14 + 20 + 8 + size
        assert len(packet.netlink) == min(packet.wirelen, 2000)
    assert set(found) == set(marks)


@pytest.mark.root
@pytest.mark.live
def test_it_ends_when_told_and_counts_what_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A buffer that is too small: the kernel's count of what it dropped is ours."""
    require_root()
    monkeypatch.setattr(nlmon, "ARPHRD_NETLINK", LOOPBACK)
    monkeypatch.setattr(nlmon, "_RECEIVE_BUFFER", 4096)
    with Monitor("lo") as monitor, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(200):
            sender.sendto(bytes(1000), ("127.0.0.1", 9))
        assert 0 < len(list(monitor.packets(lambda: True))) < 200
        assert monitor.dropped > 100


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (errno.EPERM, PermissionMissing, "CAP_NET_ADMIN"),
        (errno.EOPNOTSUPP, Unavailable, "no module nlmon"),
        (errno.ENOMEM, Unavailable, "memory"),
    ],
)
def test_what_a_refusal_means(number: int, kind: type[Exception], words: str) -> None:
    """Of the kernel, when a monitor is to be made."""
    error = nlmon._refused(number)
    assert isinstance(error, kind)
    assert words in str(error) and "--via polls" in str(error)


def test_without_pyroute2(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named, and the way around."""
    monkeypatch.setitem(sys.modules, "pyroute2", None)
    with pytest.raises(ConfigurationError, match="pyroute2") as caught, nlmon.monitor_interface():
        pass
    assert "--interface" in caught.value.to_do
