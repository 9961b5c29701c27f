"""What every capture of pcaps/ becomes in every form that needs no library: a table of SHA-256, the same on any host.

`python -m tests.golden.outputs` prints the table of this machine, `--write` writes it to pcaps/outputs.sha256, where a
test compares it: so one machine's rows, text, protobuf and Native are another's, byte for byte. A line is a hash, the
file and the form; `rows` are the JSON lines, which golden files have behind their first line. Each kernel's zoo has all
forms, every other capture the two that have all of it, a damaged file what is read of it. A twin has its original's
rows; Native has columns of bytes as the captured host sent them.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from xtcp.batch import Batch
from xtcp.decode.decoder import Decoder
from xtcp.encode import make_encoder
from xtcp.encode.native import block_of
from xtcp.errors import DamagedInput
from xtcp.records.encoder import RecordEncoder
from xtcp.records.envelopes import Envelopes
from xtcp.records.layouts import LAYOUTS
from xtcp_replay.judging.corpus import read_manifest
from xtcp_replay.reading.opening import Told, open_source

PCAPS: Final = Path(__file__).resolve().parents[2] / "pcaps"
TABLE: Final = PCAPS / "outputs.sha256"
HEADER: Final = "# see README.md; python -m tests.golden.outputs --write\n"
NOTHING: Final = Told()
# What a pcap cannot say of its host; those of the corpus are no pcap, or have a side-car.
DAMAGED: Final = Told(release="6.18.44")
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_DATAGRAM: Final = 1432

Form = Callable[[Sequence[Batch]], bytes]


def _text(name: str, batches: Sequence[Batch]) -> bytes:
    encoder = make_encoder(name)
    pieces = [encoder.begin(), *(piece for batch in batches for piece in encoder.encode(batch)), encoder.end()]
    return "".join(pieces).encode()


def _records(layout: str, batches: Sequence[Batch]) -> bytes:
    encoder = RecordEncoder(LAYOUTS[layout], delimited=True)
    return b"".join(
        encoded.data[encoded.begins[0] : encoded.ends[-1]].tobytes()
        for encoded in map(encoder.encode, batches)
        if len(encoded.ends)
    )


def _envelopes(layout: str, batches: Sequence[Batch]) -> bytes:
    envelopes = Envelopes(layout, limit_bytes=_DATAGRAM, stream=1)
    return b"".join(packet.data for batch in batches for packet in envelopes.cut(batch))


FORMS: Final[dict[str, Form]] = {
    "rows": partial(_text, "json"),
    "native": block_of,
    "csv": partial(_text, "csv"),
    "table": partial(_text, "table"),
    **{name: partial(_envelopes if layout.envelope else _records, name) for name, layout in LAYOUTS.items()},
}
WHOLE: Final = ("rows", "native")


def batches_of(path: Path, told: Told = NOTHING) -> list[Batch]:
    """What is read of a capture; nothing where nothing can be."""
    decoder = Decoder()
    batches: list[Batch] = []
    with contextlib.suppress(DamagedInput):
        batches.extend(map(decoder.decode, open_source(str(path), told).chunks()))
    return batches


def captures() -> Iterator[tuple[str, Told, Sequence[str]]]:
    """Each file, what is told of it, and its forms: of a damaged one the rows. zstd needs a library."""
    for row in read_manifest(PCAPS):
        yield row.file, NOTHING, tuple(FORMS) if row.file.endswith("/zoo.pcapng") and not row.made_from else WHOLE
    for path in sorted((PCAPS / "damaged").glob("*.damaged")):
        if not path.read_bytes().startswith(_ZSTD):
            yield f"damaged/{path.name}", DAMAGED, ("rows",)


def hashes(file: str, told: Told, forms: Sequence[str]) -> dict[str, str]:
    """The hash of each form of a capture."""
    batches = batches_of(PCAPS / file, told)
    return {form: hashed(form, batches) for form in forms}


def hashed(form: str, batches: Sequence[Batch]) -> str:
    """The hash of that form."""
    return hashlib.sha256(FORMS[form](batches)).hexdigest()


def lines() -> Iterator[str]:
    """The table, line by line."""
    for file, told, forms in captures():
        for form, found in hashes(file, told, forms).items():
            yield f"{found}  {file}  {form}\n"


def committed() -> dict[str, dict[str, str]]:
    """The table as it is in the repository: hashes by file and form."""
    table: dict[str, dict[str, str]] = {}
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            found, file, form = line.split("  ")
            table.setdefault(file, {})[form] = found
    return table


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        TABLE.write_text(HEADER + "".join(lines()), encoding="utf-8")
    else:
        sys.stdout.writelines(lines())
