"""Faults that a real kernel can be made to have: rows 2, 5, 7, 9, 12–15 of the list, on this machine's sockets."""

from __future__ import annotations

import errno
import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest

from tests.conftest import require_root
from tests.fake_kernel import done as done_message
from tests.sockets import netns
from xtcp.batch import Tally
from xtcp.chunk import Context
from xtcp.decode.decoder import Decoder
from xtcp.errors import ExitCode, KernelRefused
from xtcp.netlink.request import Request
from xtcp.netlink.socket import DiagSocket
from xtcp.poll.live import LivePoll, Wanted
from xtcp.sources.live import LiveDump

pytestmark = pytest.mark.live


@pytest.fixture
def connections() -> Iterator[set[int]]:
    """Cookies of 200 sockets of this process, IPv4 on loopback."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=128))
        held = []
        for _ in range(100):
            held.append(stack.enter_context(socket.create_connection(listener.getsockname())))
            held.append(stack.enter_context(listener.accept()[0]))
        yield {struct.unpack("=Q", s.getsockopt(socket.SOL_SOCKET, 57, 8))[0] for s in held}


def polled(**options: Any) -> tuple[set[int], LivePoll]:
    """The cookies of one poll, and the poll."""
    live = LivePoll(Wanted(families=(2,)), Decoder(), **options)
    cookies: list[int] = []
    for batch in live:
        cookies += batch.columns["idiag_cookie"].tolist()
    assert len(cookies) == len(set(cookies))
    return set(cookies), live


def test_fault_05_small_buffer(connections: set[int]) -> None:
    """With 1 KiB a datagram the kernel's are cut: whole messages are kept, the poll says it is not complete."""
    cookies, live = polled(slot=1024)
    assert live.trailer is not None
    assert "truncated" in live.trailer.flags
    assert live.next_slot == 2048
    assert 0 < len(cookies & connections) < len(connections)
    cookies, live = polled()
    assert connections <= cookies
    assert live.trailer is not None
    assert live.trailer.flags == ()


@dataclass(frozen=True)
class BadType(Request):
    """A request whose nlmsg_type no kernel knows."""

    def message(self, seq: int) -> bytes:
        """The request with the type changed."""
        good = super().message(seq)
        return good[:4] + struct.pack("=H", 999) + good[6:]


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (Request(family=99), errno.EINVAL),
        (Request(family=2, protocol=200), errno.ENOENT),
        (BadType(family=2), errno.EINVAL),
    ],
    ids=["bad family", "absent protocol", "bad type"],
)
def test_fault_07_refused_requests(request_: Request, code: int) -> None:
    """Each refusal has its errno; an absent protocol answers by a DONE with one (row 9)."""
    tally = Tally()
    for chunk in LiveDump(request_, Context()).chunks():
        tally.add(Decoder().decode(chunk).tally)
    said = [message.errno for message in tally.errors] or [tally.done.errno if tally.done else 0]
    assert said == [code]


def test_fault_09_absent_protocol_is_not_zero_sockets() -> None:
    """A poll of a protocol without its module fails with exit code 69 and names the module."""
    live = LivePoll(Wanted(families=(2,), protocol=200), Decoder())
    assert list(live) == []
    assert isinstance(live.error, KernelRefused)
    assert live.error.exit_code == ExitCode.UNAVAILABLE
    assert "modprobe" in str(live.error)


def test_fault_12_cancelled_dump(connections: set[int]) -> None:
    """A dump that is left early leaves nothing behind: the next poll is whole."""
    for _ in range(20):
        chunks = LiveDump(Request(2), Context(), slot=4096).chunks()
        next(chunks)
        chunks.close()  # type: ignore[attr-defined]
    cookies, live = polled()
    assert connections <= cookies
    assert live.trailer is not None
    assert live.trailer.flags == ()


@pytest.mark.root
def test_fault_13_forged_done(connections: set[int]) -> None:
    """Root can send to our socket; a forged DONE is dropped and counted, the dump is whole."""
    require_root()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4) as forger:

        def opened() -> DiagSocket:
            diag = DiagSocket()
            forger.sendto(done_message(seq=1, port=diag.port), (diag.port, 0))
            return diag

        def make(*arguments: Any, **options: Any) -> LiveDump:
            return LiveDump(*arguments, **options, open_socket=opened)

        cookies, live = polled(make_dump=make)
    assert connections <= cookies
    assert live.trailer is not None
    assert live.trailer.forged == 1
    assert live.trailer.flags == ()


@pytest.mark.parametrize("overlap", [True, False])
def test_fault_14_signals(connections: set[int], overlap: bool) -> None:
    """A storm of signals interrupts receives, not the poll."""
    caught = 0

    def count(*_: object) -> None:
        nonlocal caught
        caught += 1

    def make(*arguments: Any, **options: Any) -> LiveDump:
        return LiveDump(*arguments, **options, overlap=overlap)

    before = signal.signal(signal.SIGALRM, count)
    signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
    try:
        for _ in range(30):
            cookies, live = polled(make_dump=make)
            assert connections <= cookies
            assert live.trailer is not None
            assert live.trailer.flags == ()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert caught > 10


def test_fault_15_second_dump_on_a_socket(connections: set[int]) -> None:
    """Every dump opens its own socket; if EBUSY happens all the same, it is a temporary error of this dump."""

    class Twice(DiagSocket):
        def send(self, message: bytes) -> None:
            super().send(message)
            super().send(message)

    def make(*arguments: Any, **options: Any) -> LiveDump:
        return LiveDump(*arguments, **{**options, "slot": 4096}, open_socket=Twice)

    _, live = polled(make_dump=make)
    assert isinstance(live.error, KernelRefused)
    assert live.error.errno == errno.EBUSY
    assert live.error.exit_code == ExitCode.TEMPORARY


@pytest.mark.root
@pytest.mark.slow
def test_fault_02_silent_inconsistency() -> None:
    """Under churn in a small table the kernel repeats rows and leaves some out, and never says so.

    No poll hands on a socket twice; every stable socket is in one of two consecutive polls.
    """
    require_root()
    from tests.sockets.churn import Churn

    with Churn(stable=4000, pool=1500) as churn:
        polls = netns.inside(churn.ns, _many_polls, 40)
        assert churn.running()
        stable = churn.stable_cookies
    removed = sum(duplicates for _, duplicates in polls)
    for (one, _), (two, _) in pairwise(polls):
        assert stable <= one | two
    assert removed > 0, "the churn did not make the kernel repeat a row: the test showed nothing"


def _many_polls(count: int) -> list[tuple[set[int], int]]:
    found = []
    for _ in range(count):
        live = LivePoll(Wanted(families=(0,)), Decoder())
        cookies = [c for batch in live for c in batch.columns["idiag_cookie"].tolist()]
        assert len(cookies) == len(set(cookies))
        assert live.trailer is not None
        found.append((set(cookies), live.trailer.duplicates))
    return found
