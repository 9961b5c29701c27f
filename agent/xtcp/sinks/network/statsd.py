"""Statsd: xTCP's gauges of each poll, under its names; the destination `statsd:`.

    xtcp_<v4|v6>_poller_loops               polls so far
    xtcp_<v4|v6>_done_duration              seconds from the request to NLMSG_DONE; v4 and v6 alike where both came in
    xtcp_<v4|v6>_poll_duration              one dump, and the two alike: rows are decoded while they are read
    xtcp_<v4|v6>_poller_long                a counter, 1 where that was more than 80 % of `frequency`
    xtcp_<v4|v6>_netlinker_0_msgs           sockets of this family in this poll; there is one reader, number 0
    xtcp_<v4|v6>_inetdiager_total_msgs      the same, all polls together
    xtcp_heapAlloc, _rss, _sz, _pcpu        of this process: anonymous memory (bytes); `ps -o rss` (KiB), `sz` (pages)
                                            and `pcpu` (per cent of one CPU since it started)

The other names that xTCP has count what only its inside knows (channels, workers, its own datagrams). No gauge is sent
for a thing that is not known: a replay has no duration.

Lines stand together in datagrams of at most 1,432 bytes. Before each name stands `prefix`, in which `{hostname}` is the
poll's; without it hosts that are sent together are counted together. What statsd would misread becomes `_`. Nobody
answers, so nothing is repeated.

Rows: this sink sends none. A row is in flight until the gauges of its poll go out, and then accepted: it has been
counted into them; where they could not be sent it is dropped by the errno. Rows of a poll without an end are dropped
(`closed`).
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from xtcp import amounts
from xtcp.errors import UsageError, XtcpError
from xtcp.ledger import CLOSED, Account
from xtcp.sinks.destination import Destination, amount
from xtcp.sinks.network.address import HostPort, host_port
from xtcp.sinks.network.datagram_socket import DatagramSocket
from xtcp.sinks.network.transmission import Datagrams
from xtcp.sinks.network.udp_socket import connected
from xtcp.sinks.sink import PATIENCE_S

if TYPE_CHECKING:
    from xtcp.batch import Batch
    from xtcp.poll.trailer import Trailer
    from xtcp.sinks.destination import Maker

DEFAULT: Final = HostPort("127.0.0.1", 8125)
# What fits an Ethernet frame with IPv6, and tunnels, to spare; statsd's own advice.
LIMIT_BYTES: Final = 1432
LONGEST_NAME: Final = 255
HOSTNAME: Final = "{hostname}"
LONG_SHARE: Final = 0.8
FREQUENCY_S: Final = 30.0

_FAMILIES: Final[Mapping[int, str]] = {int(socket.AF_INET): "v4", int(socket.AF_INET6): "v6"}
# `:` ends a name, `|` and `@` a value, a line feed the line; some servers make folders of what stands between dots.
_MISREAD: Final = re.compile(r"[^A-Za-z0-9_.-]")


def clean_name(text: str) -> str:
    """`text` as a part of a name: what statsd would misread is `_`, and no longer than `LONGEST_NAME`."""
    return _MISREAD.sub("_", text)[:LONGEST_NAME]


@dataclass
class _Open:
    """The poll of a host that has not ended: its rows, and how many there are of each family."""

    rows: int = 0
    families: Counter[int] = field(default_factory=Counter)


@dataclass
class _Totals:
    """A family of a host, all polls together."""

    loops: int = 0
    messages: int = 0


class Statsd:
    """A `Sink`; `sender` is where the lines go. `process` gives the gauges of this process."""

    gone: Final = False

    def __init__(
        self,
        account: Account,
        sender: DatagramSocket,
        *,
        prefix: str = "",
        frequency_s: float = FREQUENCY_S,
        process: Callable[[], dict[str, int | float]] | None = None,
    ) -> None:
        self._account = account
        self._sender = sender
        self._prefix = prefix
        self._long_s = LONG_SHARE * frequency_s
        self._process = process or ProcessStatistics()
        self._open: dict[str, _Open] = {}
        self._totals: dict[tuple[str, int], _Totals] = {}
        self._closed = False
        account.ask(lambda: sum(poll.rows for poll in self._open.values()))

    @property
    def error(self) -> XtcpError | None:
        """The last refusal."""
        return self._sender.error

    @property
    def ready(self) -> bool:
        """Whether there is a socket; `tick` tries for one."""
        return self._sender.ready

    def tick(self) -> float:
        """Opens the socket."""
        return self._sender.refresh()

    def accept(self, batch: Batch) -> None:
        """Counts the rows."""
        if self._closed:
            self._account.refuse(batch.rows, CLOSED)
            return
        families = Counter[int]()
        column = batch.columns.get("idiag_family")
        if column is not None:
            kinds, counts = np.unique(column, return_counts=True)
            families.update(dict(zip(kinds.tolist(), counts.tolist(), strict=True)))
        with self._account as account:
            account.offer(batch.rows)
            poll = self._open.setdefault(batch.context.hostname or "", _Open())
            poll.rows += batch.rows
            poll.families += families

    def end_poll(self, trailer: Trailer) -> None:
        """Sends the gauges of the poll, and settles its rows."""
        if self._closed:
            return
        with self._account:
            poll = self._open.get(trailer.hostname, _Open())
            families = Counter(poll.families)
            rows = poll.rows
        prefix = self._prefix.replace(HOSTNAME, trailer.hostname)
        lines = list(self._of_poll(trailer, families))
        lines += [f"xtcp_{name}:{value}|g" for name, value in self._process().items()]
        outcome = self._sender.send(packed((clean_name(prefix) + line for line in lines), LIMIT_BYTES))
        with self._account as account:
            self._open.pop(trailer.hostname, None)
            if outcome.lost:
                account.drop(rows, next(iter(outcome.lost)))
            else:
                account.accept(rows, outcome.size)

    def flush(self, timeout_s: float = PATIENCE_S) -> None:
        """Nothing: what is in flight waits for the end of its poll."""

    def close(self, timeout_s: float = PATIENCE_S) -> None:  # noqa: ARG002 - there is nothing to wait for
        """Drops the rows of polls without an end."""
        self._closed = True
        self._sender.close()
        with self._account as account:
            account.drop(sum(poll.rows for poll in self._open.values()), CLOSED)
            self._open.clear()

    def _of_poll(self, trailer: Trailer, families: Counter[int]) -> Iterator[str]:
        for family, af in _FAMILIES.items():
            host = trailer.hostname if HOSTNAME in self._prefix else ""
            totals = self._totals.setdefault((host, family), _Totals())
            totals.loops += 1
            totals.messages += families[family]
            yield f"xtcp_{af}_poller_loops:{totals.loops}|g"
            if trailer.seconds > 0:
                yield f"xtcp_{af}_done_duration:{trailer.seconds:f}|g"
                yield f"xtcp_{af}_poll_duration:{trailer.seconds:f}|g"
            if trailer.seconds > self._long_s:
                yield f"xtcp_{af}_poller_long:1|c"
            yield f"xtcp_{af}_netlinker_0_msgs:{families[family]}|g"
            yield f"xtcp_{af}_inetdiager_total_msgs:{totals.messages}|g"


def packed(lines: Iterable[str], limit_bytes: int) -> Datagrams:
    """Lines to datagrams, as many in each as fit; each carries one row, so that a lost one is seen."""
    groups: list[list[bytes]] = []
    size = 0
    for line in lines:
        text = line.encode("ascii", "replace")
        if not groups or size + 1 + len(text) > limit_bytes:
            groups.append([])
            size = -1
        groups[-1].append(text)
        size += 1 + len(text)
    payloads = [b"\n".join(group) for group in groups]
    lengths = np.array([len(payload) for payload in payloads], np.int64)
    ends = np.cumsum(lengths)
    data = np.frombuffer(b"".join(payloads), np.uint8)
    return Datagrams(data, ends - lengths, ends, np.ones(len(payloads), np.int64))


class ProcessStatistics:
    """The gauges of this process, from /proc/self (proc_pid_stat(5), proc_pid_status(5)); what cannot be read is left
    out.
    """

    def __call__(self) -> dict[str, int | float]:
        """By xTCP's names."""
        found: dict[str, int | float] = {}
        try:
            status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            started = int(Path("/proc/self/stat").read_text(errors="replace").rpartition(")")[2].split()[19])
        except (OSError, ValueError, IndexError):
            return found
        values = dict(re.findall(r"^(RssAnon|VmRSS):\s+(\d+) kB", status, re.MULTILINE))
        if "RssAnon" in values:
            found["heapAlloc"] = 1024 * int(values["RssAnon"])
        used = sum(os.times()[:2])
        lived = time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK")
        found["pcpu"] = round(100 * used / max(lived, 0.01), 1)
        if "VmRSS" in values:
            found["rss"] = int(values["VmRSS"])
        found["sz"] = pages
        return found


def prepare(destination: Destination) -> Maker:
    """`statsd:[HOST:PORT]`."""
    where = host_port(destination.address, DEFAULT, of=destination.name)
    frequency_s = amount(destination, "frequency", amounts.duration, FREQUENCY_S)
    prefix = destination.options.get("prefix", "")
    if len(prefix) > LONGEST_NAME:
        raise UsageError(f"{destination.name}: the prefix is longer than {LONGEST_NAME} characters.", "", "")

    def make(account: Account) -> Statsd:
        sender = DatagramSocket(destination.name, lambda: connected(where), changes=True)
        return Statsd(account, sender, prefix=prefix, frequency_s=frequency_s)

    return make
