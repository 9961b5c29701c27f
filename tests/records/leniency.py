"""Where the implementations of google.protobuf, our witness, differ from each other."""

from __future__ import annotations

from xtcp.records.reading.walk import TOO_LONG


def accepted() -> frozenset[str]:
    """Our faults that it has none of: the one in Python, where no other is built, reads tags of ten bytes, not five."""
    from google.protobuf.internal import api_implementation

    return frozenset({TOO_LONG} if api_implementation.Type() == "python" else ())
