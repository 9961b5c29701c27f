"""A packet as blocks of lines, one for each message, and one for what makes no message. Never raises."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from xtcp.chunk import Context
from xtcp.schema.inet_diag import IPPROTO_TCP
from xtcp_replay.layers.cooked import dissect
from xtcp_replay.layers.details import Details, Line, why_unread
from xtcp_replay.layers.keys import key_places
from xtcp_replay.layers.messages import of
from xtcp_replay.layers.pieces import Piece
from xtcp_replay.layers.structs import Layer


@dataclass(frozen=True)
class Style:
    """What is shown beside the dissection: keys of INET_DIAG_MD5SIG, all bytes in hexadecimal digits."""

    md5_keys: bool = False
    dump: bool = False


def blocks(piece: Piece, style: Style, offsets: frozenset[int] | None = None) -> list[list[Line]]:
    """The lines of each message whose place in the messages of the piece is in `offsets`; None: of all of it, the
    cooked header with the first.
    """
    details = Details(style.md5_keys, frozenset() if style.md5_keys else key_places(piece.data))
    try:
        return list(_blocks(piece, details, style, offsets))
    except Exception as error:  # noqa: BLE001 - scapy may raise anything; the bytes are shown in any case
        why = f"dissecting it failed ({type(error).__name__})"
        return [[*details.unread(0, 0, piece.data, why), *_dump(details, style, piece.data, 0)]]


def _blocks(piece: Piece, details: Details, style: Style, offsets: frozenset[int] | None) -> Iterator[list[Line]]:
    kernel = Context(release=piece.release).kernel
    context = piece.context or piece.asking
    protocol = IPPROTO_TCP if context is None else context.protocol
    head: list[Line] = []
    begin = 0
    if piece.cooked:
        packet = dissect(piece.data, piece.order, kernel, protocol)
        datagram, begin = packet.payload, len(packet.original)
        if offsets is None:
            head = [*details.cooked(packet), *_dump(details, style, piece.data[:begin], 0)]
    else:
        datagram = of(piece.order or "<", kernel, protocol).datagram(piece.data)
    messages = datagram.messages if isinstance(datagram, Layer) else []
    at = begin
    for number, message in enumerate(messages, 1):
        end = at + len(message.original)
        if offsets is None or at - begin in offsets:
            which = f"message {number} of {len(messages)}" if piece.cooked else ""
            yield [*head, *details.message(message, at, which), *_dump(details, style, piece.data[at:end], at)]
            head = []
        at = end
    rest = piece.data[at:]
    if rest and offsets is None:
        why = why_unread(datagram, rest)
        yield [*head, *details.unread(0, at, rest, why), *_dump(details, style, rest, at)]
    elif head:
        yield head


def _dump(details: Details, style: Style, data: bytes, at: int) -> Iterator[Line]:
    return details.dump(data, at) if style.dump else iter(())
