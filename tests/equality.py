"""Whether decoders agree: rows, presence and tallies of the two vectorised ways and of the reference."""

from __future__ import annotations

from typing import TypeAlias

import pytest

from xtcp.batch import Batch, Tally
from xtcp.chunk import Chunk
from xtcp.decode import messages
from xtcp.decode.assembly import Assembly
from xtcp.decode.decoder import Decoder
from xtcp.decode.messages import find_rows
from xtcp.decode.reference import decode as decode_plainly
from xtcp.decode.templates import Templates
from xtcp_replay.judging.subjects import RawRow, raw_rows

Row: TypeAlias = RawRow
rows_of = raw_rows


def assert_sound(batch: Batch) -> None:
    """What `Batch` promises of its arrays: shape, order, blank cells, presence that says something."""
    for name, column in batch.columns.items():
        assert len(column) == batch.rows, name
        assert column.dtype.isnative, name
        assert column.flags.c_contiguous, name
        mask = batch.valid.get(name)
        if mask is not None:
            assert mask.any() and not mask.all(), name
            blank = column[~mask]
            assert not (blank.any() if blank.ndim == 2 else any(blank.tolist())), name
    assert batch.valid.keys() <= batch.columns.keys()
    assert len(batch.position) == len(set(batch.position.tolist())) == batch.rows
    assert_balanced(batch.tally)
    assert batch.tally.rows == batch.rows


def assert_balanced(tally: Tally) -> None:
    """Nothing vanishes: every message is a row, quarantined or control."""
    assert tally.messages == tally.rows + tally.quarantined + sum(tally.control.values())


def assert_all_agree(chunk: Chunk, *, md5_keys: bool = False) -> list[Row]:
    """Decodes `chunk` in all three ways, asserts that they agree, returns the rows.

    Where it is small enough for its messages to be read one by one, also as if it were not.
    """
    expected, tally = decode_plainly(chunk, md5_keys=md5_keys)
    decoder = Decoder(md5_keys=md5_keys)
    # The second pass uses the templates that the first one learned.
    batches = [decoder.decode(chunk), decoder.decode(chunk)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(messages, "FEW_BYTES", 0)
        batches.append(Decoder(md5_keys=md5_keys, templates=False).decode(chunk))
    for batch in batches:
        assert_sound(batch)
        assert batch.tally == tally
        rows = rows_of(batch)
        if rows != expected:
            different = next(i for i, (a, b) in enumerate(zip(rows, expected, strict=True)) if a != b)
            assert rows[different] == expected[different], f"row {different}"
    return expected


def rows_by_template(chunk: Chunk) -> int:
    """How many rows of `chunk` the templates read."""
    context = chunk.context
    templates = Templates(context.order, context.kernel, context.protocol, None, md5_keys=False)
    rows = find_rows(chunk, Tally())
    rest = templates.read(chunk.data, rows, Assembly(len(rows.offset)), Tally())
    return len(rows.offset) - len(rest.offset)
