"""decode/payloads: texts and keys."""

from __future__ import annotations

import numpy as np
import pytest

from tests.encoder import attribute, message
from tests.equality import assert_all_agree, rows_of
from xtcp.chunk import Chunk, Context
from xtcp.decode.decoder import Decoder
from xtcp.decode.payloads import clean_text, path_name, redact
from xtcp.schema.model import Order


def test_a_path_is_written_with_dots() -> None:
    """As it is counted and exported: 23, and 19.2.9 inside nests."""
    assert path_name((23,)) == "23"
    assert path_name((19, 2, 9)) == "19.2.9"


@pytest.mark.parametrize(
    ("sent", "text"),
    [(b"", b""), (b"\0", b""), (b"bbr", b"bbr"), (b"bbr\0x", b"bbr"), (b"x" * 16, b"x" * 16), (b"\0abc", b"")],
)
def test_a_text_ends_at_its_first_nul(sent: bytes, text: bytes) -> None:
    """What a kernel left behind it in the buffer is no part of it."""
    assert clean_text(np.frombuffer(sent, np.uint8).reshape(1, -1)).tolist() == [text]


def test_keys_are_zeroed_wherever_they_are() -> None:
    """80 of each 100 bytes, in whole structs and in one that is cut in its key; nothing else changes."""
    one = bytes(range(1, 21)) + b"k" * 80
    clean = bytes(range(1, 21)) + bytes(80)
    assert redact(one * 3) == clean * 3
    assert redact(one + one[:50]) == clean + clean[:50]
    assert redact(one[:20]) == one[:20]
    assert redact(b"") == b""


@pytest.mark.parametrize("order", ["<", ">"])
def test_keys_do_not_leave_the_decoder_unless_asked_for(order: Order) -> None:
    """By no way through it: not by templates, not by lockstep, not by the reference."""
    payload = bytes(20) + b"secret".ljust(80, b"\0")
    chunk = Chunk.of(message(order, bytes(72) + attribute(order, 18, payload)) * 64, context=Context(order=order))
    assert {row["md5sig"] for row in assert_all_agree(chunk)} == {bytes(100)}
    assert {row["md5sig"] for row in assert_all_agree(chunk, md5_keys=True)} == {payload}
    for templates in (True, False):
        assert b"secret" not in repr(rows_of(Decoder(templates=templates).decode(chunk))).encode()
