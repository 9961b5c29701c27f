"""Decodes random mutations of captures, with so little memory that no claimed length can be believed.

    python tests/faults/mutations.py --mebibytes 100 [--seed 1] CAPTURE…

Half of the mutations break the file, half only the messages in it. Prints, as JSON, what it took: rows, messages set
aside, processor seconds a MiB of file, the largest resident size. Anything but `DamagedInput` ends it.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import tempfile
import time
from pathlib import Path
from random import Random

from tests.fuzz.run import mutated
from tests.replay.made import pcap
from xtcp.batch import Tally
from xtcp.decode.decoder import Decoder
from xtcp.errors import DamagedInput
from xtcp_replay.reading.opening import open_source

ADDRESS_SPACE = 512 << 20


def datagrams_of(path: str) -> list[bytes]:
    """The replies in a capture."""
    return [
        chunk.data[start:end].tobytes()
        for chunk in open_source(path).chunks()
        for start, end in zip(chunk.starts, chunk.ends, strict=True)
    ]


def broken(data: bytes, places: int, chance: Random) -> bytes:
    """`data` mutated in some places, as long as it was, so that what is behind them can be read."""
    out = bytearray(data)
    for _ in range(places):
        at = chance.randrange(len(out) + 1) & ~3
        piece = out[at : at + 64]
        out[at : at + 64] = mutated(bytes(piece), chance)[: len(piece)].ljust(len(piece), b"\0")
    return bytes(out)


def run(captures: list[str], size: int, seed: int) -> dict[str, float]:
    """Takes `size` bytes of mutations."""
    chance = Random(seed)
    parts = [datagrams_of(path) for path in captures]
    files = [Path(path).read_bytes() for path in captures]
    files += [content for datagrams in parts for content in (pcap(datagrams), b"".join(datagrams))]
    tally = Tally()
    taken = 0
    seconds = 0.0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mutated"
        while taken < size:
            if chance.random() < 0.5:
                data = broken(chance.choice(files), chance.choice((1, 3, 30)), chance)
            else:
                places = chance.choice((1, 3, 30))
                data = pcap(broken(datagram, places, chance) for datagram in chance.choice(parts))
            path.write_bytes(data)
            taken += len(data)
            begun = time.process_time()
            decoder = Decoder()
            try:
                for chunk in open_source(str(path)).chunks():
                    tally.add(decoder.decode(chunk).tally)
            except DamagedInput:
                pass
            seconds += time.process_time() - begun
    return {
        "mebibytes": taken / (1 << 20),
        "rows": tally.rows,
        "quarantined": tally.quarantined,
        "damaged_rows": tally.damaged,
        "seconds_a_mebibyte": seconds / taken * (1 << 20),
        "rss_mebibytes": peak_kibibytes() >> 10,
    }


def peak_kibibytes() -> int:
    """The most memory this process had; `ru_maxrss` would be that of the process that started it, if it was larger."""
    found = re.search(r"^VmHWM:\s*(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captures", nargs="+")
    parser.add_argument("--mebibytes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    print(json.dumps(run(args.captures, int(args.mebibytes * (1 << 20)), args.seed)))


if __name__ == "__main__":
    main()
