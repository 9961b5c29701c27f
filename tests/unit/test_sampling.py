"""The sample: its share, its sameness, and that nothing but the key decides it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.batches import batch_of
from xtcp.batch import Batch, Tally
from xtcp.chunk import Context
from xtcp.poll.sampling import Sampler, key_of, mixed

HERE = Context(hostname="edge-1", netns="blue")


def counted(first: int, count: int, context: Context = HERE) -> Batch:
    """Sockets as a kernel numbers them: cookies one after the other."""
    cookies = np.arange(first, first + count, dtype=np.uint64)
    return Batch(context, count, {"idiag_cookie": cookies}, {}, np.arange(count, dtype=np.int64) * 4, Tally())


def kept(batch: Batch, one_in: int, secret: bytes = b"key") -> NDArray[np.uint64]:
    """The cookies that a sampler keeps."""
    return Sampler(one_in, secret).keep(batch).columns["idiag_cookie"].astype(np.uint64)


def test_splitmix64_is_the_published_one() -> None:
    """The hash of the state 0 and its successors is the sequence that the reference gives for seed 0."""
    golden = 0x9E37_79B9_7F4A_7C15
    states = np.array([(n * golden) % (1 << 64) for n in range(3)], np.uint64)
    assert [f"{n:x}" for n in mixed(states, 0).tolist()] == ["e220a8397b1dcdaf", "6e789e6aa1b965f4", "6c45d188009454f"]


@pytest.mark.parametrize("one_in", [2, 3, 100, 4000])
def test_the_share_is_one_in_n(one_in: int) -> None:
    """Of a million sockets one in N is kept, within five standard deviations."""
    count = 1_000_000
    share = 1 / one_in
    spread = math.sqrt(count * share * (1 - share))
    assert abs(len(kept(counted(1, count), one_in)) - count * share) < 5 * spread


def test_the_same_sockets_in_every_poll() -> None:
    """What is kept depends on the socket, not on its batch, its neighbours or the time of the poll."""
    whole = set(kept(counted(1000, 50_000), 50).tolist())
    later = replace(HERE, poll_id=2, timestamp_ns=3, dump=4)
    pieces = [kept(counted(start, 500, later), 50) for start in range(1000, 51_000, 500)]
    assert set(np.concatenate(pieces).tolist()) == whole


def test_a_smaller_sample_is_a_part_of_a_larger() -> None:
    """Who keeps one in 4000 sees nothing that one in 1000 does not."""
    batch = counted(1, 400_000)
    assert set(kept(batch, 4000).tolist()) <= set(kept(batch, 1000).tolist()) <= set(kept(batch, 10).tolist())


@pytest.mark.parametrize(
    "other", [replace(HERE, netns="green"), replace(HERE, hostname="edge-2"), Context(hostname="edge-1blue", netns="")]
)
def test_namespaces_and_hosts_are_sampled_apart(other: Context) -> None:
    """The same cookie elsewhere is another socket: the two samples have no more in common than chance gives."""
    count, one_in = 200_000, 10
    both = np.intersect1d(kept(counted(1, count), one_in), kept(counted(1, count, other), one_in))
    expected = count / one_in**2
    assert abs(len(both) - expected) < 5 * math.sqrt(expected)


def test_another_key_keeps_others() -> None:
    """Without the key nobody can tell which sockets are seen."""
    count, one_in = 200_000, 10
    batch = counted(1, count)
    both = np.intersect1d(kept(batch, one_in, b"one"), kept(batch, one_in, b"two"))
    expected = count / one_in**2
    assert abs(len(both) - expected) < 5 * math.sqrt(expected)
    assert key_of("a", "b", b"one") != key_of("a", "b", b"two")


def test_the_hash_is_even() -> None:
    """Chi-square over 256 buckets, for the high and for the low bits, of cookies one after the other."""
    hashes = mixed(np.arange(1, 1_000_001, dtype=np.uint64), key_of("host", "netns"))
    for buckets in (hashes >> np.uint64(56), hashes & np.uint64(255)):
        observed = np.bincount(buckets.astype(np.int64), minlength=256)
        expected = len(hashes) / 256
        chi_square = float(((observed - expected) ** 2 / expected).sum())
        # 255 degrees of freedom: mean 255, standard deviation 22.6.
        assert 150 < chi_square < 370


def test_each_row_says_how_many_it_stands_for() -> None:
    """The weight is N, times the weight that the rows had; one in one changes nothing."""
    batch = counted(1, 1000)
    assert Sampler(50).keep(batch).context.weight == 50
    assert Sampler(50).keep(replace(batch, context=replace(HERE, weight=3))).context.weight == 150
    assert Sampler(1).keep(batch) is batch
    nothing = batch_of([])
    assert Sampler(50).keep(nothing) is nothing


def test_one_in_nothing() -> None:
    """A share that cannot be is a fault of the caller."""
    with pytest.raises(ValueError, match="one socket in 0"):
        Sampler(0)
