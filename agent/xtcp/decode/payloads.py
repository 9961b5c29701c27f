"""What is done to a payload that is not a number: texts, keys, names of attribute paths."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from xtcp.schema.inet_diag import TCP_DIAG_MD5SIG
from xtcp.schema.layout import size_of

# The column `attributes` has a bit a number below this; the kernel's highest is 22.
MASK_BITS: Final = 64
TEXT_LENGTH: Final = 16

_KEY_AT: Final = size_of(TCP_DIAG_MD5SIG) - TCP_DIAG_MD5SIG.fields[-1].kind.size
_KEY_END: Final = size_of(TCP_DIAG_MD5SIG)


def path_name(path: tuple[int, ...]) -> str:
    """A path of attribute numbers as it is counted: `23`, or `19.2.9` inside nests."""
    return ".".join(map(str, path))


def clean_text(raw: NDArray[np.uint8]) -> NDArray[np.bytes_]:
    """Texts of at most 16 bytes, u8 (rows, k): up to the first NUL, as `S16` (rows,)."""
    rows, width = raw.shape
    padded = np.zeros((rows, TEXT_LENGTH), np.uint8)
    padded[:, :width] = raw
    if width and rows:
        after_nul = np.logical_or.accumulate(padded == 0, axis=1)
        padded[after_nul] = 0
    return padded.reshape(-1).view(f"S{TEXT_LENGTH}")


def redact(payload: bytes) -> bytes:
    """`INET_DIAG_MD5SIG` with the key bytes of every `struct tcp_diag_md5sig`, whole or cut, zeroed."""
    clean = bytearray(payload)
    for start in range(0, len(clean), _KEY_END):
        key = range(start + _KEY_AT, min(start + _KEY_END, len(clean)))
        clean[key.start : key.stop] = bytes(len(key))
    return bytes(clean)


def redacted(payloads: NDArray[np.object_]) -> NDArray[np.object_]:
    """`redact` for each of (rows,) `bytes` objects."""
    out = np.empty(len(payloads), object)
    out[:] = [redact(payload) for payload in payloads.tolist()]
    return out
