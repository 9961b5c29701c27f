"""Archives of m-lab's tcp-info as chunks: a JSON object a line, with raw structs in base64.

    {"Metadata": {"UUID": "HOST_BOOTTIME_COOKIE", "Sequence": 0, "StartTime": …}}
    {"Timestamp": "2019-07-01T00:00:12.092Z", "RawIDM": …, "Attributes": [null, MEMINFO, INFO, …]}

1. `RawIDM` is the `inet_diag_msg`; the place of an attribute is its number, its value has no header. Both become a
   netlink message again. The format names neither byte order nor kernel: little-endian unless told otherwise.
2. A dump is the records behind each other that have one Timestamp and no cookie twice, at most `DUMP` of them. The
   time 0001-01-01, or none, is not known; those records are told apart by their cookies alone.
3. What is no record goes to `damage` with the number of its line; the lines around it are read.

Format: github.com/m-lab/tcp-info, package netlink, ArchivalRecord.
"""

from __future__ import annotations

import binascii
import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from xtcp.chunk import SLACK, Chunk, Context
from xtcp.netlink.numbers import NLA_HDRLEN, NLM_F_MULTI, NLMSG_HDRLEN, SOCK_DIAG_BY_FAMILY
from xtcp.schema.inet_diag import INET_DIAG_MSG
from xtcp.schema.layout import members, size_of
from xtcp.schema.model import Order
from xtcp_replay.reading.findings import Findings
from xtcp_replay.reading.input_bytes import InputBytes

LONGEST_LINE: Final = 1 << 20
ARENA: Final = 1 << 20
DUMP: Final = 1 << 18
# Not zero, which is everywhere: decode finds the messages by it.
SEQ: Final = 0x6D6C6162
NO_TIME: Final = "0001-01-01T00:00:00Z"

_KEYS: Final = (b'"Timestamp"', b'"RawIDM"', b'"Metadata"')
_PIECE: Final = 256 << 10
_ROW_LEN: Final = size_of(INET_DIAG_MSG)
_COOKIE: Final = next(m for m in members(INET_DIAG_MSG, "<", None) if m.column == "idiag_cookie").offset
_LONGEST_VALUE: Final = 0xFFFF - NLA_HDRLEN
_MOST_ATTRIBUTES: Final = 1 << 10
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")
_UUID: Final = re.compile(r"(.+?)_(\d+)_(?:unsafe_)?([0-9A-Fa-f]{16})")


class _Wrong(Exception):
    """A line that is no record, in words."""


@dataclass(frozen=True)
class _Record:
    time: str
    time_ns: int | None
    message: bytes
    cookie: bytes


def is_archive(head: bytes) -> bool:
    """Whether a file that begins with `head` is such an archive."""
    return head.startswith(b"{") and any(key in head for key in _KEYS)


def archive_chunks(
    source: InputBytes, damage: Findings, notes: Findings, *, order: Order = "<", release: str = ""
) -> Iterator[Chunk]:
    """The records of an archive, dumps numbered from 1 in `Context.dump`."""
    context = Context(order=order, release=release, dump=0)
    time: str | None = None
    cookies: set[bytes] = set()
    messages = bytearray()
    for number, line in _lines(source, damage):
        try:
            fields = _fields(line)
            hostname = _hostname(fields) or context.hostname
            record = _record(fields, order)
        except _Wrong as wrong:
            damage.add(str(wrong), f"line {number:,}")
            continue
        begins = record is not None and (record.time != time or record.cookie in cookies or len(cookies) == DUMP)
        if messages and (begins or hostname != context.hostname or len(messages) >= ARENA):
            yield _chunk(messages, context)
            messages.clear()
        if hostname != context.hostname:
            context = replace(context, hostname=hostname)
        if record is None:
            continue
        if begins:
            time = record.time
            cookies.clear()
            context = replace(context, dump=(context.dump or 0) + 1, timestamp_ns=record.time_ns)
        if record.time_ns is None:
            notes.add("records without a time", f"line {number:,}")
        cookies.add(record.cookie)
        messages += record.message
    if messages:
        yield _chunk(messages, context)


