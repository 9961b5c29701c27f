"""Where in a packet the keys of INET_DIAG_MD5SIG stand, so that no dump of its bytes shows them.

Found by their own shape and not by dissection, because they stand in damaged and cut messages as well.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from xtcp.netlink.numbers import NLA_HDRLEN, NLA_TYPE_MASK
from xtcp.schema.inet_diag import ATTRIBUTES, TCP_DIAG_MD5SIG
from xtcp.schema.layout import size_of
from xtcp.schema.names import FAMILIES

_NUMBER: Final = next(a.number for a in ATTRIBUTES if a.name == "INET_DIAG_MD5SIG")
_ONE: Final = size_of(TCP_DIAG_MD5SIG)
_KEY_AT: Final = _ONE - TCP_DIAG_MD5SIG.fields[-1].kind.size


def key_places(packet: bytes) -> frozenset[int]:
    """The offsets in `packet` of all bytes of keys, in either byte order.

    An attribute begins at a multiple of 4; it is one where its number fits, and a `tcp_diag_md5sig` of an address
    family begins behind its header.
    """
    places: set[int] = set()
    for order in "<>":
        header = struct.pack(order + "H", _NUMBER)
        at = packet.find(header)
        while at >= 0:
            if at % 4 == 2 and at + 2 < len(packet) and packet[at + 2] in FAMILIES:
                places.update(_keys(packet, at - 2, order))
            at = packet.find(header, at + 1)
    return frozenset(places)


def _keys(packet: bytes, at: int, order: str) -> Iterator[int]:
    length, number = struct.unpack_from(order + "HH", packet, at)
    if number & NLA_TYPE_MASK == _NUMBER:
        begin, end = at + NLA_HDRLEN, min(at + length, len(packet))
        for start in range(begin, end, _ONE):
            yield from range(start + _KEY_AT, min(start + _ONE, end))
