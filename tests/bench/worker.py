"""The cases that run inside one process: what the kernel's dump costs, and what we add to it.

Started in the farm's network namespace as `python -m tests.bench.worker PCAP FOLDER HOME BROKER CASE…`; HOME is a
process in the namespace of the broker, whose address is BROKER, "" for none. In: names of cases on standard input, one
a line. Out: a line of JSON for each, a `Sample`. Before the first, each CASE has run once: arenas are there, their
pages touched, and a dump is kept for `decode`. Nothing is counted between one answer and the next question.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from tests.bench import delivery
from tests.bench.cases import FLOOR, POLL, REPLAY, REPLAYED
from tests.bench.sample import Sample
from tests.health.made import trailer
from xtcp.batch import Batch
from xtcp.chunk import Chunk
from xtcp.decode.decoder import Decoder
from xtcp.health.health import Health
from xtcp.netlink.numbers import NETLINK_SOCK_DIAG, NLMSG_DONE, NLMSG_ERROR
from xtcp.netlink.request import Request
from xtcp.poll.live import LivePoll, Wanted, this_host
from xtcp.sources import Source
from xtcp.sources.live import LiveDump
from xtcp_replay.reading.opening import open_source

ONE_PASS = Request(0)
TWO_DUMPS = (Request(socket.AF_INET), Request(socket.AF_INET6))

_BUFFER = bytearray(1 << 16)
_TYPE = struct.Struct("=H")


def thrown_away(*requests: Request) -> None:
    """The dumps received into one buffer again and again: the least that anyone can do."""
    for request in requests:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as diag:
            diag.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            diag.send(request.message(seq=1))
            kind = 0
            while kind not in (NLMSG_DONE, NLMSG_ERROR):
                diag.recv_into(_BUFFER)
                (kind,) = _TYPE.unpack_from(_BUFFER, 4)
        if kind == NLMSG_ERROR:
            raise RuntimeError(f"the kernel refuses a {request}")


def poll(*, overlap: bool, templates: bool = True) -> int:
    """One poll by the one-pass request, all attributes to columns; returns the rows."""
    live = LivePoll(Wanted(families=(0,)), Decoder(templates=templates), make_dump=partial(LiveDump, overlap=overlap))
    rows = sum(batch.rows for batch in live)
    if live.error is not None:
        raise live.error
    return rows


def decoded(chunks: Iterable[Chunk]) -> int:
    """All attributes of the chunks to columns; returns the rows."""
    decoder = Decoder()
    return sum(decoder.decode(chunk).rows for chunk in chunks)


def kept(source: Source) -> list[Chunk]:
    """All chunks of a source, in memory of their own."""
    return [
        replace(chunk, data=chunk.data.copy(), starts=chunk.starts.copy(), ends=chunk.ends.copy())
        for chunk in source.chunks()
    ]


def health(batches: Iterable[Batch]) -> Callable[[], int]:
    """What makes the figures of a poll of these batches again and again; each call is the next poll."""
    figures = Health({"web": [80, 443]})

    def next_poll() -> int:
        for batch in batches:
            figures.observe(batch)
        return sum(figures.end_poll(trailer()).sockets.values())

    return next_poll


def cases(pcap: str, folder: str, home: int, broker: str, stack: ExitStack) -> dict[str, Callable[[], int | None]]:
    """By name what is measured; each returns the rows it gave, None where it cannot know."""
    chunks = kept(LiveDump(ONE_PASS, this_host()))
    return {
        FLOOR: partial(thrown_away, *TWO_DUMPS),
        "one-pass": partial(thrown_away, ONE_PASS),
        POLL: partial(poll, overlap=True),
        "poll-serial": partial(poll, overlap=False),
        "poll-lockstep": partial(poll, overlap=True, templates=False),
        "decode": partial(decoded, chunks),
        REPLAYED: partial(decoded, kept(open_source(pcap))),
        REPLAY: lambda: decoded(open_source(pcap).chunks()),
        "health": health([Decoder().decode(chunk) for chunk in chunks]),
        **delivery.cases(Path(folder), broker, home, chunks, stack),
    }


def measure(case: Callable[[], int | None]) -> Sample:
    """One run of a case; the CPU time is that of all threads."""
    wall, cpu = time.perf_counter(), time.process_time()
    rows = case()
    return Sample(time.perf_counter() - wall, time.process_time() - cpu, rows=rows)


def main(pcap: str, folder: str, home: int, broker: str, names: Sequence[str]) -> None:
    """Answers until standard input ends."""
    with ExitStack() as stack:
        known = cases(pcap, folder, home, broker, stack)
        for name in names:
            known[name]()
        print("ready", flush=True)
        for line in sys.stdin:
            print(json.dumps(measure(known[line.strip()]).as_dict()), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5:])
