"""Real captures, scrubbed: they decode to the same numbers, and what was replaced is a bijection."""

from __future__ import annotations

import struct
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import captures_folder
from tests.equality import Row, rows_of
from tests.rewriting.scrubbing import NAMES, SameNames, content_of, scrubbed, told_of
from tests.zoos import WITH_TWINS
from xtcp.batch import Tally
from xtcp.chunk import Context
from xtcp.decode.decoder import Decoder
from xtcp_replay.reading.opening import open_source

FOLDER = captures_folder()
KINDS = {".pcap", ".pcapng", ".bin"}
FILES = [*WITH_TWINS, *sorted(path for path in FOLDER.rglob("*") if path.suffix in KINDS)] if FOLDER else [*WITH_TWINS]
# nlmon-us.pcap has the same packets.
CAPTURES = [path for path in FILES if path.name != "nlmon-ns.pcap"]

# What must be equal under a map; all other columns must be equal. Columns of one map have one name here.
MAPS = {
    "idiag_sport": "port",
    "idiag_dport": "port",
    "idiag_if": "interface",
    "idiag_cookie": "cookie",
    "idiag_uid": "uid",
    "idiag_inode": "inode",
    "cgroup_id": "cgroup",
    "ulp_mptcp_token_rem": "token",
    "ulp_mptcp_token_loc": "token",
    "mptcpi_token": "token",
}

Read = tuple[list[Row], Tally, list[Context], list[str]]


def read(path: Path) -> Read:
    """All rows of a file with their keys, the tally, the context of each dump, and damage and notes."""
    source = open_source(str(path))
    decoder = Decoder(md5_keys=True)
    rows: list[Row] = []
    tally = Tally()
    contexts: list[Context] = []
    for chunk in source.chunks():
        batch = decoder.decode(chunk)
        tally.add(batch.tally)
        rows += rows_of(batch)
        if chunk.context not in contexts:
            contexts.append(chunk.context)
    return rows, tally, contexts, [*source.damage, *source.notes]


@pytest.fixture(scope="module", params=CAPTURES, ids=lambda path: path.parent.name + "/" + path.name)
def both(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Read, Read, bytes, bytes]:
    """An original and its copy, as rows and as bytes."""
    path: Path = request.param
    content = content_of(path)
    clean = scrubbed(content)
    copy = tmp_path_factory.mktemp("clean") / path.name
    copy.write_bytes(clean)
    return read(path), read(copy), content, clean


def test_the_same_numbers(both: tuple[Read, Read, bytes, bytes]) -> None:
    """Every column is equal but those that are mapped; these are equal under one bijection each."""
    (before, *_), (after, *_), _, _ = both
    assert len(before) == len(after)
    there: dict[str, dict[Any, Any]] = defaultdict(dict)

    def same(kind: str, old: Any, new: Any) -> None:
        assert there[kind].setdefault(old, new) == new

    for old, new in zip(before, after, strict=True):
        assert old.keys() == new.keys()
        for column, value in old.items():
            if column in {"idiag_src", "idiag_dst"}:
                same("v4" if old["idiag_family"] == 2 else "v6", value, new[column])
            elif column in MAPS:
                same(MAPS[column], value, new[column])
            elif column == "md5sig":
                assert isinstance(value, bytes)
                assert new[column] == _without_keys(value)
            else:
                assert new[column] == value, column
    for kind, mapped in there.items():
        assert len(set(mapped.values())) == len(mapped), kind
    assert all(new == old for old, new in there["port"].items() if old < 32768)
    assert all(new >= 32768 for old, new in there["port"].items() if old >= 32768)
    for kind, kept in (("cookie", {0}), ("uid", {0}), ("inode", {0}), ("cgroup", {0, 1}), ("interface", {0, 1})):
        assert {old for old, new in there[kind].items() if old == new} <= kept, kind


