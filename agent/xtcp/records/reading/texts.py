"""Payloads of many fields to cells: addresses and short texts as arrays, bytes one by one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xtcp.records.reading.varints import Ints


def addresses(data: NDArray[np.uint8], offset: Ints, length: Ints) -> NDArray[np.uint8]:
    """Payloads of at most 16 bytes as the kernel has addresses: (n, 16), an IPv4 one in the first four."""
    return _padded(data, offset, length, 16)


def short_texts(data: NDArray[np.uint8], offset: Ints, length: Ints, width: int) -> NDArray[np.bytes_]:
    """The first `width` bytes of payloads, up to the first zero in them."""
    raw = _padded(data, offset, length, width)
    raw[np.logical_or.accumulate(raw == 0, axis=1)] = 0
    return raw.view(f"S{width}").reshape(-1)


def payloads(data: NDArray[np.uint8], offset: Ints, length: Ints) -> NDArray[np.object_]:
    """Payloads as `bytes`, empty where there is none."""
    out = np.empty(len(offset), np.object_)
    out[:] = b""
    for row in np.flatnonzero(length).tolist():
        begin = int(offset[row])
        out[row] = data[begin : begin + int(length[row])].tobytes()
    return out


def _padded(data: NDArray[np.uint8], offset: Ints, length: Ints, width: int) -> NDArray[np.uint8]:
    """(n, width): as much of each payload as fits, zeros behind it."""
    place = np.arange(width)
    at = np.minimum(offset[:, np.newaxis] + place, len(data) - 1)
    return np.where(place < length[:, np.newaxis], data[at], np.uint8(0))
