"""Faults 1 and 4–17 of a live dump, told by a scripted kernel: what a real one cannot be made to say."""

from __future__ import annotations

import errno
import gc
import itertools
import resource
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.fake_kernel import SEQ, Datagram, ScriptedDiag, done, error, message, row
from tests.patience import fewer, patient
from xtcp.batch import Batch
from xtcp.cli.main import run
from xtcp.decode.decoder import Decoder
from xtcp.errors import ExitCode, KernelRefused
from xtcp.netlink.arena import SLOT
from xtcp.netlink.numbers import (
    NLM_F_ACK_TLVS,
    NLM_F_DUMP_INTR,
    NLM_F_MULTI,
    NLMSG_ERROR,
    NLMSG_NOOP,
    NLMSG_OVERRUN,
)
from xtcp.netlink.request import Request
from xtcp.poll.live import LivePoll, Wanted
from xtcp.schema.inet_diag import IPPROTO_MPTCP, IPPROTO_TCP
from xtcp.sources.live import Limits, LiveDump

Step = bytes | Datagram | OSError


@dataclass
class Polled:
    """A finished poll: cookies in the order they came, the poll, the requests that were sent."""

    cookies: list[int]
    poll: LivePoll
    dumps: list[LiveDump] = field(default_factory=list)

    @property
    def flags(self) -> tuple[str, ...]:
        """The trailer's flags."""
        assert self.poll.trailer is not None
        return self.poll.trailer.flags


def poll(
    *scripts: Iterable[Step],
    families: tuple[int, ...] = (0,),
    deadline_s: float = patient(30),
    protocol: int = IPPROTO_TCP,
    **limits: int,
) -> Polled:
    """One poll whose first dump meets the first script, the next the second, and so on."""
    dumps: list[LiveDump] = []
    waiting = list(scripts)

    def make(request: Request, context: object, **options: object) -> LiveDump:
        script = waiting.pop(0)
        dump = LiveDump(
            request,
            context,  # type: ignore[arg-type]
            **options,  # type: ignore[arg-type]
            one_call=False,
            seq=SEQ,
            open_socket=lambda: ScriptedDiag(script),  # type: ignore[arg-type, return-value]
        )
        dumps.append(dump)
        return dump

    wanted = Wanted(families=families, protocol=protocol, limits=Limits(deadline_s=deadline_s, **limits))
    live = LivePoll(wanted, Decoder(), make_dump=make)
    batches: list[Batch] = list(live)
    cookies = [int(c) for batch in batches for c in batch.in_order().columns["idiag_cookie"].tolist()]
    adds_up(live)
    assert live.trailer is not None
    assert live.trailer.delivered == len(cookies)
    return Polled(cookies, live, dumps)


def adds_up(live: LivePoll) -> None:
    """Promise 1: messages = rows + quarantined + control, whatever happened."""
    trailer = live.trailer
    assert trailer is not None
    assert trailer.messages == trailer.rows + trailer.quarantined + trailer.control


