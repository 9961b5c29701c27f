"""Pseudonyms: permutations that keep what they must, and never change for a key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.patience import fewer
from xtcp_replay.rewriting.pseudonyms import Pseudonyms, make_key, permutation

KEY = bytes(range(32))
NAMES = Pseudonyms(KEY)
ALL_ONES = 2**64 - 1


def test_the_maps_of_a_key_never_change() -> None:
    """Captures that were scrubbed with one key file in different versions still match."""
    assert NAMES.cookie(5) == 6645710976117856786
    assert NAMES.uid(1000) == 3844560903
    assert [NAMES.interface(n) for n in (2, 3)] == [1137, 38360]
    assert NAMES.port(40000) == 43612
    assert NAMES.name("host", "a") == "host-6ee8f10e2464"
    others = (NAMES.inode(7), NAMES.cgroup_id(7), NAMES.netlink_port(7), NAMES.token(7), NAMES.interface(70000))
    assert others == (2461844624, 1636003375494432338, 784666099, 3938253411, 1108944188)
    assert make_key(b"sixteen bytes or").hex() == "f7b048bc12b02bcca9985c85ec889270d2982fbd5d346b4b35d8b3b1a56f928c"


@given(st.integers(0, ALL_ONES), st.integers(0, ALL_ONES))
def test_numbers_stay_different_and_in_their_range(one: int, other: int) -> None:
    """Different values stay different, whatever their size."""
    for bits, mapped in (
        (64, NAMES.cookie),
        (64, NAMES.cgroup_id),
        (32, NAMES.inode),
        (32, NAMES.uid),
        (32, NAMES.interface),
        (32, NAMES.netlink_port),
        (32, NAMES.token),
        (16, NAMES.port),
    ):
        a, b = one % 2**bits, other % 2**bits
        assert 0 <= mapped(a) < 2**bits
        assert (mapped(a) == mapped(b)) == (a == b)


def test_what_has_a_meaning_of_its_own_stays() -> None:
    """No cookie, no owner, root, loopback, the kernel, ports of servers: as they are."""
    assert (NAMES.cookie(0), NAMES.cookie(ALL_ONES)) == (0, ALL_ONES)
    assert (NAMES.inode(0), NAMES.uid(0), NAMES.netlink_port(0), NAMES.token(0)) == (0, 0, 0, 0)
    assert [NAMES.cgroup_id(n) for n in (0, 1)] == [NAMES.interface(n) for n in (0, 1)] == [0, 1]
    assert all(NAMES.port(port) == port for port in range(32768))


def test_client_ports_are_permuted_in_their_range() -> None:
    """All ports from the first one on become all of them, hardly one itself."""
    for first in (65536 - fewer(32768), 60000, 65534, 65535):
        port = Pseudonyms(KEY, first).port
        found = [port(number) for number in range(first, 65536)]
        assert sorted(found) == list(range(first, 65536))
        assert sum(a == b for a, b in enumerate(found, first)) < 10
        assert port(first - 1) == first - 1


def test_interfaces_stay_small() -> None:
    """Numbers of 16 bits are a permutation of their own, so that a copy looks like an original."""
    found = {NAMES.interface(number) for number in range(2, 1 << 12)}
    assert len(found) == (1 << 12) - 2
    assert all(1 < number < 1 << 16 for number in found)
    assert NAMES.interface(1 << 16) >= 1 << 16


@given(st.integers(0, 40), st.integers(1, 300), st.sets(st.integers(0, 340), max_size=5))
def test_any_range_is_permuted(low: int, size: int, kept: set[int]) -> None:
    """A bijection whatever its ends, with what is kept inside or outside."""
    mapped = permutation(KEY, "test", low, low + size, frozenset(kept))
    found = [mapped(number) for number in range(low + size + 40)]
    assert sorted(found) == list(range(low + size + 40))
    assert all(
        found[number] == number for number in range(low + size + 40) if number in kept or not low <= number < low + size
    )


def test_another_key_is_another_map() -> None:
    """Two keys agree on nothing that is mapped."""
    other = Pseudonyms(bytes(32))
    assert [other.cookie(5), other.uid(5), other.inode(5)] != [NAMES.cookie(5), NAMES.uid(5), NAMES.inode(5)]
    assert other.name("host", "a") != NAMES.name("host", "a")


def test_names_are_told_apart_by_their_kind() -> None:
    """A host and a namespace of one name have different pseudonyms; an empty name stays empty; any text will do."""
    assert NAMES.name("host", "blue").removeprefix("host") != NAMES.name("netns", "blue").removeprefix("netns")
    assert NAMES.name("host", "") == ""
    assert NAMES.name("netns", "\udc80é") != NAMES.name("netns", "é")


def test_a_short_secret_is_refused() -> None:
    """Sixteen bytes at least; any length above makes a key."""
    with pytest.raises(ValueError, match="16 bytes"):
        make_key(b"fifteen bytes !")
    assert len(make_key(bytes(100_000))) == 32
