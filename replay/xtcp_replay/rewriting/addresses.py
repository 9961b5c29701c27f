"""AddressMap: addresses replaced under a key so that shared prefixes stay shared.

The structure is that of Crypto-PAn (Xu, Fan, Ammar, Moon: Prefix-Preserving IP Address Anonymization, 2002): bit i is
flipped or not by a keyed pseudo-random function of the i bits before it. Two addresses that agree in their first n
bits agree in exactly n bits afterwards, so the map is a bijection of each family and networks stay networks. The
function is keyed BLAKE2b, one call for the 255 decisions of a byte. The map of a key never changes (a test holds it).

What has a meaning of its own keeps it:

    as it is                  0.0.0.0  127.0.0.0/8  ::  ::1
    the prefix, rest mapped   10.0.0.0/8  100.64.0.0/10  169.254.0.0/16  172.16.0.0/12  192.168.0.0/16  224.0.0.0/4
                              2000::/3  fc00::/7  fd00::/8  fe80::/10  fe80::/64  ff00::/8 with flags and scope
    the IPv4 address in it    ::ffff:0:0/96  64:ff9b::/96: mapped as IPv4, so that both forms of an address stay equal

For that, no bit is flipped on the way to such a prefix; so nothing from outside can land in one. What it gives away:
that an address is of one of these kinds; which addresses share how long a prefix; and of a public IPv4 address the
leading bits that it shares with one of these prefixes, and the one behind them (11.0.0.0/8 shares seven bits with
10.0.0.0/8: its first byte stays; 192.169.0.0/16 stays whole). Who knows some pairs of old and new addresses knows the
prefixes of all that share theirs. The map hides addresses from readers, not from who knows the host.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from ipaddress import IPv4Network, IPv6Network
from typing import Final

KEY_SIZE: Final = 32
V4_SIZE: Final = 4
V6_SIZE: Final = 16

# Prefixes and addresses remembered; what falls out is worked out again.
_REMEMBERED: Final = 1 << 16

_V4_VERBATIM: Final = ("0.0.0.0/32", "127.0.0.0/8")
_V4_KEPT: Final = ("10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "224.0.0.0/4")
_V6_VERBATIM: Final = ("::/128", "::1/128")
_FLAGS_AND_SCOPES: Final = tuple(f"ff{number:02x}::/16" for number in range(256))
_V6_KEPT: Final = ("2000::/3", "fc00::/7", "fd00::/8", "fe80::/10", "fe80::/64", *_FLAGS_AND_SCOPES)
_V6_EMBEDDING: Final = ("::ffff:0:0/96", "64:ff9b::/96")


class AddressMap:
    """The map of one key of `KEY_SIZE` bytes. Addresses are in network order, 4 and 16 bytes."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_SIZE:
            raise ValueError(f"a key has {KEY_SIZE} bytes")
        v4 = _Family(key, b"xtcp IPv4", map(IPv4Network, _V4_VERBATIM), map(IPv4Network, _V4_KEPT))
        v6_kept = map(IPv6Network, (*_V6_KEPT, *_V6_EMBEDDING))
        v6 = _Family(key, b"xtcp IPv6", map(IPv6Network, _V6_VERBATIM), v6_kept)
        embedding = frozenset(IPv6Network(n).network_address.packed[:-V4_SIZE] for n in _V6_EMBEDDING)

        def v6_or_embedded(address: bytes) -> bytes:
            head = address[:-V4_SIZE]
            return head + self.v4(address[-V4_SIZE:]) if head in embedding else v6.mapped(address)

        self.v4 = lru_cache(_REMEMBERED)(v4.mapped)
        self.v6 = lru_cache(_REMEMBERED)(v6_or_embedded)


class _Family:
    """One family: a binary trie whose nodes say whether the next bit is flipped, those above kept prefixes never."""

    def __init__(
        self,
        key: bytes,
        person: bytes,
        verbatim: Iterable[IPv4Network | IPv6Network],
        kept: Iterable[IPv4Network | IPv6Network],
    ) -> None:
        self._key = key
        self._person = person
        self._verbatim: list[IPv4Network | IPv6Network] = list(verbatim)
        # By the bytes before: the nodes of the next byte's tree that stay, a bit each. Node 1 is the root, 2n and
        # 2n + 1 are behind a 0 and a 1.
        self._still: dict[bytes, int] = {}
        for network in (*self._verbatim, *kept):
            self._keep(network.network_address.packed, network.prefixlen)
        self._heads = tuple(n.network_address.packed[: n.prefixlen // 8] for n in self._verbatim)
        self._flips = lru_cache(_REMEMBERED)(self._decide)

    def _keep(self, address: bytes, length: int) -> None:
        for depth in range(length):
            before, node = address[: depth // 8], 1
            for bit in range(depth % 8):
                node = node << 1 | address[depth // 8] >> (7 - bit) & 1
            self._still[before] = self._still.get(before, 0) | 1 << node

    def _decide(self, before: bytes) -> int:
        """The 255 decisions for the byte behind the bytes `before`, that of node n in bit n."""
        decisions = blake2b(before, digest_size=32, key=self._key, person=self._person).digest()
        return int.from_bytes(decisions, "big") & ~self._still.get(before, 0)

    def mapped(self, address: bytes) -> bytes:
        """The address that stands for `address`."""
        if address.startswith(self._heads):
            return address
        out = bytearray(address)
        for at, byte in enumerate(address):
            flips = self._flips(address[:at])
            node, flipped = 1, 0
            for shift in (7, 6, 5, 4, 3, 2, 1, 0):
                flipped = flipped << 1 | flips >> node & 1
                node = node << 1 | byte >> shift & 1
            out[at] = byte ^ flipped
        return bytes(out)
