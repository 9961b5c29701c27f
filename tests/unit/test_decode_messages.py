"""decode/messages: the scan for the sequence number proves itself or leaves the work to the walk."""

from __future__ import annotations

import pytest

from tests.encoder import attribute, message
from tests.equality import assert_all_agree
from xtcp.batch import MAX_DESCRIBED, Fault, Tally
from xtcp.chunk import Chunk, Context
from xtcp.decode import chains, messages
from xtcp.decode.decoder import Decoder
from xtcp.decode.messages import find_rows
from xtcp.schema.model import Order

SEQ = 0x1234_5678


def row(order: Order, payload: bytes = b"", seq: int = SEQ) -> bytes:
    """A row with `payload` behind its fixed part."""
    return message(order, bytes(72) + payload, seq=seq)


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one each time the walk is taken; few messages are not read one by one."""
    monkeypatch.setattr(messages, "FEW_BYTES", 0)
    taken: list[int] = []
    walk = chains.walk_messages

    def noted(*args: object) -> object:
        taken.append(1)
        return walk(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(messages, "walk_messages", noted)
    return taken


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_dump_of_our_own_is_scanned(order: Order, walks: list[int]) -> None:
    """All messages with our sequence number, chained from edge to edge of each datagram: no walk is needed."""
    chunk = Chunk.of(row(order) * 3, row(order, attribute(order, 4, b"cubic\0")), context=Context(order=order), seq=SEQ)
    assert len(find_rows(chunk, Tally()).offset) == 4
    assert walks == []


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("what", ["payload", "foreign", "cut", "gap", "empty"])
def test_a_scan_that_does_not_prove_itself_is_not_believed(order: Order, what: str, walks: list[int]) -> None:
    """The number in a payload, a foreign message, a cut one, bytes in between, an empty datagram: the walk decides."""
    fooling = attribute(order, 15, SEQ.to_bytes(4, "little" if order == "<" else "big"))
    datagrams, rows = {
        "payload": ([row(order, fooling) + row(order)], 2),
        "foreign": ([row(order) + row(order, seq=1) + row(order)], 2),
        "cut": ([row(order) + row(order)[:-1], row(order)], 2),
        "gap": ([row(order) + bytes(8), row(order)], 2),
        "empty": ([row(order), b"", row(order)], 2),
    }[what]
    chunk = Chunk.of(*datagrams, context=Context(order=order), seq=SEQ)
    assert len(find_rows(chunk, Tally()).offset) == rows
    assert walks == [1]
    assert_all_agree(chunk)


def test_an_empty_datagram_does_not_hide_a_cut() -> None:
    """Behind a message whose padding is missing, an empty datagram begins where the padding would end."""
    one = message("<", bytes(74), seq=SEQ)
    cut = b"\x5c" + one[1:-2]
    assert len(cut) == 90
    chunk = Chunk.of(cut, b"", row("<"), context=Context(order="<"), seq=SEQ)
    assert len(assert_all_agree(chunk)) == 1


def test_no_datagrams() -> None:
    """A chunk of nothing is a batch of nothing."""
    for chunk in (Chunk.of(), Chunk.of(b""), Chunk.of(seq=SEQ), Chunk.of(b"", b"", seq=SEQ)):
        assert assert_all_agree(chunk) == []
        batch = Decoder().decode(chunk)
        assert (batch.rows, dict(batch.columns), batch.tally) == (0, {}, Tally())


def test_faults_are_counted_without_end_and_described_up_to_a_number() -> None:
    """The first of them by offset, each with its place, its length and its reason."""
    bad = message("<", bytes(71), seq=SEQ)
    tally = Decoder().decode(Chunk.of(*[bad] * 200, context=Context(order="<"), seq=SEQ)).tally
    assert tally.quarantined == 200
    assert tally.faults == [Fault(88 * i, 87, "shorter than inet_diag_msg") for i in range(MAX_DESCRIBED)]
