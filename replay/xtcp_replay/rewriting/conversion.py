"""Conversion: which datagrams go into another file, and in which byte order.

1. In their own order datagrams stay byte for byte, those of other netlink families and about other sockets too.
2. In the other order they are twins (`twin`). What has no twin is left out and counted: other families, whose structs
   are not in the table, and other sockets than TCP's.
3. Of dumps that are not wanted nothing goes, of other families nothing then either.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from xtcp.netlink.numbers import NLMSG_HDRLEN
from xtcp.schema.model import Order
from xtcp_replay.rewriting.datagrams import Datagram
from xtcp_replay.rewriting.twin import other, twin

OTHER_FAMILIES = "packets of other netlink families"
OTHER_SOCKETS = "datagrams about other sockets than TCP's"


class Conversion:
    """`of` gives the datagrams in the order `to`; None: as they are, or with `one_order` all in that of the first.

    `left_out` counts datagrams that are not given, `kept` parts of twins that could not be turned round, by what they
    are; `turned` is how many were.
    """

    def __init__(
        self, to: Order | None, *, one_order: bool = False, takes: Callable[[int], bool] | None = None
    ) -> None:
        self.to = to
        self.left_out: Counter[str] = Counter()
        self.kept: Counter[str] = Counter()
        self.turned = 0
        self._one_order = one_order
        self._takes = takes

    def of(self, datagrams: Iterable[Datagram]) -> Iterator[Datagram]:
        """Those that go into the file."""
        for datagram in datagrams:
            context = datagram.context
            if self._takes is not None and (context is None or not self._takes(context.dump or 0)):
                continue
            if self.to is None and self._one_order:
                self.to = datagram.order
            converted = self._converted(datagram)
            if converted is not None:
                yield converted

    def _converted(self, datagram: Datagram) -> Datagram | None:
        order = order_of(datagram)
        if self.to is None or order == self.to:
            return datagram
        context = datagram.context
        if context is None or datagram.order is None:
            self.left_out[OTHER_FAMILIES] += 1
            return None
        if not context.dump:
            self.left_out[OTHER_SOCKETS] += 1
            return None
        self.turned += 1
        netlink = twin(datagram.netlink, datagram.order, context.kernel, context.protocol, self.kept)
        return datagram._replace(netlink=netlink, order=other(datagram.order))


def order_of(datagram: Datagram) -> Order | None:
    """The byte order of its messages; of other families that in which the first one's length fits, None for none."""
    if datagram.order is not None or len(datagram.netlink) < NLMSG_HDRLEN:
        return datagram.order
    little, big = (struct.unpack_from(order + "I", datagram.netlink)[0] for order in "<>")
    if NLMSG_HDRLEN <= little <= datagram.wirelen:
        return "<"
    return ">" if NLMSG_HDRLEN <= big <= datagram.wirelen else None
