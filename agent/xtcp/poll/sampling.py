"""Sampling: one connection in N, the same ones in every poll, on every run, live and in replay.

What is kept is a function of the host, the network namespace and the socket's cookie alone: a keyed hash of them as a
number of 64 bits, kept where it lies in the lowest Nth of its range. So a connection that was kept stays kept as long
as it lives, a sample of 1 in 4000 is a part of one in 1000, and who can choose neither key nor cookie cannot choose
what is seen. Each row then stands for N sockets, which its column `weight` says.

The hash is the finaliser of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014),
a bijection, so that two cookies never meet; the key of a namespace is BLAKE2b of its names.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from hashlib import blake2b
from typing import Final

import numpy as np
from numpy.typing import NDArray

from xtcp.batch import Batch

KEY: Final = b"xtcp sample"

_STEP: Final = np.uint64(0x9E37_79B9_7F4A_7C15)
_FIRST: Final = np.uint64(0xBF58_476D_1CE4_E5B9)
_SECOND: Final = np.uint64(0x94D0_49BB_1331_11EB)


def mixed(numbers: NDArray[np.uint64], key: int) -> NDArray[np.uint64]:
    """SplitMix64's output for each of `numbers` (n,) as its state, moved by `key`; u64 (n,)."""
    state = (numbers ^ np.uint64(key)) + _STEP
    state = (state ^ (state >> np.uint64(30))) * _FIRST
    state = (state ^ (state >> np.uint64(27))) * _SECOND
    return state ^ (state >> np.uint64(31))


@lru_cache(maxsize=4096)
def key_of(hostname: str, netns: str, secret: bytes = KEY) -> int:
    """64 bits for a network namespace of a host."""
    names = hostname.encode("utf-8", "surrogateescape") + b"\0" + netns.encode("utf-8", "surrogateescape")
    return int.from_bytes(blake2b(names, digest_size=8, key=secret[:64]).digest(), "little")


class Sampler:
    """Keeps one socket in `one_in` (from 1: every one). `secret` is the key of the hash, 64 bytes at most."""

    def __init__(self, one_in: int, secret: bytes = KEY) -> None:
        if one_in < 1:
            raise ValueError(f"one socket in {one_in} cannot be kept")
        self.one_in = one_in
        self._secret = secret
        self._highest = np.uint64((1 << 64) // one_in - 1)

    def keep(self, batch: Batch) -> Batch:
        """The rows that are kept, each with its weight; `batch` has the column `idiag_cookie`, u64 (n,)."""
        if self.one_in == 1 or not batch.rows:
            return batch
        context = batch.context
        cookies = batch.columns["idiag_cookie"].astype(np.uint64, copy=False)
        key = key_of(context.hostname or "", context.netns or "", self._secret)
        kept = batch.take(np.flatnonzero(mixed(cookies, key) <= self._highest))
        return replace(kept, context=replace(context, weight=self.one_in * (context.weight or 1)))
