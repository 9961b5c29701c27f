"""Which rows a command takes: `--dump`, `--since`, `--until`, `--states`, `--port`, `--prefix`, the same in every verb.

    add_filter_options(parser)
    keep = filters(args)              # raises UsageError
    Decoder(wanted | keep.columns)    # what is looked at must be decoded, shown or not
    batch = keep(batch)               # a Batch of the rows that pass all filters

A dump's time is that of its request. Rows of dumps without a time pass neither `--since` nor `--until`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final, TypeVar

from xtcp.cli.selection import states

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from xtcp.batch import Batch
    from xtcp.chunk import Context

_NS: Final = 1_000_000_000
_AF_INET, _AF_INET6 = 2, 10
_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")
_RFC3339: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d(?::\d\d)?)(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)?)?", re.ASCII
)
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_TIME_HELP: Final = "2026-11-24T12:00:00Z, seconds since 1970, or +SECONDS from the first dump with sockets"

Range = tuple[int, int]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_T = TypeVar("_T")


@dataclass(frozen=True)
class When:
    """A time in ns: since 1970, or `from_start` of the capture."""

    ns: int
    from_start: bool = False


def add_filter_options(parser: argparse.ArgumentParser) -> None:
    """The options that choose rows; several of them: rows that pass all."""
    group = parser.add_argument_group("which sockets")
    group.add_argument("--dump", type=_listed(_dumps), metavar="N[-M],…", help="of these dumps (the column dump)")
    group.add_argument("--since", type=_time, metavar="TIME", help=f"of dumps asked for then or later: {_TIME_HELP}")
    group.add_argument("--until", type=_time, metavar="TIME", help="of dumps asked for then or earlier")
    group.add_argument("--states", metavar="NAME,…", help="in these states, by ss's names, as xtcp once takes them")
    group.add_argument("--port", type=_listed(_ports), metavar="N[-M],…", help="with such a port on either side")
    group.add_argument(
        "--prefix",
        type=_listed(_network),
        metavar="ADDRESS[/LEN],…",
        help="with such an address on either side; ::ffff:a.b.c.d counts as IPv4",
    )


def filters(args: argparse.Namespace) -> Filters:
    """What the options choose. Raises `UsageError` for a state that does not exist."""
    return Filters(
        dumps=args.dump, since=args.since, until=args.until, mask=states(args.states), ports=args.port, nets=args.prefix
    )


class Filters:
    """A function of a batch: its rows that pass, the batch itself where all do. Has a state: the time of the first
    batch with rows, where `+SECONDS` count from; `left_out`, the rows that did not pass; `untimed`, those of them that
    had no time to be judged by.

    `columns` are those that must be decoded; without any option (`active` False) there are none.
    """

    def __init__(
        self,
        *,
        dumps: list[Range] | None = None,
        since: When | None = None,
        until: When | None = None,
        mask: int | None = None,
        ports: list[Range] | None = None,
        nets: list[Network] | None = None,
    ) -> None:
        self.left_out = 0
        self.untimed = 0
        self._dumps, self._since, self._until = dumps, since, until
        self._mask, self._ports, self._nets = mask, ports, nets
        self._start: int | None = None
        columns = {"idiag_state"} if mask is not None else set()
        columns |= {"idiag_sport", "idiag_dport"} if ports is not None else set()
        columns |= {"idiag_family", "idiag_src", "idiag_dst"} if nets is not None else set()
        self.columns: frozenset[str] = frozenset(columns)
        self.active = any(option is not None for option in (dumps, since, until, mask, ports, nets))

    def __call__(self, batch: Batch) -> Batch:
        """The rows of `batch` that pass."""
        if not self.active or not batch.rows:
            return batch
        import numpy as np

        keep = np.full(batch.rows, self._takes(batch.context, batch.rows), np.bool_)
        if keep.any():
            for test in (self._in_states, self._at_ports, self._in_networks):
                test(batch, keep)
        kept = int(np.count_nonzero(keep))
        self.left_out += batch.rows - kept
        return batch if kept == batch.rows else batch.take(keep)

    def _takes(self, context: Context, rows: int) -> bool:
        """Whether the dump and its time pass."""
        number, time_ns = context.dump, context.timestamp_ns
        if self._start is None:
            self._start = time_ns
        if self._dumps is not None and (number is None or not any(a <= number <= b for a, b in self._dumps)):
            return False
        if self._since is None and self._until is None:
            return True
        if time_ns is None:
            self.untimed += rows
            return False
        return (self._since is None or time_ns >= self._ns(self._since)) and (
            self._until is None or time_ns <= self._ns(self._until)
        )

    def _ns(self, when: When) -> int:
        return when.ns + (self._start or 0) if when.from_start else when.ns

    def _in_states(self, batch: Batch, keep: NDArray[np.bool_]) -> None:
        if self._mask is not None:
            import numpy as np

            wanted = np.array([self._mask >> state & 1 for state in range(256)], np.bool_)
            keep &= wanted[batch.columns["idiag_state"].astype(np.int64)]

    def _at_ports(self, batch: Batch, keep: NDArray[np.bool_]) -> None:
        if self._ports is not None:
            import numpy as np

            wanted = np.zeros(1 << 16, np.bool_)
            for first, last in self._ports:
                wanted[first : last + 1] = True
            here, there = (batch.columns[name].astype(np.int64) for name in ("idiag_sport", "idiag_dport"))
            keep &= wanted[here] | wanted[there]

    def _in_networks(self, batch: Batch, keep: NDArray[np.bool_]) -> None:
        if self._nets is not None:
            import numpy as np

            family = batch.columns["idiag_family"]
            found = np.zeros(batch.rows, np.bool_)
            for name in ("idiag_src", "idiag_dst"):
                address = batch.columns[name].view(np.uint8).reshape(batch.rows, 16)
                mapped = (family == _AF_INET6) & _within(address, _MAPPED)
                for net in self._nets:
                    if isinstance(net, ipaddress.IPv6Network):
                        found |= (family == _AF_INET6) & ~mapped & _within(address, net)
                    else:
                        found |= (family == _AF_INET) & _within(address, net)
                        found |= mapped & _within(address[:, 12:], net)
            keep &= found


def _within(address: NDArray[np.uint8], net: Network) -> NDArray[np.bool_]:
    """Which of `address` (rows, at least the bytes of an address of `net`) begin as `net` does, bool (rows,)."""
    import numpy as np

    length = len(net.network_address.packed)
    mask = np.frombuffer(net.netmask.packed, np.uint8)
    same: NDArray[np.bool_] = (address[:, :length] & mask == np.frombuffer(net.network_address.packed, np.uint8)).all(1)
    return same


def _listed(one: Callable[[str], _T]) -> Callable[[str], list[_T]]:
    """Texts with commas between them."""

    def listed(text: str) -> list[_T]:
        found = [one(part.strip()) for part in text.split(",") if part.strip()]
        if not found:
            raise argparse.ArgumentTypeError("nothing is named")
        return found

    return listed


def _range(text: str, what: str, lowest: int, highest: int) -> Range:
    found = re.fullmatch(r"(\d{1,12})(?:-(\d{1,12}))?", text, re.ASCII)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, -1)
    if not lowest <= first <= last <= highest:
        raise argparse.ArgumentTypeError(f"{text!r} is no {what}")
    return first, last


def _dumps(text: str) -> Range:
    return _range(text, "dump; write N or N-M, from 1", 1, 10**12)


def _ports(text: str) -> Range:
    return _range(text.removeprefix(":"), "port; write N or N-M, 0 to 65535", 0, 65535)


def _network(text: str) -> Network:
    try:
        if "%" in text:
            raise ValueError("an interface is not part of an address")
        net = ipaddress.ip_network(text.strip("[]"), strict=False)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no prefix; write 10.0.0.0/8 or 2001:db8::/32") from error
    if isinstance(net, ipaddress.IPv6Network) and net.subnet_of(_MAPPED):
        last = net.network_address.packed[12:]
        return ipaddress.IPv4Network((last, net.prefixlen - _MAPPED.prefixlen))
    return net


def _time(text: str) -> When:
    found = re.fullmatch(r"(\+?)(\d{1,12}(?:\.\d{1,9})?)", text, re.ASCII)
    if found:
        return When(int(Decimal(found[2]) * _NS), bool(found[1]))
    # datetime knows microseconds; the fraction is added behind it.
    found = _RFC3339.fullmatch(text)
    date, clock, fraction, zone = found.groups("") if found else ("", "", "", "")
    try:
        moment = dt.datetime.fromisoformat(f"{date} {clock or '00:00'}{zone.upper() or 'Z'}")
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write {_TIME_HELP}") from error
    return When((moment - _EPOCH) // dt.timedelta(seconds=1) * _NS + int(Decimal(fraction or 0) * _NS))


# The type of `--dump`, for verbs that take whole dumps.
dump_ranges = _listed(_dumps)
