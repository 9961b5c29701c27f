"""Numbers for people: the right unit, never an exponent, never a number that should be in the next unit."""

from __future__ import annotations

import re

import pytest

from xtcp.encode.units import digits, duration, milliseconds, rate, size


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.0364, "0.036"), (0.99951, "1"), (1.2, "1.2"), (9.996, "10"), (12.34, "12.3"), (99.96, "100"),
     (123.4, "123"), (1234.0, "1234")],
)  # fmt: skip
def test_three_significant_digits(value: float, text: str) -> None:
    """No trailing zeros; rounding up to the next power of ten does not add a digit."""
    assert digits(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1023, "1023"), (1024, "1K"), (1536, "1.5K"), (1_048_000, "1023K"), (1_048_575, "1M"),
     (2_626_560, "2.5M"), (2**64 - 1, "16E")],
)  # fmt: skip
def test_sizes(value: int, text: str) -> None:
    """Bytes in powers of 1024."""
    assert size(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0bps"), (100, "800bps"), (124, "992bps"), (125, "1Kbps"), (124_999, "1Mbps"), (1_540_000, "12.3Mbps"),
     (2**64 - 1, "148Ebps")],
)  # fmt: skip
def test_rates(value: int, text: str) -> None:
    """Bytes a second shown as bits a second in powers of 1000."""
    assert rate(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0us"), (999, "999us"), (1000, "1ms"), (12_345, "12.3ms"), (999_600, "1s"), (59_400_000, "59.4s"),
     (60_000_000, "1min"), (61_000_000, "1.02min"), (3_600_000_000, "1h"), (86_400_000_000, "1d"),
     (2**32 * 1000, "49.7d")],
)  # fmt: skip
def test_durations(value: int, text: str) -> None:
    """Microseconds in the unit that keeps the number short."""
    assert duration(value) == text


def test_every_magnitude_is_short() -> None:
    """No exponent and at most four digits before the unit, up to the largest u64."""
    for power in range(64):
        for value in (2**power - 1, 2**power, 2**power + 1):
            for text in (size(value), rate(value)):
                assert re.fullmatch(r"\d{1,4}(\.\d{1,2})?[KMGTPE]?(bps)?", text), text


def test_milliseconds_have_no_unit() -> None:
    """The column's title says it."""
    assert milliseconds(36) == "0.036"
    assert milliseconds(12_345) == "12.3"
