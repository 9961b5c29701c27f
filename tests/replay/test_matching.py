"""Which request a reply answers, and what proves that two dumps of one port id and sequence number are two."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.patience import fewer
from tests.replay.made import PORT, T0, cooked, done, pcap, pcap_header, record, request, row, saved, sockets
from xtcp_replay.reading import contents
from xtcp_replay.reading.diag_request import Asked
from xtcp_replay.reading.matching import ENDED_DUMPS
from xtcp_replay.reading.opening import ReplaySource, open_source

INCOMPLETE = "dumps without their NLMSG_DONE: some sockets may be missing"
NO_REQUEST = "dumps whose request is not in the capture"
MERGED = "captures of hosts that cannot be told apart were merged"


def read(folder: Path, datagrams: list[bytes]) -> ReplaySource:
    """The source of a pcap of `datagrams`."""
    return open_source(saved(folder, pcap(datagrams)))


def test_fault_43_lost_done_before_the_same_dump_again(tmp_path: Path) -> None:
    """A program that asks the same every time, one DONE lost: the request and the first socket again part the dumps."""
    source = read(tmp_path, [request(), row(1) + row(2), row(3), request(), row(1) + row(4), done()])
    assert sockets(source) == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 4)]
    assert source.notes == [f"{INCOMPLETE} (dump 1)."]
    assert [(dump.number, dump.complete) for dump in source.contents.dumps] == [(1, False), (2, True)]


def test_fault_43_lost_done_where_nothing_proves_it(tmp_path: Path) -> None:
    """The same with another first socket: the request may be another program's, so the rows stay in one dump."""
    source = read(tmp_path, [request(), row(1) + row(2), request(), row(4) + row(2), done()])
    assert {dump for dump, _ in sockets(source)} == {1}
    assert source.notes == ["requests without a reply in the capture (dump 2)."]


def test_fault_43_a_socket_again_is_no_new_dump(tmp_path: Path) -> None:
    """The kernel repeats rows under churn, even the first one; without a request for it that is the same dump."""
    source = read(tmp_path, [request(), row(1) + row(2), row(1) + row(3), done()])
    assert {dump for dump, _ in sockets(source)} == {1}
    assert source.notes == []


def test_fault_43_a_request_of_the_port_itself(tmp_path: Path) -> None:
    """A port that asks again has no dump open any more, whatever the first socket is."""
    source = read(tmp_path, [request(port=PORT), row(1), request(port=PORT), row(2), done()])
    assert sockets(source) == [(1, 1), (2, 2)]
    assert source.notes == [f"{INCOMPLETE} (dump 1)."]


def test_fault_43_rows_of_the_other_family_without_their_request(tmp_path: Path) -> None:
    """DONE and the next request are lost: a kernel that was asked for IPv4 sends no IPv6."""
    source = read(tmp_path, [request(family=2), row(1), row(2, family=10), done()])
    assert sockets(source) == [(1, 1), (2, 2)]
    assert source.notes == [f"{INCOMPLETE} (dump 1).", f"{NO_REQUEST} (dump 2)."]


def test_a_request_for_the_other_family_is_not_answered(tmp_path: Path) -> None:
    """Rows take no request that cannot be theirs."""
    source = read(tmp_path, [request(family=10), row(1), done()])
    assert sockets(source) == [(2, 1)]
    assert source.notes == [f"{NO_REQUEST} (dump 2).", "requests without a reply in the capture (dump 1)."]


def test_fault_44_hosts_that_cannot_be_told_apart(tmp_path: Path) -> None:
    """Two hosts' pcaps merged, same port id and sequence number, at the same time: damage, and nothing lost."""
    first = [request(), row(1), row(2), done()]
    second = [request(), row(8), row(9), done()]
    mixed = [first[0], second[0], first[1], second[1], first[2], first[3], second[2], second[3]]
    source = read(tmp_path, mixed)
    assert Counter(cookie for _, cookie in sockets(source)) == Counter((1, 2, 8, 9))
    (text,) = source.damage
    assert MERGED in text and "by itself" in text


def test_fault_44_one_after_the_other_is_no_damage(tmp_path: Path) -> None:
    """The same two behind each other: what one program does that asks twice."""
    source = read(tmp_path, [request(), row(1), done()] * 3)
    assert sockets(source) == [(1, 1), (2, 1), (3, 1)]
    assert (source.damage, source.notes) == ([], [])


def of_one_process(number: int) -> list[bytes]:
    """What ss does: IPv4, then IPv6, one socket, one sequence number, requests with port id 0."""
    out = []
    for family in (2, 10):
        base = number * 1000 + family * 10
        rows = [row(base + i, family=family, port=PORT + number) for i in range(3)]
        out += [request(family=family), rows[0] + rows[1], rows[2], done(port=PORT + number)]
    return out


