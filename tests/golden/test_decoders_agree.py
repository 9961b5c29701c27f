"""The three decoders agree on real dumps: seven x86-64 kernels and a big-endian s390x, as they were captured.

Only the netlink payloads are taken out of the captures here, by a reader of its own: the sources have their own tests.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, captures_folder
from tests.equality import assert_all_agree, rows_by_template
from xtcp.chunk import Chunk, Context
from xtcp.decode.decoder import Decoder
from xtcp.schema.model import Order

CAPTURES = captures_folder() or ROOT / "no captures"
LINKTYPE_NETLINK = 253
NETLINK_SOCK_DIAG = 4
COOKED_LENGTH = 16

pytestmark = [
    pytest.mark.external,
    pytest.mark.skipif(not CAPTURES.is_dir(), reason="the captures are not here (set XTCP_CAPTURES to their folder)"),
]


def sock_diag_payloads(path: Path) -> Iterator[bytes]:
    """The netlink datagrams of protocol SOCK_DIAG in a classic capture, whole or cut by its snaplen."""
    raw = path.read_bytes()
    order = "<" if raw[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    assert struct.unpack_from(order + "I", raw, 20) == (LINKTYPE_NETLINK,)
    at = 24
    while at + 16 <= len(raw):
        (length,) = struct.unpack_from(order + "I", raw, at + 8)
        packet = raw[at + 16 : at + 16 + length]
        at += 16 + length
        if struct.unpack_from("!H", packet, 14) == (NETLINK_SOCK_DIAG,):
            yield packet[COOKED_LENGTH:]


def release_of(folder: str) -> tuple[Order, str]:
    """Byte order and kernel release of a folder of captures, which is named after them."""
    return (">", "6.1.0-50-s390x") if folder.startswith("s390x") else ("<", folder.replace("_", "."))


def test_captures_are_there() -> None:
    """A folder that holds none of what the tests below look for is a failure, not a success."""
    assert len(list(CAPTURES.glob("*/*.pcap"))) > 20
    assert (CAPTURES / "s390x-6.1" / "dump-v6.bin").is_file()


@pytest.mark.parametrize(
    "path", sorted(CAPTURES.glob("*/*.pcap")) or [CAPTURES], ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_captures(path: Path) -> None:
    """All datagrams of a capture in one chunk, of whatever dump they are, for the kernel that sent them and another."""
    order, release = release_of(path.parent.name)
    payloads = list(sock_diag_payloads(path))
    assert payloads
    for kernel in (release, "7.0"):
        rows = assert_all_agree(Chunk.of(*payloads, context=Context(order=order, release=kernel)))
        assert rows or "done" in path.name or "request" in path.name
        assert not any("unknown_attributes" in row for row in rows)


@pytest.mark.parametrize("name", ["dump-v4", "dump-v6"])
def test_dumps_of_a_big_endian_host(name: str) -> None:
    """Datagrams as recv gave them, with the sequence number that they answer: most by templates, none damaged."""
    folder = CAPTURES / "s390x-6.1"
    meta = json.loads((folder / "meta.json").read_text())["dumps"][name]
    raw = (folder / f"{name}.bin").read_bytes()
    datagrams, at = [], 0
    for length in meta["recv_lengths"]:
        datagrams.append(raw[at : at + length])
        at += length
    (seq,) = struct.unpack_from(">I", raw, 8)
    chunk = Chunk.of(*datagrams, context=Context(order=">", release="6.1.0-50-s390x"), seq=seq)
    rows = assert_all_agree(chunk)
    assert len(rows) == meta["sockets"]
    assert rows_by_template(chunk) > len(rows) // 2
    tally = Decoder().decode(chunk).tally
    assert (tally.control, tally.quarantined, tally.damaged, tally.unknown) == ({"done": 1}, 0, 0, {})
