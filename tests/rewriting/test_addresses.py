"""The map of addresses: prefixes stay shared, kinds stay kinds, and a key's map never changes."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.patience import fewer
from xtcp_replay.rewriting.addresses import AddressMap

KEY = bytes(range(32))
MAP = AddressMap(KEY)
OTHER = AddressMap(bytes(32))

# The map of KEY, written down once. A change here means that captures scrubbed with one key file no longer match.
KNOWN_ANSWERS = {
    "0.0.0.0": "0.0.0.0",
    "127.0.0.1": "127.0.0.1",
    "127.255.1.2": "127.255.1.2",
    "1.1.1.1": "1.52.105.237",
    "8.8.4.4": "8.20.52.66",
    "8.8.8.8": "8.20.63.196",
    "10.1.2.3": "10.112.91.156",
    "10.1.2.4": "10.112.91.153",
    "169.254.169.254": "169.254.131.74",
    "172.16.0.1": "172.27.174.35",
    "172.32.0.1": "172.42.218.195",
    "192.168.1.1": "192.168.194.59",
    "203.0.113.7": "205.22.211.3",
    "224.0.0.1": "225.198.43.109",
    "255.255.255.255": "243.91.86.159",
    "::": "::",
    "::1": "::1",
    "::2": "::3",
    "::ffff:8.8.8.8": "::ffff:8.20.63.196",
    "64:ff9b::808:808": "64:ff9b::814:3fc4",
    "2001:db8::1": "38a1:f170:1bcf:a0fe:3d99:9e22:b40d:b66f",
    "2001:db8::2": "38a1:f170:1bcf:a0fe:3d99:9e22:b40d:b66d",
    "2001:db8:1::1": "38a1:f170:1bce:1eab:db0f:5eda:38a6:15fb",
    "fc00::1": "fcc1:5de9:83c4:a660:be87:43af:9bfe:7262",
    "fd00::1": "fd3e:644f:53c1:36f5:a8a9:ee8a:9ddb:252f",
    "fe80::1": "fe80::e93e:5c62:802e:fda4",
    "ff02::1": "ff02:611d:292f:77f5:7fe7:223e:1c3:8843",
}
V4_KINDS = tuple(
    map(ip_network, ("10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8",
                     "224.0.0.0/4", "0.0.0.0/32"))
)  # fmt: skip
V6_KINDS = tuple(
    map(ip_network, ("2000::/3", "fc00::/7", "fe80::/10", "fe80::/64", "ff00::/8", "ff02::/16", "::/128", "::1/128",
                     "::ffff:0:0/96", "64:ff9b::/96"))
)  # fmt: skip

v4_addresses = st.integers(0, 2**32 - 1) | st.sampled_from(V4_KINDS).flatmap(
    lambda n: st.integers(int(n.network_address), int(n.broadcast_address))
)
v6_addresses = st.integers(0, 2**128 - 1) | st.sampled_from(V6_KINDS).flatmap(
    lambda n: st.integers(int(n.network_address), int(n.broadcast_address))
)


def mapped(text: str, by: AddressMap = MAP) -> str:
    """The address that `text` becomes."""
    packed = ip_address(text).packed
    return str(ip_address(by.v4(packed) if len(packed) == 4 else by.v6(packed)))


def v4(number: int) -> int:
    """The IPv4 address `number`, mapped."""
    return int.from_bytes(MAP.v4(number.to_bytes(4, "big")), "big")


def v6(number: int) -> int:
    """The IPv6 address `number`, mapped."""
    return int.from_bytes(MAP.v6(number.to_bytes(16, "big")), "big")


@pytest.mark.parametrize(("before", "after"), KNOWN_ANSWERS.items())
def test_the_map_of_a_key_never_changes(before: str, after: str) -> None:
    """Captures that were scrubbed with one key file in different versions still match."""
    assert mapped(before) == str(ip_address(after))


@given(v4_addresses, v4_addresses | st.integers(0, 31))
def test_v4_prefixes_stay_shared(one: int, other: int) -> None:
    """Two addresses that agree in their first n bits, and not in the next, do so afterwards: so it is a bijection."""
    if other < 32:
        other = one ^ 1 << other
    assert (v4(one) ^ v4(other)).bit_length() == (one ^ other).bit_length()


@given(v6_addresses, v6_addresses | st.integers(0, 127))
def test_v6_prefixes_stay_shared(one: int, other: int) -> None:
    """The same for IPv6, but inside the ranges that hold an IPv4 address, where it is true of that one."""
    if other < 128:
        other = one ^ 1 << other
    assert (v6(one) ^ v6(other)).bit_length() == (one ^ other).bit_length()


@given(v4_addresses)
def test_v4_kinds_stay(number: int) -> None:
    """A private address stays in its range, a public one never gets into one; the v4-mapped form is mapped alike."""
    before, after = IPv4Address(number), IPv4Address(v4(number))
    assert [before in kind for kind in V4_KINDS] == [after in kind for kind in V4_KINDS]
    assert v6(0xFFFF << 32 | number) == 0xFFFF << 32 | v4(number)
    assert not before.is_loopback or before == after


@given(v6_addresses)
def test_v6_kinds_stay(number: int) -> None:
    """So do those of IPv6, multicast with its flags and scope."""
    before, after = IPv6Address(number), IPv6Address(v6(number))
    assert [before in kind for kind in V6_KINDS] == [after in kind for kind in V6_KINDS]
    assert not before.is_multicast or before.packed[:2] == after.packed[:2]


def test_a_whole_network_is_a_bijection() -> None:
    """All addresses of a /16 become all addresses of a /16."""
    network = 198 << 24 | 51 << 16
    found = {v4(network | host) for host in range(1 << 16)}
    assert len(found) == 1 << 16
    assert len({number >> 16 for number in found}) == 1


def test_public_addresses_do_not_stay() -> None:
    """No more addresses map to themselves than chance has: one in thousands of those with 16 free bits."""
    public = [8 << 24 | number * 7919 for number in range(2000)] + [203 << 24 | number * 4241 for number in range(2000)]
    assert sum(v4(number) == number for number in public) <= 2
    assert not any(v6(0x20010DB8 << 96 | number * 7919) == 0x20010DB8 << 96 | number * 7919 for number in range(500))


def test_each_bit_is_flipped_half_of_the_time() -> None:
    """Over many keys, every bit of a public address behind the kept kinds' prefixes, none of them before."""
    address = IPv4Address("93.184.216.34").packed
    flips = [0] * 32
    keys = fewer(200)
    for key in range(keys):
        after = AddressMap(key.to_bytes(32, "big")).v4(address)
        difference = int.from_bytes(after, "big") ^ int.from_bytes(address, "big")
        flips = [count + (difference >> 31 - bit & 1) for bit, count in enumerate(flips)]
    # 93 is 0b01011101: '01' leads to 100.64.0.0/10 (0b01100100), '010' to no kind.
    assert flips[:3] == [0, 0, 0]
    assert all(0.3 * keys < count < 0.7 * keys for count in flips[3:]), flips


def test_another_key_is_another_map() -> None:
    """Nothing that is mapped stays the same under another key."""
    assert mapped("203.0.113.7", OTHER) != KNOWN_ANSWERS["203.0.113.7"]
    assert mapped("2001:db8::1", OTHER) != KNOWN_ANSWERS["2001:db8::1"]


def test_a_key_of_another_length_is_refused() -> None:
    """A key is 32 bytes."""
    with pytest.raises(ValueError, match="32 bytes"):
        AddressMap(b"short")
