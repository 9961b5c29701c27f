"""Captures that others made, with what ss printed: every socket of the text is found, with every value it shows.

Nothing here was written by us but the decoder: the captures are real kernels' (4.19 to 7.0.3 on x86-64, 6.1 on s390x),
the texts are ss's.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest

from tests.rows import Row, decoded, rows_by_dump, rows_of
from xtcp.schema.model import Order
from xtcp.sources.dump_file import DumpFile
from xtcp_replay.judging.known_faults import Case, explanation
from xtcp_replay.judging.witnesses.ss_text import compare, groups_shown, match, parse
from xtcp_replay.reading.opening import Told, open_source

pytestmark = pytest.mark.external

# capture, text, whether the text is of one of several dumps in the file, rows in the file
PAIRS = (
    ("4_19_319/4_19_319_tcp_10_sockets.pcap", "4_19_319/4_19_319_ss_tcp_info_a_10", "4.19.319", 33),
    ("4_19_319/4_19_319_tcp_100_sockets.pcap", "4_19_319/4_19_319_ss_tcp_info_a_100", "4.19.319", 311),
    ("5_4_281/5_4_281_tcp_10_sockets.pcap", "5_4_281/5_4_281_ss_tcp_info_a_10", "5.4.281", 33),
    ("5_4_281/5_4_281_tcp_100_sockets.pcap", "5_4_281/5_4_281_ss_tcp_info_a_100", "5.4.281", 312),
    ("5_15_164/5_15_164_tcp_10_sockets.pcap", "5_15_164/5_15_164_ss_tcp_info_a_10", "5.15.164", 33),
    ("5_15_164/5_15_164_tcp_100_sockets.pcap", "5_15_164/5_15_164_ss_tcp_info_a_100", "5.15.164", 311),
    ("6_1_103/6_1_103_tcp_10_sockets.pcap", "6_1_103/6_1_103_ss_tcp_info_a_10", "6.1.103", 33),
    ("6_1_103/6_1_103_tcp_100_sockets.pcap", "6_1_103/6_1_103_ss_tcp_info_a_100", "6.1.103", 312),
    ("6_6_44/ss_tcp_info_a_4.pcap", "6_6_44/ss_tcp_info_a_4", "6.6.44", 15),
    ("6_6_44/tcp_100_sockets.pcap", "6_6_44/ss_tcp_info_a_100", "6.6.44", 1200),
    ("6_6_44/tcp_100_sockets_bbr.pcap", "6_6_44/ss_tcp_info_a_100_bbr", "6.6.44", 909),
    ("6_6_44/tcp_100_sockets_dctcp.pcap", "6_6_44/ss_tcp_info_a_100_dctcp", "6.6.44", 1206),
    ("6_10_3/6_10_3_tcp_10_sockets.pcap", "6_10_3/6_10_3_ss_tcp_info_a_10", "6.10.3", 33),
    ("6_10_3/6_10_3_tcp_100_sockets.pcap", "6_10_3/6_10_3_ss_tcp_info_a_100", "6.10.3", 312),
    ("6_10_3/6_10_3_tcp_1000_sockets.pcap", "6_10_3/6_10_3_ss_tcp_info_a_1000", "6.10.3", 1587),
    ("7_0_3/7_0_3_ss_tcp_info.pcap", "7_0_3/ss_tcp_info_n", "7.0.3", 45),
)


def unexplained(text: str, rows: list[Row], byteorder: str = "little", unprinted: tuple[str, ...] = ()) -> list[str]:
    """What ss's text says otherwise than the rows, but for its known faults on a host of that byte order; a line
    without a row counts. `unprinted` are tokens that this ss does not know.
    """
    lines = parse(text)
    assert lines
    host: Order = "<" if byteorder == "little" else ">"
    groups = groups_shown(lines)
    matching = match(lines, rows)
    found = [f"no row for {line}" for line in matching.lines]
    for line, row in matching.pairs:
        for difference in compare(line, row, groups=groups, unprinted=unprinted)[1]:
            if explanation("ss", Case(difference, row, host, host)) is None:
                found.append(f"{row['idiag_cookie']}: {difference}")
    return found


@pytest.mark.parametrize(("capture", "text", "release", "count"), PAIRS, ids=[pair[0].split("/")[1] for pair in PAIRS])
def test_every_value_of_ss(captures: Path, capture: str, text: str, release: str, count: int) -> None:
    """Every socket that ss printed is in one pair of dumps of the capture, with equal values."""
    source = open_source(str(captures / capture), Told(release=release))
    dumps = rows_by_dump(source.chunks())
    assert source.damage == []
    assert sum(map(len, dumps)) == count
    said = (captures / text).read_text()
    # ss takes one dump a family; files with three runs of it hold six dumps.
    dumps_a_run = len(dumps) if "7_0_3" in capture else 2
    runs = [list(chain.from_iterable(dumps[i : i + dumps_a_run])) for i in range(0, len(dumps), dumps_a_run)]
    assert min((unexplained(said, run) for run in runs), key=len) == []


@pytest.mark.parametrize(("family", "count"), [("v4", 351), ("v6", 352)])
def test_s390x_every_value_of_ss(captures: Path, family: str, count: int) -> None:
    """A big-endian kernel's dump, read from its raw bytes; ss judged the very same bytes on that machine."""
    folder = captures / "s390x-6.1"
    source = DumpFile(str(folder / f"dump-{family}.bin"), release="6.1.0-50-s390x")
    rows = rows_of(decoded(source.chunks()))
    assert source.damage == []
    assert len(rows) == count
    assert unexplained((folder / f"ss-of-dump-{family}.txt").read_text(), rows, "big") == []


@pytest.mark.parametrize("name", ["nlmon-us.pcap", "nlmon-ns.pcap", "nlmon.pcapng"])
def test_s390x_captures_hold_the_dumps(captures: Path, name: str) -> None:
    """nlmon's captures of that machine give the same rows as its raw dumps, whatever the file's format."""
    folder = captures / "s390x-6.1"
    dumps = rows_by_dump(open_source(str(folder / name), Told(release="6.1.0-50-s390x")).chunks())
    context = {"timestamp_ns", "hostname", "netns", "poll_id", "dump"}
    captured = [[{k: v for k, v in row.items() if k not in context} for row in dump] for dump in dumps]
    for family in ("v4", "v6"):
        raw = rows_of(decoded(DumpFile(str(folder / f"dump-{family}.bin"), release="6.1.0-50-s390x").chunks()))
        assert [{k: v for k, v in row.items() if k not in context} for row in raw] in captured


def test_a_flipped_value_is_seen(captures: Path) -> None:
    """The witness can fail: one changed value is one disagreement."""
    folder = captures / "s390x-6.1"
    rows = rows_of(decoded(DumpFile(str(folder / "dump-v4.bin")).chunks()))
    row = next(row for row in rows if row.get("tcpi_bytes_acked", 0) > 1000)
    row["tcpi_bytes_acked"] += 1
    said = (folder / "ss-of-dump-v4.txt").read_text()
    assert len(unexplained(said, rows, "big")) == 1
