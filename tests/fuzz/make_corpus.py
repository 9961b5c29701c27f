"""Makes the corpus from real captures: a few messages of each kind for each target, a few KB in all.

    python tests/fuzz/make_corpus.py CAPTURES

CAPTURES is a folder as tests/golden/test_decoders_agree.py reads it. Run it again when a capture shows something that
no corpus file has; inputs that a fuzzer found are kept under names of their own and are not touched.
"""

from __future__ import annotations

import argparse
import struct
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
PCAP_PACKET = 16
COOKED = 16


def messages(raw: bytes, order: str) -> list[bytes]:
    """The netlink messages that stand back to back in `raw`."""
    found, at = [], 0
    while at + 16 <= len(raw):
        (length,) = struct.unpack_from(order + "I", raw, at)
        found.append(raw[at : at + (length + 3 & ~3)])
        at += length + 3 & ~3
    return found


def packets(path: Path) -> tuple[str, bytes, list[bytes]]:
    """Byte order of a classic pcap, its file header and its records."""
    raw = path.read_bytes()
    order = "<" if raw[0] in (0xD4, 0x4D) else ">"
    records, at = [], 24
    while at < len(raw):
        (length,) = struct.unpack_from(order + "I", raw, at + 8)
        records.append(raw[at : at + PCAP_PACKET + length])
        at += PCAP_PACKET + length
    return order, raw[:24], records


def interesting(found: list[bytes], order: str) -> list[bytes]:
    """Of the rows the shortest, a middling and the longest; and a NLMSG_DONE."""
    kinds = [struct.unpack_from(order + "HH", message, 4) for message in found]
    rows = sorted((m for m, (kind, flags) in zip(found, kinds, strict=True) if kind == 20 and not flags & 1), key=len)
    done = next(m for m, (kind, _) in zip(found, kinds, strict=True) if kind == 3)
    return [rows[0], rows[len(rows) // 2], rows[-1], done]


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
    big = messages((captures / "s390x-6.1" / "dump-v6.bin").read_bytes(), ">")
    _, header, records = packets(captures / "7_0_3" / "7_0_3_ss_tcp_info.pcap")
    diag = [r for r in records if len(r) > 32 and r[PCAP_PACKET + 14 : PCAP_PACKET + 16] == b"\0\4"]
    little = [m for r in diag for m in messages(r[PCAP_PACKET + COOKED :], "<")]
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
    _, header_big, records_big = packets(captures / "s390x-6.1" / "nlmon-us.pcap")
    end = next(r for r in records_big if len(r) == PCAP_PACKET + COOKED + 20)
    write("capture_file", "big-pcap", header_big + records_big[0] + end)
    write("capture_file", "pcap", header + min(diag, key=len) + min((r for r in diag if len(r) > 300), key=len))
    write("capture_file", "pcapng-head", (captures / "s390x-6.1" / "nlmon.pcapng").read_bytes()[:400])


if __name__ == "__main__":
    main()
