"""Texts of `--columns`, `--attributes` and `--states` to columns, request bits and state bits."""

from __future__ import annotations

import pytest

from xtcp.cli.selection import select, states
from xtcp.errors import UsageError
from xtcp.schema.columns import ALL_EXT, COLUMNS
from xtcp.spelling import meant

# ss(8), STATE-FILTER, and the kernel's numbers (include/net/tcp_states.h).
SS_STATES = {
    "established": {1},
    "estab": {1},
    "syn-sent": {2},
    "syn-recv": {3, 12},
    "fin-wait-1": {4},
    "fin-wait-2": {5},
    "time-wait": {6},
    "closed": {7},
    "close": {7},
    "unconnected": {7},
    "unconn": {7},
    "close-wait": {8},
    "last-ack": {9},
    "listening": {10},
    "listen": {10},
    "closing": {11},
    "new-syn-recv": {12},
    "bound-inactive": {13},
    "all": set(range(1, 14)),
    "connected": {1, 2, 3, 4, 5, 6, 8, 9, 11, 12},
    "synchronized": {1, 3, 4, 5, 6, 8, 9, 11, 12},
    "bucket": {3, 6, 12},
    "big": {1, 2, 4, 5, 7, 8, 9, 10, 11},
}


def bits(numbers: set[int]) -> int:
    """The mask of state numbers."""
    return sum(1 << number for number in numbers)


@pytest.mark.parametrize(("word", "numbers"), SS_STATES.items(), ids=list(SS_STATES))
def test_each_state_word_of_ss(word: str, numbers: set[int]) -> None:
    """Each is its kernel number; SYN-RECV is found in both of the kernel's states for it. Case and _ do not matter."""
    assert states(word) == bits(numbers)
    assert states(word.upper().replace("-", "_")) == bits(numbers)


def test_states_add_up() -> None:
    """Several words are their union, spaces are no matter, and without the option there is no mask."""
    assert states("listening, time-wait,listen") == bits({6, 10})
    assert states(None) is None


@pytest.mark.parametrize(
    ("text", "what", "near"),
    [
        ("estb", "no state 'estb'", "estab"),
        ("listening,time_wiat", "no state 'time-wiat'", "time-wait"),
        ("", "no state is named", ""),
        (" , ", "no state is named", ""),
    ],
)
def test_unknown_states(text: str, what: str, near: str) -> None:
    """What was meant, and all there are."""
    with pytest.raises(UsageError, match=what) as caught:
        states(text)
    assert near in caught.value.why
    assert "syn-sent" in caught.value.to_do


def test_columns_keep_their_order_and_bring_their_attributes() -> None:
    """The order is the one given, a repeated name counts once, and only the bits needed are asked for."""
    chosen = select("tcpi_rtt, idiag_sport,cong,tcpi_rtt", None)
    assert chosen.shown == ("tcpi_rtt", "idiag_sport", "cong")
    assert chosen.decoded == frozenset(chosen.shown)
    assert chosen.ext == 0b1010
    assert select("idiag_sport", None).ext == 0


def test_nothing_chosen_is_everything() -> None:
    """Without options every attribute is asked for and every column decoded."""
    for attributes in (None, "all"):
        chosen = select(None, attributes)
        assert (chosen.shown, chosen.decoded, chosen.ext) == (None, None, ALL_EXT)


def test_attributes_choose_columns_and_request_bits() -> None:
    """The columns of an attribute and those that every message has, in the schema's order."""
    chosen = select(None, "CONG,info")
    assert chosen.shown is not None
    assert {"idiag_src", "tcpi_rtt", "cong"} <= set(chosen.shown)
    assert not {"tos", "skmem_drops", "bbr_bw"} & set(chosen.shown)
    assert list(chosen.shown) == [c.name for c in COLUMNS if c.name in chosen.shown]
    assert chosen.ext == 0b1010


def test_a_column_whose_attribute_is_left_out() -> None:
    """Is refused, and the message names the attribute that brings it."""
    with pytest.raises(UsageError) as caught:
        select("tcpi_rtt", "cong")
    assert "tcpi_rtt" in caught.value.what and "Add info" in caught.value.to_do


@pytest.mark.parametrize(
    ("columns", "attributes", "what", "near"),
    [
        ("tcpi_rt", None, "no column 'tcpi_rt'", "tcpi_rtt"),
        ("rtt", None, "no column 'rtt'", "tcpi_min_rtt"),
        ("TCPI_RTT", None, "no column 'TCPI_RTT'", "tcpi_rtt"),
        ("idiag_src,", "inof", "no attribute 'inof'", "info"),
        ("zzzz", None, "no column 'zzzz'", ""),
        ("", None, "no column is named", ""),
        (None, "", "no attribute is named", ""),
    ],
)
def test_unknown_columns_and_attributes(columns: str | None, attributes: str | None, what: str, near: str) -> None:
    """What was meant, where something is near, and where all are listed."""
    with pytest.raises(UsageError, match=what) as caught:
        select(columns, attributes)
    assert near in caught.value.why
    assert bool(near) == bool(caught.value.why)
    assert caught.value.to_do


def test_suggestions() -> None:
    """Names that contain the word come before those spelled alike, and there are never many."""
    assert meant("rtt", ["tcpi_rtt", "rto", "rtx"]).startswith("Did you mean tcpi_rtt or ")
    assert meant("t", ["tcpi_rtt", "rto"]) == ""
    assert meant("col", [f"col{n}" for n in range(50)]).count(" or ") == 3
