"""Rows as lines of an m-lab archive, which `reading.mlab_archive` reads: https://github.com/m-lab/tcp-info.

Keys stand in the order of its Go structs, and fields without a value are left out, as its encoder does it; the time
that is not known is 0001-01-01. A host is named by a line of metadata before its first row, with a boot time of 0,
because nothing here knows it. Little-endian always: the format cannot say another order.
"""

from __future__ import annotations

import json
import struct
from binascii import b2a_base64
from collections import Counter
from datetime import datetime, timedelta
from typing import Any, Final

from xtcp.netlink.numbers import NLA_HDRLEN, NLA_TYPE_MASK, NLMSG_HDRLEN, ROW_LEN, aligned
from xtcp.schema.inet_diag import ATTRIBUTES, INET_DIAG_MSG
from xtcp.schema.layout import members
from xtcp_replay.reading.mlab_archive import NO_TIME

# As many places as m-lab keeps: attributes above twice the highest number are cut.
_HIGHEST: Final = 2 * max(attribute.number for attribute in ATTRIBUTES)
_COOKIE: Final = NLMSG_HDRLEN + next(m.offset for m in members(INET_DIAG_MSG, "<", None) if m.column == "idiag_cookie")
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - it is written without its zone
_HEADER: Final = struct.Struct("<HH").unpack_from


class MlabLines:
    """What has no place in a line is counted in `left_out`."""

    def __init__(self, left_out: Counter[str]) -> None:
        self._left_out = left_out
        self._hostname: str | None = None

    def of(self, message: bytes, time_ns: int | None, hostname: str | None) -> bytes:
        """The line of a row's whole message, after one for its host where that is another than before."""
        time = timestamp(time_ns)
        record: dict[str, Any] = {"Timestamp": time, "RawIDM": _text(message[NLMSG_HDRLEN:ROW_LEN])}
        values = self._values(message)
        if values:
            record["Attributes"] = [_text(values[n]) if n in values else None for n in range(max(values) + 1)]
        before = b""
        if hostname and hostname != self._hostname:
            self._hostname = hostname
            (cookie,) = struct.unpack_from("<Q", message, _COOKIE)
            uuid = f"{hostname}_0_{cookie:016X}"
            before = _line({"Timestamp": NO_TIME, "Metadata": {"UUID": uuid, "Sequence": 0, "StartTime": time}})
        return before + _line(record)

    def _values(self, message: bytes) -> dict[int, bytes]:
        """Payloads by number, the last of each."""
        found: dict[int, bytes] = {}
        at, end = ROW_LEN, len(message)
        while at + NLA_HDRLEN <= end:
            length, kind = _HEADER(message, at)
            if not NLA_HDRLEN <= length <= end - at:
                break
            number = kind & NLA_TYPE_MASK
            if number <= _HIGHEST:
                found[number] = message[at + NLA_HDRLEN : at + length]
            else:
                self._left_out[f"attributes above number {_HIGHEST}"] += 1
            at += aligned(length)
        if at < end:
            self._left_out["attributes that are damaged"] += 1
        return found


def timestamp(time_ns: int | None) -> str:
    """As Go writes a time: RFC 3339 with as many digits as it needs. None, and what no clock says, is no time."""
    if not time_ns:
        return NO_TIME
    seconds, rest = divmod(time_ns, 1_000_000_000)
    try:
        moment = (_EPOCH + timedelta(seconds=seconds)).isoformat()
    except OverflowError:
        return NO_TIME
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{moment}{fraction}Z"


def _text(raw: bytes) -> str:
    return b2a_base64(raw, newline=False).decode()


def _line(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"