@pytest.fixture(autouse=True)
def _no_socket_is_left() -> object:
    ScriptedDiag.open_now = 0
    yield
    assert ScriptedDiag.open_now == 0


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The kernel's time by a clock of the test's, which goes on by a hundredth of a second whenever it is read."""
    seconds = [0.0]

    def monotonic() -> float:
        seconds[0] += 0.01
        return seconds[0]

    monkeypatch.setattr("xtcp.sources.live.time", SimpleNamespace(monotonic=monotonic, time_ns=time.time_ns))
    return seconds


@pytest.mark.parametrize("where", ["row", "done"])
def test_fault_01_dump_intr(where: str) -> None:
    """An interrupted dump is finished, taken again at most twice, its rows kept once and the poll flagged."""
    flag = NLM_F_MULTI | NLM_F_DUMP_INTR
    if where == "row":
        script: list[Step] = [row(1) + row(2, flags=flag), row(3), done()]
    else:
        script = [row(1) + row(2), row(3), done(flags=flag)]
    seen = poll(script, [*script[:2], row(4), *script[2:]], script)
    assert len(seen.dumps) == 3
    assert seen.cookies == [1, 2, 3, 4]
    assert seen.flags == ("interrupted",)


def test_fault_01_dump_intr_once() -> None:
    """A second dump that is not interrupted ends the tries; the flag stays."""
    flag = NLM_F_MULTI | NLM_F_DUMP_INTR
    seen = poll([row(1, flags=flag), done()], [row(1), row(2), done()])
    assert len(seen.dumps) == 2
    assert seen.cookies == [1, 2]
    assert seen.flags == ("interrupted",)


@pytest.mark.parametrize("code", [errno.ENOBUFS, errno.ENOMEM])
def test_fault_04_no_buffers_in_a_dump(code: int) -> None:
    """The dump ends, the rows before are kept, the poll is flagged and says so with exit code 75."""
    seen = poll([row(1), row(2), OSError(code, "scripted"), row(3), done()])
    assert seen.cookies == [1, 2]
    assert seen.flags == ("error",)
    assert isinstance(seen.poll.error, KernelRefused)
    assert seen.poll.error.errno == code
    assert seen.poll.error.exit_code == ExitCode.TEMPORARY


def test_fault_05_truncated_datagram() -> None:
    """Whole messages of a cut datagram are decoded, the poll is flagged, the next buffer is twice as large."""
    many = b"".join(row(c, info=bytes(2000)) for c in range(1, 40))
    seen = poll([many, row(100), done()])
    whole = SLOT // len(row(1, info=bytes(2000)))
    assert seen.cookies == [*range(1, whole + 1), 100]
    assert "truncated" in seen.flags
    assert seen.poll.next_slot == 2 * SLOT
    assert seen.poll.tally.quarantined == 1


def test_fault_07_error_in_the_middle() -> None:
    """An NLMSG_ERROR ends its dump with errno, family and namespace; the other family goes on."""
    seen = poll([row(1), error(errno.EINVAL)], [row(2), done()], families=(2, 10))
    assert seen.cookies == [1, 2]
    assert seen.flags == ("error",)
    assert seen.poll.error is not None
    assert "EINVAL" in str(seen.poll.error)
    assert "IPv4" in str(seen.poll.error)
    assert "network namespace" in str(seen.poll.error)


@pytest.mark.parametrize(("protocol", "module"), [(IPPROTO_TCP, "tcp_diag"), (IPPROTO_MPTCP, "mptcp_diag")])
def test_fault_07_a_kernel_without_the_module(protocol: int, module: str) -> None:
    """It is the module of the protocol that was asked for, by its name and its option."""
    found = poll([error(errno.ENOENT)], protocol=protocol).poll.error
    assert found is not None and found.exit_code == ExitCode.UNAVAILABLE
    assert f"lacks the module {module}." in found.why
    assert f"modprobe {module})" in found.to_do and f"CONFIG_INET_{module.upper()}" in found.to_do


def test_fault_07_extended_acknowledgement() -> None:
    """The kernel's own words are shown."""
    body = np.int32(-errno.EPERM).tobytes() + message(20, b"")[:16]
    text = b"no such luck\0"
    attribute = np.uint16(4 + len(text)).tobytes() + np.uint16(1).tobytes() + text
    seen = poll([message(NLMSG_ERROR, body + attribute, flags=0x300)])
    assert "no such luck" in str(seen.poll.error)
    assert seen.poll.error is not None
    assert seen.poll.error.exit_code == ExitCode.PERMISSION


def test_fault_08_acknowledgement_is_no_error() -> None:
    """An NLMSG_ERROR with errno 0 is an acknowledgement; one too short for an errno is quarantined."""
    seen = poll([error(0) + row(1), message(NLMSG_ERROR, b"\0\0") + row(2), row(3), done()])
    assert seen.cookies == [1, 2, 3]
    assert seen.flags == ()
    assert seen.poll.tally.control["ack"] == 1
    assert seen.poll.tally.quarantined == 1


