"""A poll of this network namespace: which dumps it takes, unique rows out, a trailer at its end.

1. One pass by the older request where `one_pass` allows it, else IPv4 and IPv6 one after the other.
2. A dump that the kernel marked interrupted is taken again, at most twice and inside the deadline; rows that came
   before are not repeated, those that were missed are added.
3. An error ends its dump; the other families go on, and `error` is the first of them, after the rows.
4. Whoever runs it may break it off: its trailer then says why.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from xtcp.batch import Batch, Tally
from xtcp.chunk import Context
from xtcp.decode.decoder import Decoder
from xtcp.errors import KernelRefused, Temporary, XtcpError
from xtcp.netlink.arena import SLOT
from xtcp.netlink.request import ALL_STATES, Request
from xtcp.poll.trailer import FLAGS, Trailer
from xtcp.poll.unique import Unique
from xtcp.schema.columns import ALL_EXT
from xtcp.schema.inet_diag import IPPROTO_MPTCP, IPPROTO_TCP
from xtcp.sources import Tap
from xtcp.sources.live import LARGEST_SLOT, Limits, LiveDump

INTERRUPTED_AGAIN: Final = 2


@dataclass(frozen=True)
class Wanted:
    """What a poll asks for; `families` is (0,) for one pass of both."""

    families: tuple[int, ...] = (socket.AF_INET, socket.AF_INET6)
    states: int = ALL_STATES
    ext: int = ALL_EXT
    protocol: int = IPPROTO_TCP
    limits: Limits = field(default_factory=Limits)


@dataclass
class Progress:
    """What a poll has seen so far; `slot` is the buffer a datagram for the next dump, doubled after a cut one."""

    tally: Tally = field(default_factory=Tally)
    dumps: int = 0
    waited_s: float = 0.0
    forged: int = 0
    flags: set[str] = field(default_factory=set)
    errors: list[XtcpError] = field(default_factory=list)
    slot: int = SLOT


class LivePoll:
    """Iterate once; then `trailer` is there and `error` is the first error, if any.

    `make_dump` is what stands between a request and its chunks. `broken_off`, asked after each chunk, gives the flag
    of the trailer that says why the poll ends here, or None.
    """

    def __init__(
        self,
        wanted: Wanted,
        decoder: Decoder,
        *,
        tap: Tap | None = None,
        make_dump: Callable[..., LiveDump] = LiveDump,
        slot: int = SLOT,
        broken_off: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._wanted = wanted
        self._decoder = decoder
        self._tap = tap
        self._make_dump = make_dump
        self._broken_off = broken_off
        self._unique = Unique()
        self._progress = Progress(slot=slot)
        self._started = (0, 0)
        self._context = Context()
        self.trailer: Trailer | None = None
        self.next_slot = slot

    @property
    def error(self) -> XtcpError | None:
        """The first error that ended a dump."""
        return next(iter(self._progress.errors), None)

    @property
    def tally(self) -> Tally:
        """What decoding counted, all dumps together."""
        return self._progress.tally

    def __iter__(self) -> Iterator[Batch]:
        """Batches of unique rows, in the order of the kernel's table except inside a batch (`Batch.in_order`)."""
        self._started = (time.time_ns(), time.monotonic_ns())
        self._context = this_host(self._wanted.protocol, poll_id=self._started[0])
        for family in self._wanted.families:
            request = Request(family, self._wanted.states, self._wanted.ext, self._wanted.protocol)
            for _ in range(1 + INTERRUPTED_AGAIN):
                dump = self._make_dump(
                    request, self._context, limits=self._remaining(), tap=self._tap, slot=self._progress.slot
                )
                tally = Tally()
                yield from self._rows(dump, tally)
                self._close(dump, tally)
                if self._broken() or not tally.interrupted or self._remaining().deadline_s <= 0:
                    break
            if self._broken():
                break
        yield from self._unique.end()
        self.next_slot = self._progress.slot
        self.trailer = self._trailer()

    def cut_short(self, flag: str) -> Trailer:
        """The trailer of a poll whose iteration did not come to its end, with `flag` more."""
        self._started = self._started if self._started[0] else (time.time_ns(), time.monotonic_ns())
        return self._trailer().flagged(flag)

    def _broken(self) -> bool:
        """Whether the poll is broken off; the flag that says why is kept."""
        flag = self._broken_off()
        if flag is not None:
            self._progress.flags.add(flag)
        return flag is not None

    def _rows(self, dump: LiveDump, tally: Tally) -> Iterator[Batch]:
        try:
            for chunk in dump.chunks():
                batch = self._decoder.decode(chunk)
                tally.add(batch.tally)
                yield from self._unique.add(batch)
                # The reader knows an end only where the kernel puts it; decode sees it anywhere.
                if tally.done is not None or tally.errors or self._broken():
                    break
        except KernelRefused as error:
            self._progress.flags.add("error")
            self._progress.errors.append(error)

    def _remaining(self) -> Limits:
        """The limits of the next dump: the deadline is the poll's."""
        limits = self._wanted.limits
        return replace(limits, deadline_s=limits.deadline_s - self._progress.waited_s)

    def _close(self, dump: LiveDump, tally: Tally) -> None:
        """Judges a finished dump: what ended it, and whether that was its proper end."""
        progress, report = self._progress, dump.report
        progress.tally.add(tally)
        progress.dumps += 1
        progress.waited_s += report.waited_s
        progress.forged += report.forged
        if tally.interrupted:
            progress.flags.add("interrupted")
        if tally.control["overrun"]:
            progress.flags.add("overrun")
        if report.truncated:
            progress.flags.add("truncated")
            progress.slot = min(2 * progress.slot, LARGEST_SLOT)
        if report.deadline:
            progress.flags.add("deadline")
        if report.limit:
            progress.flags.add("limit")
        where = f"{dump.request} in network namespace {dump.context.netns}"
        module = "mptcp_diag" if self._wanted.protocol == IPPROTO_MPTCP else "tcp_diag"
        if report.errno:
            progress.errors.append(KernelRefused(where, report.errno, module=module))
        ends = [*tally.errors, *([tally.done] if tally.done is not None and tally.done.errno else [])]
        progress.errors += [KernelRefused(where, message.errno, message.text, module) for message in ends]
        if progress.errors:
            progress.flags.add("error")
        elif tally.done is None and not (self._broken() or progress.flags & {"deadline", "limit"}):
            progress.flags.add("error")
            progress.errors.append(Temporary(f"The {where} ended without NLMSG_DONE.", "", "Try again."))

    def _trailer(self) -> Trailer:
        tally, progress = self._progress.tally, self._progress
        return Trailer(
            hostname=self._context.hostname or "",
            boot_id=_read("/proc/sys/kernel/random/boot_id"),
            poll_id=self._started[0],
            netns=self._context.netns or "",
            release=self._context.release,
            byte_order=sys.byteorder,
            wall_start_ns=self._started[0],
            wall_end_ns=time.time_ns(),
            monotonic_start_ns=self._started[1],
            monotonic_end_ns=time.monotonic_ns(),
            dumps=progress.dumps,
            messages=tally.messages,
            rows=tally.rows,
            duplicates=self._unique.removed,
            quarantined=tally.quarantined,
            damaged=tally.damaged,
            control=sum(tally.control.values()),
            forged=progress.forged,
            unknown=dict(sorted(tally.unknown.items())),
            surplus={f"{path}:{length}": count for (path, length), count in sorted(tally.surplus.items())},
            flags=tuple(flag for flag in FLAGS if flag in progress.flags),
        )


def this_host(protocol: int = IPPROTO_TCP, poll_id: int | None = None) -> Context:
    """What this host's chunks cannot say themselves."""
    uname = os.uname()
    return Context(
        release=uname.release, protocol=protocol, hostname=uname.nodename, netns=namespace_name(), poll_id=poll_id
    )


def namespace_name() -> str:
    """This network namespace: its name under /run/netns where it has one, else its inode."""
    try:
        here = Path("/proc/self/ns/net").stat()
    except OSError:
        return "unknown"
    try:
        names = sorted(Path("/run/netns").iterdir())
    except OSError:
        names = []
    for name in names:
        try:
            there = name.stat()
        except OSError:
            continue
        if (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino):
            return name.name
    return str(here.st_ino)


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
