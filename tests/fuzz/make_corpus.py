"""Makes the corpus from captures of this project's own machines: a few messages for each target, a few KB in all.

    python tests/fuzz/make_corpus.py CAPTURES

CAPTURES is a folder as tests/golden/test_decoders_agree.py reads it; of it the big-endian dumps are used, the rest
comes from pcaps/. Run it again when a capture shows something that
no corpus file has; inputs that a fuzzer found are kept under names of their own and are not touched.
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
import zlib
from pathlib import Path

ROOT = Path(__file__).parents[2]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "agent"), str(ROOT / "replay")]

from tests.replay.make_damaged import archived  # noqa: E402 - a script finds the repository first
from tests.replay.packed import PACK  # noqa: E402
from tests.zoos import LITTLE  # noqa: E402

CORPUS = ROOT / "tests" / "fuzz" / "corpus"
ENHANCED_PACKET = 6
COOKED = 16


def messages(raw: bytes, order: str) -> list[bytes]:
    """The netlink messages that stand back to back in `raw`."""
    found, at = [], 0
    while at + 16 <= len(raw):
        (length,) = struct.unpack_from(order + "I", raw, at)
        found.append(raw[at : at + (length + 3 & ~3)])
        at += length + 3 & ~3
    return found


def pcap(order: str, datagrams: list[bytes]) -> bytes:
    """A classic pcap of sock_diag datagrams, each behind its LINKTYPE_NETLINK header."""
    out = struct.pack(order + "IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 253)
    for datagram in datagrams:
        packet = struct.pack(">HH10xH", 4, 824, 4) + datagram
        out += struct.pack(order + "IIII", 1, 2, len(packet), len(packet)) + packet
    return out


def pcapng_blocks(raw: bytes) -> list[bytes]:
    """The blocks of a little-endian pcapng."""
    found, at = [], 0
    while at < len(raw):
        (length,) = struct.unpack_from("<I", raw, at + 4)
        found.append(raw[at : at + length])
        at += length
    return found


def packet_of(block: bytes) -> bytes:
    """The packet in an enhanced packet block, b"" in others."""
    kind, length = struct.unpack_from("<I16xI", block)
    return block[28 : 28 + length] if kind == ENHANCED_PACKET else b""


def interesting(found: list[bytes], order: str) -> list[bytes]:
    """Of the rows the shortest, a middling and the longest; and a NLMSG_DONE."""
    kinds = [struct.unpack_from(order + "HH", message, 4) for message in found]
    rows = sorted((m for m, (kind, flags) in zip(found, kinds, strict=True) if kind == 20 and not flags & 1), key=len)
    done = next(m for m, (kind, _) in zip(found, kinds, strict=True) if kind == 3)
    return [rows[0], rows[len(rows) // 2], rows[-1], done]


def requests() -> bytes:
    """A request with a filter, and its refusal with a text."""
    from xtcp_replay import layers

    nl = layers.of("<")
    host = nl.INET_DIAG_BC_S_COND(family="inet", prefix_len=8, port=0xFFFFFFFF, addr="10.0.0.0", no=36)
    operations = [host, nl.INET_DIAG_BC_S_GE(port=443, no=20), nl.INET_DIAG_BC_MARK_COND(mark=1, mask=255, no=16)]
    attributes = [nl.INET_DIAG_REQ_BYTECODE(bytecode=operations), nl.INET_DIAG_REQ_PROTOCOL(req_protocol=262)]
    asked = nl.nlmsghdr() / nl.inet_diag_req_v2(sdiag_family="inet", attributes=attributes)
    said = [nl.NLMSGERR_ATTR_MSG(msg="no"), nl.NLMSGERR_ATTR_OFFS(offs=72)]
    refused = nl.nlmsghdr(nlmsg_flags=0x200) / nl.nlmsgerr(error=-22, msg=asked, attributes=said)
    return bytes(nl.datagram(messages=[asked, refused]))


def write(target: str, name: str, data: bytes) -> None:
    """One corpus file."""
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def main() -> None:
    """Writes the corpus."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captures", type=Path)
    captures = parser.parse_args().captures
    guest, own = captures / "s390x-6.1", LITTLE
    big = messages((guest / "dump-v6.bin").read_bytes(), ">")
    blocks = pcapng_blocks(own.read_bytes())
    little = [message for block in blocks for message in messages(packet_of(block)[COOKED:], "<")]
    short_big, short_little = interesting(big, ">"), interesting(little, "<")
    for target in ("chains", "messages", "decoder"):
        write(target, "big", b"\x03\x00" + b"".join(short_big))
        write(target, "big-cut", b"\x01\x02" + b"".join(short_big)[:900])
        write(target, "little", b"\x0e\x00" + b"".join(short_little))
        write(target, "little-repeated", b"\x2e\x00" + short_little[1])
        write(target, "big-repeated", b"\x23\x00" + short_big[1])
    key = bytes((2, 32, 8, 0)) + bytes(16) + b"password".ljust(80, b"\0")
    write("payloads", "keys", key + key[:50])
    write("payloads", "texts", b"".join(t.ljust(16, b"\0") for t in (b"cubic", b"bbr\0junk", b"sixteen_letters_", b"")))
    write("byte_order", "big", b"".join(short_big)[:600])
    write("byte_order", "little", b"".join(short_little)[:600])
    write("dump_file", "big", b"".join(short_big))
    write("dump_file", "little-cut", b"".join(short_little)[:-10])
    write("capture_file", "big-pcap", pcap(">", short_big))
    write("capture_file", "pcap", pcap("<", [b"".join(short_little[:2]), *short_little[2:]]))
    write("layers", "big", b"\x01\x00" + b"".join(short_big[1:]))
    write("layers", "little", b"\x08\x00" + b"".join(short_little[1:]))
    write("layers", "requests", b"\x00\x00" + requests())
    head, packets = blocks[:2], sorted((block for block in blocks if packet_of(block)), key=len)
    pcapng = b"".join([*head, packets[len(packets) // 2], packets[0]])[:2500]
    write("capture_file", "pcapng", pcapng)
    write("capture_file", "raw", b"".join(short_little))
    write("capture_file", "archive", archive(short_little[:2]))
    for kind, pack in PACK.items():
        write("capture_file", kind, pack(pcapng))
    for setting in (0x10, 0x21, 0x52, 0x93, 0x35):
        write("compressed", f"{setting:x}", bytes((setting, 200)) + pcap("<", short_little))
    write_records()
    two = bytes((0x00, 0x01, 0x40, 0x04, 0x05, 0x03, 0x41, 0x45, 0x07, 0x43, 0x30, 0x31, 0x33))
    write("dumps", "two-programs", two)
    write("dumps", "lost-ends", bytes((0x00, 0x02, 0x01, 0x00, 0x02, 0x01, 0x03, 0x80, 0x01, 0x80, 0x01)))


def sent(record: str, count: int = 3) -> list[bytes]:
    """What a sender of this record sends of a few sockets, and the end of its poll."""
    from tests.collect.sending import messages as datagrams
    from tests.collect.sending import sockets
    from tests.sinks.standins import TRAILER
    from xtcp.records.envelopes import Envelopes

    if record == "xtcp":
        return datagrams(record, sockets(range(1, count + 1)))
    stream = Envelopes(record, limit_bytes=400, stream=7)
    end = stream.end_poll(TRAILER)
    return datagrams(record, sockets(range(1, count + 1)), stream=stream) + ([end.data] if end else [])


def pieces(parts: list[bytes]) -> bytes:
    """Each behind its length."""
    return b"".join(struct.pack(">H", len(part)) + part for part in parts)


def write_records() -> None:
    """Records alone, and datagrams of all kinds."""
    from tests.collect.sending import sockets
    from xtcp.records.encoder import RecordEncoder
    from xtcp.records.layouts import LAYOUTS

    for number, record in enumerate(("xtcp2-1", "xtcp2-1", "xtcp2-2", "xtcp", "flat")):
        encoded = RecordEncoder(LAYOUTS[record]).encode(sockets(range(1, 4)))
        raw = encoded.data.tobytes()
        rows = [raw[a:b] for a, b in zip(encoded.starts.tolist(), encoded.ends.tolist(), strict=True)]
        write("records", record if number else "xtcp2-0", bytes((number, 0)) + pieces(rows))
    for record in LAYOUTS:
        write("datagrams", record, b"\x00\x00" + pieces(sent(record)))
    write("datagrams", "all", b"\x00\x00" + pieces([m for record in LAYOUTS for m in sent(record, 1)] + [b"\x00", b""]))
    packed = zlib.compressobj(wbits=31)
    write("datagrams", "gzip", b"\x00\x00" + pieces([packed.compress(sent("flat")[0]) + packed.flush()]))


def archive(rows: list[bytes]) -> bytes:
    """An archive of m-lab's tcp-info."""
    lines = [json.dumps({"Metadata": {"UUID": "host_1568930000_00000000000F1A2B", "Sequence": 0}})]
    return "\n".join([*lines, *(json.dumps(archived(row)) for row in rows), ""]).encode()


if __name__ == "__main__":
    main()
