"""Datagrams: of a capture's packets those that carry sock_diag messages, each with the byte order it is in.

1. A packet has the 16 bytes of LINKTYPE_NETLINK before its messages; other netlink families are counted and passed
   over. What the snaplen has cut is told, and its whole messages are read.
2. The messages' byte order is found from themselves, per interface and again where they change it; the file's own
   order says nothing about it. Where the messages decide nothing, that is told, never guessed.
3. Times are those of the file, in its order; what no clock of a host would say is noted.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from xtcp.netlink.byte_order import KNOWN_TYPES, LONGEST_MESSAGE, detect, fills
from xtcp.netlink.numbers import NETLINK_SOCK_DIAG, NLMSG_HDRLEN
from xtcp.schema.model import Order
from xtcp_replay.reading.contents import Contents
from xtcp_replay.reading.findings import Findings, at_byte
from xtcp_replay.reading.interface import Interface
from xtcp_replay.reading.packets import Packet

_COOKED_LEN: Final = 16
_ARPHRD_NETLINK: Final = 824
_ORDERS: Final[tuple[Order, Order]] = ("<", ">")
_HEADERS: Final = {order: struct.Struct(order + "IHHII").unpack_from for order in _ORDERS}
NETLINK_FAMILIES: Final = {0: "route", 6: "xfrm", 9: "audit", 12: "netfilter", 15: "kobject", 16: "generic"}

# 1980 and 2100: a clock that was never set, or a file that is damaged.
_EARLY_NS: Final = 315_532_800 * 10**9
_LATE_NS: Final = 4_102_444_800 * 10**9
_LONGEST_NS: Final = 1 << 63


class Datagram(NamedTuple):
    """The messages of a packet, from the first `nlmsghdr` on, whose type, flags, sequence number and port id are
    `kind`, `flags`, `seq`, `port`. `time_ns` since 1970, None where the file has none.
    """

    netlink: memoryview
    order: Order
    kind: int
    flags: int
    seq: int
    port: int
    time_ns: int | None
    interface: Interface


class Datagrams:
    """`read` takes the packets in the order of the file; counts go to `contents`. `forced` is the order given."""

    def __init__(self, damage: Findings, notes: Findings, contents: Contents, forced: Order | None = None) -> None:
        self._damage = damage
        self._notes = notes
        self._contents = contents
        self._forced = forced
        self._orders: dict[int, Order] = {}
        self._times: dict[int, int] = {}

    def read(self, packet: Packet) -> Datagram | None:
        """The sock_diag messages of `packet`, None where it has none that can be read."""
        self._contents.packets += 1
        data = packet.data
        if packet.wirelen > len(data) and not packet.file_cut:
            missing = packet.wirelen - len(data)
            advice = "Capture whole packets: tcpdump -s 0."
            self._damage.add(
                "packets cut by the snaplen of the capture", at_byte(packet.offset), missing=missing, advice=advice
            )
        if len(data) < _COOKED_LEN + NLMSG_HDRLEN and packet.wirelen > len(data):
            return None
        if len(data) < _COOKED_LEN or int.from_bytes(data[2:4], "big") != _ARPHRD_NETLINK:
            self._damage.add("packets without the header of LINKTYPE_NETLINK", at_byte(packet.offset))
            return None
        family = int.from_bytes(data[14:16], "big")
        self._contents.families[family] += 1
        if family != NETLINK_SOCK_DIAG:
            return None
        netlink = memoryview(data)[_COOKED_LEN:]
        order = self._order_of(packet, netlink)
        if order is None:
            return None
        _, kind, flags, seq, port = _HEADERS[order](netlink)
        return Datagram(netlink, order, kind, flags, seq, port, self._time_of(packet), packet.interface)

    def end(self) -> None:
        """Notes what was passed over."""
        families = self._contents.families
        named = {NETLINK_FAMILIES.get(n, str(n)): count for n, count in families.items() if n != NETLINK_SOCK_DIAG}
        for name, count in sorted(named.items()):
            self._notes.add("packets of other netlink families skipped", f"{name}: {count:,}")
        if self._contents.packets and not families[NETLINK_SOCK_DIAG]:
            self._notes.add("no sock_diag message in the capture", "run ss while it is taken")

    def _order_of(self, packet: Packet, netlink: memoryview) -> Order | None:
        """The byte order of a datagram, None, and told, where it cannot be known."""
        number = packet.interface.number
        known = self._forced or self._orders.get(number)
        if known is not None and _reads_in(netlink, known):
            return known
        where = at_byte(packet.offset)
        if self._forced is not None:
            self._damage.add("packets that begin with no netlink message in the byte order given", where)
            return None
        found = detect(netlink)
        if found is None:
            # Types that are not known yet: lengths that fill the datagram to its end.
            fitting = [order for order in _ORDERS if fills(netlink, order)]
            if len(fitting) > 1:
                what = "packets whose byte order is ambiguous: types not known, and lengths that fit in both orders"
                self._damage.add(what, where, advice="Say which it is: --byte-order.")
                return None
            if not fitting:
                self._damage.add("packets that begin with no netlink message in either byte order", where)
                return None
            found = fitting[0]
        if known is not None:
            self._notes.add(
                "messages of both byte orders behind each other: captures of several hosts in one",
                f"interface {number}, {where}",
            )
        self._orders[number] = found
        return found

    def _time_of(self, packet: Packet) -> int | None:
        """When it was seen; what is strange about that is noted."""
        time_ns = packet.time_ns
        if time_ns is None:
            return None
        number = packet.interface.number
        before = self._times.get(number, time_ns)
        if _EARLY_NS <= before <= time_ns < _LATE_NS:
            self._times[number] = time_ns
            return time_ns
        where = at_byte(packet.offset)
        if not -_LONGEST_NS < time_ns < _LONGEST_NS:
            self._notes.add("packets with a time that cannot be: taken as having none", where)
            return None
        if time_ns < _EARLY_NS:
            self._notes.add("packets with a time before 1980: the clock of the host was not set", where)
        elif time_ns >= _LATE_NS:
            self._notes.add("packets with a time after 2099: the clock of the host was wrong", where)
        if time_ns < before:
            self._notes.add("packets with a time before that of the packet in front of them", where)
        self._times[number] = time_ns
        return time_ns


def _reads_in(netlink: memoryview, order: Order) -> bool:
    """Whether a datagram begins with a message in `order`, of a known type or at least a length that fits."""
    if len(netlink) < NLMSG_HDRLEN:
        return False
    length, kind, *_ = _HEADERS[order](netlink)
    longest = LONGEST_MESSAGE if kind in KNOWN_TYPES else len(netlink)
    return bool(NLMSG_HDRLEN <= length <= longest)