def test_fault_09_done_with_an_errno() -> None:
    """DONE −2, what an absent protocol answers, is a failure with a hint, not zero sockets."""
    seen = poll([done(-2)])
    assert seen.flags == ("error",)
    assert seen.poll.error is not None
    assert seen.poll.error.exit_code == ExitCode.UNAVAILABLE
    assert "modprobe tcp_diag" in str(seen.poll.error)


@pytest.mark.usefixtures("now")
def test_fault_09_done_too_short() -> None:
    """A DONE without room for its errno is a failure."""
    seen = poll([row(1), message(3, b"")[:16] + b""], deadline_s=0.2)
    assert seen.cookies == [1]
    assert "error" in seen.flags


def test_fault_10_overrun_noop_unknown() -> None:
    """OVERRUN is loss and flagged; NOOP and unknown types are skipped and counted."""
    script: list[Step] = [
        message(NLMSG_OVERRUN, b"") + row(1),
        message(NLMSG_NOOP, b"") + message(77, b"1234") + row(2),
        done(),
    ]
    seen = poll(script)
    assert seen.cookies == [1, 2]
    assert seen.flags == ("overrun",)
    assert seen.poll.tally.control["noop"] == 1
    assert seen.poll.tally.control["other"] == 1


def test_fault_11_done_behind_rows() -> None:
    """A DONE in the datagram of the last rows ends the dump at once."""
    begin = time.monotonic()
    seen = poll([row(1) + row(2) + done()], deadline_s=patient(60))
    assert seen.cookies == [1, 2]
    assert seen.flags == ()
    assert time.monotonic() - begin < patient(30)


@pytest.mark.parametrize("text", [b"", b"\x06\0\x01\0a\0\0\0"])
def test_fault_11_done_between_rows(text: bytes) -> None:
    """A DONE anywhere in a datagram, with or without words of the kernel, ends the dump at once."""
    end = message(3, bytes(4) + text, flags=NLM_F_MULTI | (NLM_F_ACK_TLVS if text else 0))
    seen = poll([row(1) + end + row(2)], deadline_s=60.0)
    assert seen.cookies == [1]
    assert seen.flags == ()
    assert seen.poll.tally.quarantined == 1


def test_fault_07_error_behind_rows() -> None:
    """An NLMSG_ERROR in the datagram of rows ends the dump at once."""
    seen = poll([row(1) + error(errno.EBUSY)], deadline_s=60.0)
    assert seen.cookies == [1]
    assert seen.flags == ("error",)


def test_fault_07_errno_without_a_name() -> None:
    """A number that is no errno, the most negative one too, is told as it is."""
    for code in (2**31 - 1, -(2**31)):
        seen = poll([message(NLMSG_ERROR, np.int32(code).tobytes() + bytes(16))])
        assert f"errno {abs(code)}" in str(seen.poll.error)


def test_fault_11_bytes_behind_done() -> None:
    """Messages behind DONE in its datagram are quarantined, not read as rows."""
    seen = poll([row(1), done() + row(2) + row(3)])
    assert seen.cookies == [1]
    assert seen.poll.tally.quarantined == 2


def test_fault_12_foreign_sequence_and_port() -> None:
    """Replies to another dump are dropped and counted, also a DONE; the dump goes on."""
    script: list[Step] = [row(7, seq=SEQ ^ 1) + row(1), row(8, port=99) + row(2), done(seq=SEQ ^ 1), row(3), done()]
    seen = poll(script)
    assert seen.cookies == [1, 2, 3]
    assert seen.poll.tally.control["foreign"] == 3
    assert seen.flags == ()