def interleaved(queues: list[list[bytes]], chance: random.Random) -> list[bytes]:
    """The datagrams of all in any order that keeps each one's own."""
    queues = [list(queue) for queue in queues]
    out = []
    while any(queues):
        out.append(chance.choice([queue for queue in queues if queue]).pop(0))
    return out


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=fewer(50))
@given(st.integers(0, 2**32), st.integers(2, 5))
def test_fault_43_any_interleaving_of_programs_that_ask_alike(tmp_path: Path, seed: int, count: int) -> None:
    """Any number of ss at once: a dump each for IPv4 and IPv6, whole, and no suspicion of merged hosts."""
    mixed = interleaved([of_one_process(n) for n in range(count)], random.Random(seed))
    source = read(tmp_path, mixed)
    rows = sockets(source)
    assert len(set(rows)) == len(rows) == 6 * count
    assert all(len({cookie // 10 for dump, cookie in rows if dump == n}) == 1 for n, _ in rows)
    assert (source.damage, source.notes) == ([], [])
    assert [dump.number for dump in source.contents.dumps] == list(range(1, 2 * count + 1))
    assert all(dump.complete and dump.datagrams == 3 for dump in source.contents.dumps)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=fewer(80))
@given(st.integers(0, 2**32), st.integers(1, 4), st.floats(0.05, 0.6))
def test_fault_43_any_loss(tmp_path: Path, seed: int, count: int, share: float) -> None:
    """Whatever is lost, what is there comes, once and in its order, no dump has both families, and none whose end is
    lost is called complete.
    """
    chance = random.Random(seed)
    mixed = interleaved([of_one_process(n) for n in range(count)], chance)
    left = [datagram for datagram in mixed if chance.random() > share]
    source = read(tmp_path, left)
    rows = sockets(source)
    sent = [cookie for datagram in left for cookie in cookies_of(datagram)]
    assert Counter(cookie for _, cookie in rows) == Counter(sent)
    for number in {dump for dump, _ in rows}:
        mine = [cookie for dump, cookie in rows if dump == number]
        assert mine == sorted(mine)
        assert len({cookie // 1000 for cookie in mine}) == 1
    ended = sum(1 for datagram in left if datagram[4:6] == b"\3\0")
    assert sum(dump.done_seen for dump in source.contents.dumps) <= ended
    assert not any(dump.complete for dump in source.contents.dumps if not (dump.done_seen and dump.request_seen))


def cookies_of(datagram: bytes) -> list[int]:
    """The cookies of rows as `made.row` makes them; a request has none."""
    if datagram[4] != 20 or datagram[6] & 1:
        return []
    return [int.from_bytes(datagram[at + 60 : at + 68], "little") for at in range(0, len(datagram), 88)]


def test_contents_of_a_capture(tmp_path: Path) -> None:
    """Each dump with what asked for it, when, how much of it there is, and how it ended."""
    datagrams = [request(), row(1), row(2), done(errno=4), request(family=10, seq=9), row(5, seq=3, flags=0)]
    source = read(tmp_path, datagrams)
    sockets(source)
    first, second, third = source.contents.dumps
    assert (first.asked, first.errno, first.datagrams, first.bytes) == (Asked(2), 4, 3, 88 * 2 + 20)
    assert (first.first_ns, first.last_ns) == (T0 // 1000 * 1000, (T0 + 3_000_000) // 1000 * 1000)
    assert (first.order, first.interface and first.interface.link_type, first.complete) == ("<", 253, True)
    assert (second.request_seen, second.done_seen, second.datagrams, second.complete) == (True, False, 0, False)
    assert (third.single, third.complete, third.request_seen) == (True, True, False)
    counts = source.contents
    assert (counts.packets, counts.requests, counts.numbered, counts.families) == (6, 2, 3, {4: 6})


def test_contents_do_not_grow_with_the_file(tmp_path: Path) -> None:
    """Dumps beyond a number are counted, not described; what is remembered of their ends is bounded too."""
    count = max(contents.MOST_DUMPS, ENDED_DUMPS) + 10
    events = b"".join(record(cooked(row(n, seq=n, port=0, flags=0))) for n in range(1, count + 1))
    lost = record(cooked(row(1, seq=count + 1)), T0 + 10**12)
    source = open_source(saved(tmp_path, pcap_header() + events + lost))
    for _ in source.chunks():
        pass
    assert (source.contents.numbered, source.contents.incomplete) == (count + 1, 1)
    assert source.contents.first_ns is not None and source.contents.last_ns is not None
    assert source.contents.last_ns - source.contents.first_ns == 10**12
    assert [dump.number for dump in source.contents.dumps] == list(range(1, contents.MOST_DUMPS + 1))


def test_contents_of_a_raw_dump(tmp_path: Path) -> None:
    """No packets and no requests, dumps with their ends; numbered on behind another file."""
    path = saved(tmp_path, row(1) + done() + row(2) + row(3), "dump.bin")
    first, second = open_source(path), open_source(path)
    second.contents.after = first.contents
    assert [dump for dump, _ in sockets(first) + sockets(second)] == [1, 2, 2, 3, 4, 4]
    assert [(d.number, d.done_seen, d.bytes, d.request_seen) for d in second.contents.dumps] == [
        (3, True, 108, False),
        (4, False, 176, False),
    ]
