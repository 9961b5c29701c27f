"""One packet of LINKTYPE_NETLINK as it may be shared: the cooked header, and what a datagram cannot say itself.

That is the byte order of its host, the kernel release, and the protocol that was asked for, which says whether
`INET_DIAG_INFO` is a `tcp_info`: as `reading.dumps` finds them, whose dumps are passed over here.
"""

from __future__ import annotations

from typing import Final

from xtcp.netlink.numbers import NETLINK_SOCK_DIAG
from xtcp.schema.inet_diag import IPPROTO_TCP
from xtcp.schema.layout import kernel_release
from xtcp.schema.model import Order
from xtcp.sinks.capture_file import ARPHRD_NETLINK
from xtcp_replay.reading.dumps import Dumps
from xtcp_replay.reading.findings import Findings
from xtcp_replay.reading.packets import Packet
from xtcp_replay.rewriting.pseudonyms import Pseudonyms
from xtcp_replay.rewriting.scrub_datagram import DatagramScrub, Report

_COOKED_LEN: Final = 16
_UNUSED: Final = slice(4, 14)  # https://www.tcpdump.org/linktypes/LINKTYPE_NETLINK.html

NOT_NETLINK: Final = "packets without the header of LINKTYPE_NETLINK"


class PacketScrub:
    """`packet` for packets in the order of the file. `order` and `release`, where told, stand above the file's; what
    of the packets is not whole goes to `damage`.
    """

    def __init__(
        self,
        pseudonyms: Pseudonyms,
        report: Report,
        damage: Findings,
        *,
        order: Order | None = None,
        release: str = "",
        keep_unknown: bool = False,
    ) -> None:
        self.pseudonyms = pseudonyms
        self.report = report
        self.damage = damage
        self._release = release
        self._dumps = Dumps(damage, Findings([]), order=order, release=release)
        self._by_order: dict[Order, DatagramScrub] = {
            each: DatagramScrub(pseudonyms, report, each, keep_unknown=keep_unknown) for each in ("<", ">")
        }

    def packet(self, packet: Packet, *, broken: bool = False) -> bytes | None:
        """Its data, of the same length; None where it is no netlink packet. `broken`: what stands behind it in the file
        is damaged, so that nothing proves that the end of the packet is where it should be.
        """
        for _ in self._dumps.add(packet):
            pass
        datagram, data = self._dumps.datagram, packet.data
        if datagram is None and (len(data) < _COOKED_LEN or int.from_bytes(data[2:4], "big") != ARPHRD_NETLINK):
            return None
        head, netlink = bytearray(data[:_COOKED_LEN]), data[_COOKED_LEN:]
        self._zeroed("unused bytes of packet headers", head[_UNUSED])
        head[_UNUSED] = bytes(10)
        if datagram is None:
            # Of another netlink family, or of no order.
            other = int.from_bytes(data[14:16], "big") != NETLINK_SOCK_DIAG
            self._zeroed(
                "packets of other netlink families" if other else "packets that begin with no message", netlink
            )
            return bytes(head) + bytes(len(netlink))
        kernel = kernel_release(self._release or packet.interface.release)
        context = self._dumps.context
        protocol = IPPROTO_TCP if context is None else context.protocol if context.dump else None
        cut, broken = packet.wirelen > len(data), broken or packet.file_cut
        return bytes(head) + self._by_order[datagram.order].scrubbed(netlink, kernel, protocol, cut=cut, broken=broken)

    def message(self, message: bytes, order: Order, *, broken: bool) -> bytes:
        """A message of a dump of `ss -D`, which stands alone; `broken`: what stands behind it is none."""
        kernel = kernel_release(self._release)
        return self._by_order[order].scrubbed(message, kernel, IPPROTO_TCP, broken=broken)

    def _zeroed(self, what: str, original: bytes | bytearray) -> None:
        if any(original):
            self.report.zeroed[what] += 1
