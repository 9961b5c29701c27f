"""A row of columns from a dissected message, from scapy's fields alone; and files to take messages from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scapy.packet import Packet as Dissected

from tests.zoos import ORIGINALS
from xtcp.schema.columns import BY_NAME
from xtcp_replay.reading.findings import Findings
from xtcp_replay.reading.opening import Told, open_bytes
from xtcp_replay.reading.packets import Packet, read_packets

Row = dict[str, Any]

OWN = ORIGINALS


def packets_of(path: Path) -> Iterator[Packet]:
    """The packets of a capture."""
    with open_bytes(str(path), Told(), Findings([])) as source:
        yield from read_packets(source, Findings([]), Findings([]))


def messages_of(packet: Dissected) -> list[Any]:
    """The messages of a packet of LINKTYPE_NETLINK, or of a datagram."""
    datagram = packet if "messages" in packet.fields else packet.payload
    return list(datagram.fields.get("messages", []))


def rows_of(packet: Dissected) -> list[Row]:
    """The rows in a packet or a datagram."""
    return [row_of(m) for m in messages_of(packet) if type(m.payload).__name__ == "inet_diag_msg" and whole(m)]


def whole(message: Any) -> bool:
    """Whether a message has all of `inet_diag_msg`."""
    return message.payload.idiag_inode is not None


def row_of(message: Any) -> Row:
    """The columns of a row, those that are there."""
    body = message.payload
    row: Row = {"attributes": 0}
    _members(body, row)
    unknown: list[tuple[int, bytes]] = []
    _attributes(body, row, unknown, at=0, top=True)
    if unknown:
        row["unknown_attributes"] = b"".join(raw for _, raw in sorted(unknown))
    return row


def _members(layer: Any, row: Row) -> None:
    for field in layer.fields_desc:
        value = getattr(layer, field.name)
        if field.name in BY_NAME and value is not None and not field.islist:
            text = BY_NAME[field.name].kind.name == "text"
            row[field.name] = value[:16].split(b"\0")[0] if text else value
    if "md5sig" in layer.fields:
        row["md5sig"] = b"".join(map(bytes, layer.md5sig)) + layer.rest


def _attributes(layer: Any, row: Row, unknown: list[tuple[int, bytes]], *, at: int, top: bool) -> None:
    """The last attribute of each number is read, those that the table has not are kept whole, in their order."""
    last: dict[str, tuple[int, Any]] = {}
    for attribute in layer.attributes:
        number = attribute.nla_type & 0x3FFF
        if top and number < 64:
            row["attributes"] |= 1 << number
        if type(attribute).__name__ == "nlattr":
            unknown.append((at, _bare(attribute)))
        else:
            last[type(attribute).__name__] = (at, attribute)
        at += len(attribute.original)
    if layer.rest:
        row["damaged"] = 1
    for name, (at, attribute) in last.items():
        if "attributes" in attribute.fields:
            _attributes(attribute, row, unknown, at=at + 4, top=False)
            continue
        _members(attribute, row)
        rest = attribute.fields.get("rest")
        cut = any(attribute.getfieldval(field.name) is None for field in attribute.fields_desc)
        if name == "INET_DIAG_INFO":
            row["tcp_info_len"] = attribute.nla_len - 4
            if rest and not cut:
                row["tcp_info_surplus"] = rest
        elif (rest and not cut and name != "INET_DIAG_MD5SIG" and not _flag(attribute)) or _long_text(attribute):
            unknown.append((at, _bare(attribute)))


def _flag(attribute: Any) -> bool:
    return attribute.fields_desc[2].name in BY_NAME and BY_NAME[attribute.fields_desc[2].name].kind.name == "flag"


def _long_text(attribute: Any) -> bool:
    column = BY_NAME.get(attribute.fields_desc[2].name)
    return column is not None and column.kind.name == "text" and attribute.nla_len > 4 + 16


def _bare(attribute: Any) -> bytes:
    return bytes(attribute)[: attribute.nla_len]
