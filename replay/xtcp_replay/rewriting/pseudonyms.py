"""Pseudonyms: what stands in a scrubbed capture for numbers and names that belong to one host.

Every map is a function of a key alone, so equal values stay equal and different ones different, within a capture and
over all captures scrubbed with one key file. Numbers are permuted within their range, by a Feistel network with keyed
BLAKE2b as its rounds, so none is drawn twice; names become a word and twelve hexadecimal digits.

    cookie             0 and all ones ("no cookie") stay
    inode, uid         0 stays
    cgroup id          0 and 1 (the root) stay
    interface number   0 and 1 (lo) stay; below 65,536 stays below
    TCP port           those of clients, at and above `client_ports_from`, within their range; others stay
    netlink port id    0 (the kernel) stays; mostly it is a process id
    MPTCP token        0 stays; all three columns that hold one have the same map
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b
from typing import Final, TypeAlias

from xtcp_replay.rewriting.addresses import KEY_SIZE, AddressMap

# net.ipv4.ip_local_port_range begins here unless an administrator moved it (Documentation/networking/ip-sysctl.rst).
CLIENT_PORTS_FROM: Final = 32768
SHORTEST_KEY: Final = 16

Numbers: TypeAlias = Callable[[int], int]

_ROUNDS: Final = 8
_REMEMBERED: Final = 1 << 16
_PORTS: Final = 1 << 16


def make_key(secret: bytes) -> bytes:
    """The key that a secret of any length, at least `SHORTEST_KEY`, stands for."""
    if len(secret) < SHORTEST_KEY:
        raise ValueError(f"a secret has at least {SHORTEST_KEY} bytes")
    return blake2b(secret, digest_size=KEY_SIZE, person=b"xtcp scrub").digest()


class Pseudonyms:
    """All maps of one key of `KEY_SIZE` bytes. Numbers are plain integers, addresses and names as on the wire."""

    def __init__(self, key: bytes, client_ports_from: int = CLIENT_PORTS_FROM) -> None:
        self._key = key
        addresses = AddressMap(key)
        self.v4, self.v6 = addresses.v4, addresses.v6
        self.cookie = permutation(key, "cookie", 0, 1 << 64, frozenset({0, (1 << 64) - 1}))
        self.inode = permutation(key, "inode", 1, 1 << 32)
        self.uid = permutation(key, "uid", 1, 1 << 32)
        self.cgroup_id = permutation(key, "cgroup_id", 2, 1 << 64)
        small = permutation(key, "interface", 2, 1 << 16)
        large = permutation(key, "interface", 1 << 16, 1 << 32)
        self.interface: Numbers = lambda number: small(number) if number < 1 << 16 else large(number)
        self.port = permutation(key, "port", client_ports_from, _PORTS)
        self.netlink_port = permutation(key, "nlmsg_pid", 1, 1 << 32)
        self.token = permutation(key, "token", 1, 1 << 32)

    def name(self, kind: str, name: str) -> str:
        """What stands for `name`, among names of its kind: `host-0123456789ab`. An empty name stays empty."""
        if not name:
            return name
        digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=6, key=self._key, person=kind.encode())
        return f"{kind}-{digest.hexdigest()}"


def permutation(key: bytes, purpose: str, low: int, high: int, kept: frozenset[int] = frozenset()) -> Numbers:
    """A permutation of the numbers from `low` to `high` - 1 but those `kept`; these and all others stay themselves.

    What a permutation of the next power of four gives outside is permuted again until it is inside: still a bijection.
    """
    half = max(1, -(-(high - low - 1).bit_length() // 2))
    mask, size = (1 << half) - 1, -(-half // 8)
    person = purpose.encode()

    def permuted(number: int) -> int:
        if not low <= number < high or number in kept:
            return number
        while True:
            left, right = number - low >> half, number - low & mask
            for turn in range(_ROUNDS):
                digest = blake2b(
                    right.to_bytes(size, "big"), digest_size=size, key=key, salt=bytes([turn]), person=person
                )
                left, right = right, left ^ int.from_bytes(digest.digest(), "big") & mask
            number = low + (left << half | right)
            if number < high and number not in kept:
                return number

    return lru_cache(_REMEMBERED)(permuted)
