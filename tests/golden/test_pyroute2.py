"""A second opinion: pyroute2's diag decoder on the same bytes, of sockets made up at random.

It reads its host's byte order: dumps are written in both, and those of the other one reach it through their twins.
What it is not asked, and what it gets wrong: docs/witnesses.md.
"""

from __future__ import annotations

import pytest

from tests.dumps import Plan
from tests.encoder import Item, Layout
from tests.libraries import library
from xtcp.decode.decoder import Decoder
from xtcp.schema.model import Order
from xtcp_replay.judging.known_faults import Case, explanation
from xtcp_replay.judging.subjects import subjects_of
from xtcp_replay.judging.witnesses import pyroute2_diag

library("pyroute2.netlink.diag")

LAYOUTS = (
    Layout((Item(1, 16), Item(2, 232), Item(4, 6), Item(7, 36), Item(8, 1), Item(17, 4), Item(21, 8))),
    Layout((Item(2, 280), Item(3, 16), Item(4, 4, text=b"bbr"), Item(16, 20), Item(21, 8))),
    Layout((Item(2, 248), Item(9, 16), Item(4, 6, text=b"dctcp"), Item(11, 1), Item(5, 1), Item(6, 1))),
    Layout((Item(2, 224), Item(15, 4))),
    Layout(),
)


@pytest.mark.parametrize("order", ["<", ">"])
def test_pyroute2_says_the_same(order: Order) -> None:
    """Every field that it reads, of 320 rows of five layouts: all equal but for its known faults."""
    dump = Plan(tuple((layout, 64) for layout in LAYOUTS), seed=2).build(order)
    chunk = dump.chunk()
    witness = pyroute2_diag.find()
    assert witness is not None
    values, known = 0, set()
    for answer in witness.answers(subjects_of(chunk, Decoder().decode(chunk))):
        values += answer.values
        for difference in answer.differences:
            subject = answer.subject
            case = Case(difference, subject.row, subject.order, message=subject.native())
            fault = explanation("pyroute2", case)
            assert fault is not None, difference
            known.add(fault.name)
    assert values > 14_000
    assert "pyroute2-beyond-info" in known
