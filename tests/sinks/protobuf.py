"""Records and envelopes read by google.protobuf, the witness of what our sinks write."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from xtcp.records.descriptor import message_classes
from xtcp.records.layouts import LAYOUTS


def delimited(data: bytes) -> Iterator[bytes]:
    """The messages of a file, each behind its length; raises ValueError where the last one is not whole."""
    at = 0
    while at < len(data):
        size = shift = 0
        while True:
            byte = data[at]
            at += 1
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        if at + size > len(data):
            raise ValueError("the last message is not whole")
        yield data[at : at + size]
        at += size


def parsed(record: str, message: bytes) -> Any:
    """An envelope, or a bare xtcp record."""
    layout = LAYOUTS[record]
    name = layout.record.name if layout.envelope is None else layout.envelope.name
    return message_classes(layout)[name].FromString(message)


def records(record: str, message: bytes) -> list[Any]:
    """The records of an envelope, or the one that it is."""
    found = parsed(record, message)
    if record == "xtcp":
        return [found]
    return list(found.record if record == "flat" else found.row)


def cookies_of(record: str, messages: Iterator[bytes]) -> list[int]:
    """The cookies of all records."""
    out = []
    for message in messages:
        for found in records(record, message):
            if record == "xtcp":
                out.append(found.inet_diag_msg.socket_i_d.cookie)
            elif record == "flat":
                out.append(found.idiag_cookie)
            else:
                out.append(found.inet_diag_msg_socket_cookie)
    return out