def test_fault_13_forged_sender() -> None:
    """A datagram that another process sent is dropped and counted, also one that claims the end."""
    seen = poll([row(1), Datagram(done(), sender=1234), Datagram(row(66), sender=1), row(2), done()])
    assert seen.cookies == [1, 2]
    assert seen.poll.trailer is not None
    assert seen.poll.trailer.forged == 2


def test_fault_14_interrupted_receives() -> None:
    """EINTR and timeouts are waited out."""
    script: list[Step] = [
        InterruptedError(errno.EINTR, ""),
        row(1),
        BlockingIOError(),
        InterruptedError(errno.EINTR, ""),
        done(),
    ]
    assert poll(script).cookies == [1]


def test_fault_14_deadline(now: list[float]) -> None:
    """A kernel that falls silent ends at the deadline, flagged, the socket closed."""
    seen = poll([row(1), row(2)], deadline_s=0.3)
    assert seen.cookies == [1, 2]
    assert seen.flags == ("deadline",)
    assert 0.3 < now[0] < 0.4


def test_fault_14_deadline_is_of_the_whole_poll(now: list[float]) -> None:
    """Families and repetitions share one deadline."""
    seen = poll([row(1)], [row(2)], families=(2, 10), deadline_s=0.4)
    assert seen.flags == ("deadline",)
    assert now[0] < 0.75

    def slow(cookie: int) -> Iterable[bytes]:
        yield row(cookie, flags=NLM_F_MULTI | NLM_F_DUMP_INTR)
        now[0] += 0.3
        yield done()

    begin = now[0]
    seen = poll(slow(1), slow(2), slow(3), deadline_s=0.4)
    assert seen.flags == ("interrupted",)
    assert len(seen.dumps) == 2
    assert now[0] - begin < 0.85


def test_fault_16_endless_dump() -> None:
    """A dump that never ends is bounded by bytes, and memory stays flat."""
    piece = b"".join(row(c) for c in range(1, 60))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seen = poll(itertools.repeat(piece), max_bytes=fewer(16) << 20, deadline_s=patient(60))
    assert seen.flags == ("limit",)
    assert seen.cookies == list(range(1, 60))
    assert seen.poll.trailer is not None
    assert seen.poll.trailer.duplicates > 2500 * fewer(16)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


@pytest.mark.usefixtures("now")
def test_fault_16_endless_dump_by_deadline() -> None:
    """The deadline ends it as well."""
    seen = poll(itertools.repeat(row(5)), deadline_s=0.2)
    assert seen.flags == ("deadline",)
    assert seen.cookies == [5]


@pytest.mark.live
def test_fault_17_no_descriptor() -> None:
    """Without a free descriptor the poll fails with exit code 75, and a thousand failures leak none."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    gc.collect()
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        for _ in range(1000):
            live = LivePoll(Wanted(families=(2,)), Decoder())
            assert list(live) == []
            assert isinstance(live.error, KernelRefused)
            assert live.error.exit_code == ExitCode.TEMPORARY
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == before


def test_flags_are_said_beside_damage(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A cut datagram is damage and loss: both are said, even with -q."""
    script: list[Step] = [row(1), Datagram(row(2)[:40], flags=0x20), done()]

    def make(request: Request, context: object, **options: object) -> LiveDump:
        return LiveDump(
            request,
            context,  # type: ignore[arg-type]
            **options,  # type: ignore[arg-type]
            one_call=False,
            seq=SEQ,
            open_socket=lambda: ScriptedDiag(script),  # type: ignore[arg-type, return-value]
        )

    def scripted(*arguments: object, **options: object) -> LivePoll:
        return LivePoll(*arguments, **options, make_dump=make)  # type: ignore[arg-type]

    monkeypatch.setattr("xtcp.poll.live.LivePoll", scripted)
    assert run(["once", "-4", "-q", "--format", "null"]) == ExitCode.DAMAGED
    assert "rows may be missing" in capsys.readouterr().err