def _without_keys(md5sig: bytes) -> bytes:
    """`struct tcp_diag_md5sig` each with its address mapped and its key zeroed, by hand."""
    out = b""
    for at in range(0, len(md5sig), 100):
        family, address = md5sig[at], md5sig[at + 4 : at + 20]
        mapped = NAMES.v4(address[:4]) + bytes(12) if family == 2 else NAMES.v6(address)
        out += md5sig[at : at + 4] + mapped + bytes(80)
    return out


def test_the_same_messages_dumps_and_times(both: tuple[Read, Read, bytes, bytes]) -> None:
    """Tallies, notes and damage are the same, and of the context all but the names."""
    (_, tally, contexts, said), (_, clean_tally, clean_contexts, clean_said), _, _ = both
    assert clean_tally == tally
    assert [line.replace(",", "") for line in clean_said if "snaplen" not in line] == [
        line.replace(",", "") for line in said if "snaplen" not in line
    ]
    assert len(clean_said) == len(said)
    for old, new in zip(contexts, clean_contexts, strict=True):
        assert (new.order, new.release, new.protocol) == (old.order, old.release, old.protocol)
        assert (new.timestamp_ns, new.dump) == (old.timestamp_ns, old.dump)
        assert new.hostname == (old.hostname and NAMES.name("host", old.hostname))
        assert new.netns == (old.netns and NAMES.name("netns", old.netns))


def test_nothing_of_the_original_is_left(both: tuple[Read, Read, bytes, bytes]) -> None:
    """No address that was mapped, no cookie, no MD5 key and no name stands anywhere in the copy's bytes."""
    (before, _, contexts, _), _, _, clean = both
    order = contexts[0].order if contexts else "<"
    for row in before:
        cookie = row["idiag_cookie"]
        assert isinstance(cookie, int)
        # Small ones are counters' values as well; test_scrub_hostile has large ones.
        assert cookie < 1 << 18 or struct.pack(order + "II", cookie & 0xFFFFFFFF, cookie >> 32) not in clean
        for column in ("idiag_src", "idiag_dst"):
            address = row[column]
            assert isinstance(address, bytes)
            if row["idiag_family"] == 2:
                assert NAMES.v4(address[:4]) == address[:4] or address[:4] not in clean
            else:
                assert NAMES.v6(address) == address or address not in clean
        md5sig = row.get("md5sig", b"")
        assert isinstance(md5sig, bytes)
        for at in range(0, len(md5sig), 100):
            key = md5sig[at + 20 : at + 100].rstrip(b"\0")
            assert not key or key not in clean
    for context in contexts:
        for name in (context.hostname, context.netns):
            assert not name or name.encode() not in clean


def test_all_else_is_as_it_was(both: tuple[Read, Read, bytes, bytes]) -> None:
    """Under a map that changes nothing the copy is the original, but for MD5 keys and other netlink families."""
    _, _, content, _ = both
    same, report, _ = told_of(content, SameNames())
    differ = (
        [at for at, (a, b) in enumerate(zip(content, same, strict=True)) if a != b]
        if len(content) == len(same)
        else None
    )
    if report.left_out:
        assert set(report.left_out) == {"comments"}
        assert len(same) < len(content)
    else:
        assert differ is not None
        assert bool(differ) == bool(report.zeroed)
        assert set(report.zeroed) <= {
            "MD5 keys",
            "packets of other netlink families",
            "messages that are cut or damaged",
        }
        assert all(same[at] == 0 for at in differ)


def test_both_ends_of_a_connection_still_match(captures: Path) -> None:
    """Loopback connections: each end's ports and addresses are those of the other, turned round, as before."""
    content = content_of(captures / "s390x-6.1" / "dump-v4.bin")

    def ends(data: bytes) -> int:
        found = set()
        at = 0
        while at + 88 <= len(data):
            (length,) = struct.unpack_from(">I", data, at)
            if data[at + 17] == 1:
                found.add(
                    (data[at + 20 : at + 22], data[at + 22 : at + 24], data[at + 24 : at + 28], data[at + 40 : at + 44])
                )
            at += length + -length % 4
        return sum((dport, sport, dst, src) in found for sport, dport, src, dst in found)

    assert ends(content) == ends(scrubbed(content)) > 100
