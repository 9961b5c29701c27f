"""Made-up sockets: one that has everything, to see what a release of ss prints at all."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from xtcp.chunk import NATIVE
from xtcp.netlink.numbers import NLA_HDRLEN, NLM_F_MULTI, NLMSG_HDRLEN, SOCK_DIAG_BY_FAMILY
from xtcp.schema.inet_diag import ATTRIBUTES
from xtcp.schema.layout import size_of
from xtcp.schema.model import BLOB, FLAG, TEXT, Attribute, Field, Nest, Struct

_LATEST: Final = (99, 0)
# Not all bits: some programs show no value that is all ones. Not the highest: some read it as a sign.
_FILL: Final = b"\x7f"


def socket_with_everything() -> bytes:
    """A message of an established IPv6 socket with every attribute that has a layout, no member of it 0."""
    body = bytes((10, 1, 1, 1)) + struct.pack(">HH", 1, 2) + bytes(15) + b"\x01" + bytes(15) + b"\x02"
    body += struct.pack(NATIVE + "8I", 0, 1, 0, 1000, 1, 1, 1, 1)
    body += b"".join(_attributes(ATTRIBUTES))
    return struct.pack(NATIVE + "IHHII", NLMSG_HDRLEN + len(body), SOCK_DIAG_BY_FAMILY, NLM_F_MULTI, 0, 0) + body


def _attributes(table: tuple[Attribute, ...]) -> Iterator[bytes]:
    for attribute in table:
        payload = _payload(attribute.body)
        if payload is not None:
            header = struct.pack(NATIVE + "HH", NLA_HDRLEN + len(payload), attribute.number)
            yield header + payload + bytes(-len(payload) % 4)


def _payload(body: Struct | Nest | Field | None) -> bytes | None:
    if isinstance(body, Struct):
        return _FILL * size_of(body, _LATEST)
    if isinstance(body, Nest):
        return b"".join(_attributes(body.attributes))
    if body is None or body.kind is BLOB:
        return None
    return {TEXT: b"x\0", FLAG: b""}[body.kind]
