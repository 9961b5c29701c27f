"""Rows as a user gets them: batches through the JSON encoder and back, so that text and presence are tested too."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from xtcp.batch import Batch
from xtcp.chunk import Chunk
from xtcp.decode.decoder import Decoder
from xtcp.encode import make_encoder

Row = dict[str, Any]


def rows_of(batches: Iterable[Batch]) -> list[Row]:
    """Each row as the object that `--format json` writes."""
    encoder = make_encoder("json")
    text = encoder.begin() + "".join(piece for batch in batches for piece in encoder.encode(batch)) + encoder.end()
    return [json.loads(line) for line in text.splitlines()]


def decoded(chunks: Iterable[Chunk], **options: Any) -> Iterator[Batch]:
    """Batches of chunks."""
    decoder = Decoder(**options)
    for chunk in chunks:
        yield decoder.decode(chunk)


def rows_by_dump(chunks: Iterable[Chunk]) -> list[list[Row]]:
    """The rows of each dump of a capture."""
    rows = rows_of(decoded(chunks))
    return [list(dump) for _, dump in groupby(rows, key=lambda row: row["dump"])]
