"""The header that a netlink monitor puts before each datagram (LINKTYPE_NETLINK), and whole packets.

Importing this registers the header for link type 253, so that `rdpcap` gives dissected packets and `PcapWriter`
writes that link type. `scapy.all` is not imported.
Format: https://www.tcpdump.org/linktypes/LINKTYPE_NETLINK.html
"""

from __future__ import annotations

from typing import Final

from scapy.config import conf
from scapy.packet import Packet, Raw

from xtcp.netlink.byte_order import detect
from xtcp.netlink.numbers import NETLINK_SOCK_DIAG
from xtcp.schema.inet_diag import IPPROTO_TCP
from xtcp.schema.model import Order
from xtcp_replay.layers.fields import Bytes, Member
from xtcp_replay.layers.messages import of
from xtcp_replay.layers.structs import Layer
from xtcp_replay.layers.words import ARPHRD, NETLINK_FAMILIES, PACKET_TYPES
from xtcp_replay.reading.interface import LINKTYPE_NETLINK

COOKED_LEN: Final = 16


class CookedNetlink(Layer):
    """The cooked header; its names are those of libpcap's `struct sll_header` (pcap/sll.h), all in network order.

    Its payload is a `datagram` in the byte order that the messages have, where they have one.
    """

    name = "cooked netlink"
    fields_desc = [  # noqa: RUF012 - scapy's own form
        Member("sll_pkttype", ">H", 4, names=PACKET_TYPES),
        Member("sll_hatype", ">H", 824, names=ARPHRD),
        Member("sll_halen", ">H"),
        Bytes("sll_addr", bytes(8), 8),
        Member("sll_protocol", ">H", NETLINK_SOCK_DIAG, names=NETLINK_FAMILIES),
    ]

    def guess_payload_class(self, payload: bytes) -> type[Packet]:
        """Messages of sock_diag in their order; anything else stays as it is."""
        order = detect(payload) if self.sll_protocol == NETLINK_SOCK_DIAG else None
        if order is None:
            return Raw
        found: type[Packet] = of(order).datagram
        return found

    def mysummary(self) -> str:
        """The family in words."""
        return NETLINK_FAMILIES.get(self.sll_protocol, f"netlink family {self.sll_protocol}")


def dissect(
    packet: bytes,
    order: Order | None = None,
    release: tuple[int, int] | None = None,
    protocol: int = IPPROTO_TCP,
) -> Packet:
    """A packet of a capture; never raises. `order`, `release` and `protocol` are what its bytes do not say; an order
    that is not given is found from the messages.
    """
    header: Packet = CookedNetlink(packet[:COOKED_LEN])
    if not packet:  # which scapy takes for a packet that is to be made
        header.do_dissect(packet)
    rest = packet[COOKED_LEN:]
    if not rest:
        return header
    order = order or detect(rest)
    if order is None or header.sll_protocol != NETLINK_SOCK_DIAG:
        header.add_payload(Raw(rest))
        return header
    header.add_payload(of(order, release, protocol).datagram(rest, _internal=1, _underlayer=header))
    return header


conf.l2types.register(LINKTYPE_NETLINK, CookedNetlink)