def _chunk(messages: bytearray, context: Context) -> Chunk:
    data = np.frombuffer(bytes(messages) + bytes(SLACK), np.uint8)
    return Chunk(data, np.array([0], np.int64), np.array([len(messages)], np.int64), context, SEQ, 0)


def _lines(source: InputBytes, damage: Findings) -> Iterator[tuple[int, bytes]]:
    """(number from 1, line) of each line that is not empty and not too long."""
    number = 0
    left = b""
    skipping = False
    while piece := source.read(_PIECE):
        *whole, left = (left + piece).split(b"\n")
        for line in whole:
            number += 1
            if skipping:
                skipping = False
            elif len(line) > LONGEST_LINE:
                damage.add(_TOO_LONG, f"line {number:,}")
            elif line.strip():
                yield number, line
        if skipping or len(left) > LONGEST_LINE:
            if not skipping:
                damage.add(_TOO_LONG, f"line {number + 1:,}")
            left, skipping = b"", True
    if left.strip():
        yield number + 1, left


def _fields(line: bytes) -> dict[str, Any]:
    """The object in a line."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        raise _Wrong("lines that are no JSON") from None
    if not isinstance(fields, dict):
        raise _Wrong("lines that are no JSON object")
    return fields


def _hostname(fields: dict[str, Any]) -> str | None:
    """The host that a line of metadata names."""
    metadata = fields.get("Metadata")
    if metadata is None:
        return None
    uuid = metadata.get("UUID", "") if isinstance(metadata, dict) else None
    if not isinstance(uuid, str):
        raise _Wrong("lines whose Metadata is not an object with a UUID")
    found = _UUID.fullmatch(uuid)
    return found[1] if found else None


def _record(fields: dict[str, Any], order: Order) -> _Record | None:
    """The socket in a line, None where it is one of metadata alone."""
    if "RawIDM" not in fields:
        if "Metadata" in fields:
            return None
        raise _Wrong("lines with neither RawIDM nor Metadata")
    row = _raw(fields["RawIDM"])
    if len(row) != _ROW_LEN:
        raise _Wrong(f"records whose RawIDM is not the {_ROW_LEN} bytes of an inet_diag_msg")
    values = fields.get("Attributes") or []
    if not isinstance(values, list) or len(values) > _MOST_ATTRIBUTES:
        raise _Wrong("records whose Attributes are not a list of them")
    parts = [row]
    header = struct.Struct(order + "HH").pack
    for number, value in enumerate(values):
        if value is None:
            continue
        raw = _raw(value)
        if len(raw) > _LONGEST_VALUE:
            raise _Wrong("records with an attribute longer than any")
        parts += (header(NLA_HDRLEN + len(raw), number), raw, bytes(-len(raw) % 4))
    body = b"".join(parts)
    head = struct.pack(order + "IHHII", NLMSG_HDRLEN + len(body), SOCK_DIAG_BY_FAMILY, NLM_F_MULTI, SEQ, 0)
    time = fields.get("Timestamp", NO_TIME)
    if not isinstance(time, str):
        raise _Wrong(_NO_TIME)
    return _Record(time, _nanoseconds(time), head + body, row[_COOKIE : _COOKIE + 8])


def _raw(text: object) -> bytes:
    if not isinstance(text, str):
        raise _Wrong("records with a value that is not text")
    try:
        return binascii.a2b_base64(text, strict_mode=True) if text else b""
    except ValueError:
        raise _Wrong("records with a value that is not base64") from None


def _nanoseconds(time: str) -> int | None:
    """Since 1970 of a time as RFC 3339 writes it, None for that which means none."""
    if time == NO_TIME:
        return None
    found = _TIME.fullmatch(time)
    try:
        seconds = datetime.fromisoformat(found[1] + found[3]) - _EPOCH if found else None
    except ValueError:
        seconds = None
    if found is None or seconds is None:
        raise _Wrong(_NO_TIME)
    time_ns = (seconds.days * 86_400 + seconds.seconds) * 1_000_000_000 + int((found[2] or "0").ljust(9, "0"))
    if abs(time_ns) >= 1 << 63:
        raise _Wrong(_NO_TIME)
    return time_ns


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NO_TIME: Final = "records whose Timestamp is no time"
_TOO_LONG: Final = f"lines of more than {LONGEST_LINE >> 20} MiB"
