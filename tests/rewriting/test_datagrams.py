"""One stream for every kind of file: the same bytes, the dumps of `decode`, nothing of what is cut."""

from __future__ import annotations

import struct
from collections.abc import Callable
from io import BufferedReader, BytesIO
from pathlib import Path

import pytest

from tests.encoder import attribute, message
from tests.replay.made import T0, cooked, done, dump, pcap, pcap_header, record, row
from tests.rewriting.packets import capture_files
from xtcp.netlink.byte_order import detect
from xtcp_replay.reading.findings import Findings
from xtcp_replay.reading.input_bytes import InputBytes
from xtcp_replay.reading.opening import open_source
from xtcp_replay.reading.packets import read_packets
from xtcp_replay.reading.told import Told
from xtcp_replay.rewriting.datagrams import PIECE, Datagram, DatagramFile, messages, whole

NOTHING = Told()


def read(content: bytes, told: Told = NOTHING, takes: Callable[[int], bool] = lambda _: True) -> Reading:
    """All datagrams of a file with `content`."""
    return Reading(content, told, takes)


class Reading:
    """A file, read."""

    def __init__(self, content: bytes, told: Told, takes: Callable[[int], bool]) -> None:
        self.damage: list[str] = []
        self.notes: list[str] = []
        source = InputBytes(BufferedReader(BytesIO(content)), "made")
        self.file = DatagramFile(source, told, Findings(self.damage), Findings(self.notes), takes)
        self.datagrams = list(self.file)

    @property
    def dumps(self) -> list[int | None]:
        """The number of each one's dump."""
        return [None if d.context is None else d.context.dump for d in self.datagrams]


@pytest.mark.parametrize("path", capture_files(), ids=lambda path: path.name)
def test_every_packet_of_a_capture(path: Path) -> None:
    """Bytes, headers, times, lengths and interfaces are those of the packets; the rows are as many as decode finds."""
    content = path.read_bytes()
    reading = read(content)
    packets = list(read_packets(InputBytes(BufferedReader(BytesIO(content)), ""), Findings([]), Findings([])))
    assert [(d.cooked or b"") + d.netlink for d in reading.datagrams] == [p.data for p in packets]
    assert [(d.wirelen + 16, d.time_ns, d.interface) for d in reading.datagrams] == [
        (p.wirelen, p.time_ns, p.interface) for p in packets
    ]
    source = open_source(str(path))
    chunks = [chunk.context.dump for chunk in source.chunks()]
    assert set(chunks) <= set(reading.dumps)
    assert reading.file.contents.numbered == source.contents.numbered


def test_requests_belong_to_the_dump_they_ask_for() -> None:
    """As do rows and ends; other families and other sockets belong to none."""
    unix = [message("<", bytes([1]) + bytes(39), 20, 0x301, 9, 0), message("<", bytes([1]) + bytes(20), 20, 2, 9, 4)]
    content = pcap_header() + b"".join(
        record(cooked(d, family))
        for d, family in [*((d, 4) for d in dump((1,))), (b"route", 0), *((u, 4) for u in unix)]
    )
    reading = read(content)
    assert reading.dumps == [1, 1, 1, None, 0, 0]
    assert [d.order for d in reading.datagrams] == ["<", "<", "<", None, "<", "<"]
    assert reading.notes == []


def test_raw_messages_come_in_pieces() -> None:
    """As large as a kernel's datagrams, whole messages each, one larger than that alone."""
    large = message("<", bytes(72) + attribute("<", 20, bytes(40_000)), 20, 2, 5, 6)
    content = b"".join(row(n) for n in range(1, 1000)) + large + done() + row(7) + done()
    reading = read(content)
    assert b"".join(d.netlink for d in reading.datagrams) == content
    assert all(len(d.netlink) <= PIECE or d.netlink == large for d in reading.datagrams)
    assert sum(d.netlink == large for d in reading.datagrams) == 1
    assert {d.context.dump for d in reading.datagrams if d.context} == {1, 2}
    assert all(d.cooked is None and d.time_ns is None for d in reading.datagrams)
    assert reading.file.tally.rows == 1001


def test_an_archive_gets_ends(tmp_path: Path) -> None:
    """Behind each dump of it stands a NLMSG_DONE, which decode takes for one."""
    line = '{"Timestamp":"2019-07-01T00:00:12.092Z","RawIDM":"%s"}\n'
    import base64

    bodies = [base64.b64encode(row(n)[16:]).decode() for n in (1, 2, 1)]
    reading = read("".join(line % body for body in bodies).encode())
    kinds = [
        [struct.unpack_from("<H", d.netlink, at + 4)[0] for at, _ in messages(d.netlink, "<")]
        for d in reading.datagrams
    ]
    assert kinds == [[20, 20], [3], [20], [3]]
    assert reading.dumps == [1, 1, 2, 2]
    assert reading.file.tally.rows == 3
    assert {d.time_ns for d in reading.datagrams} == {1561939212092000000}


def test_of_a_cut_file_whole_messages_are_given() -> None:
    """A packet that the end of the file cuts is given up to its last whole message, or not at all."""
    content = pcap([row(1) + row(2) + row(3)])
    cut = read(content[:-30])
    assert [d.netlink for d in cut.datagrams] == [row(1) + row(2)]
    assert cut.datagrams[0].wirelen == 2 * 88
    assert "cut" in cut.damage[0]
    assert read(content[: 24 + 16 + 16 + 60]).datagrams == []


def test_what_the_snaplen_cut_stays_cut() -> None:
    """The bytes that are there, and how long the packet was."""
    packet = cooked(row(1) + row(2))
    reading = read(pcap_header() + record(packet[:150], wirelen=len(packet)))
    (one,) = reading.datagrams
    assert (len(one.netlink), one.wirelen) == (134, 176)


def test_what_is_told_stands_above_the_file() -> None:
    """Release, host and namespace of the interface."""
    reading = read(pcap(dump((1,))), Told(release="6.18.2", hostname="edge7", netns="blue"))
    interface = reading.datagrams[0].interface
    assert (interface.release, interface.hostname, interface.netns) == ("6.18.2", "edge7", "blue")
    assert reading.datagrams[1].context is not None and reading.datagrams[1].context.kernel == (6, 18)


def test_only_wanted_dumps_are_counted() -> None:
    """The tally is that of the dumps that are taken."""
    content = pcap([*dump((1, 2)), *dump((3,), seq=8)])
    assert read(content, takes=lambda n: n == 2).file.tally.rows == 1
    assert read(content).file.tally.rows == 3


def test_where_whole_messages_end() -> None:
    """With padding as far as it is there; behind a length that cannot be there is none."""
    assert whole(row(1) + row(2)[:-1], "<") == 88
    odd = message("<", bytes(73))
    assert whole(odd, "<") == 92 and whole(odd[:-2], "<") == 90 and whole(odd[:-4], "<") == 0
    assert whole(row(1) + bytes(16), "<") == 88
    assert detect(row(1)) == "<" and whole(row(1), ">") == 0
    assert isinstance(read(pcap([row(1)])).datagrams[0], Datagram) and T0
