"""Numbers for people: three significant digits and a unit.

Rates are bits a second in powers of 1000, as ss prints them; sizes are powers of 1024, as ls and free do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_SIZES: Final = ("", "K", "M", "G", "T", "P", "E")
_RATES: Final = ("bps", "Kbps", "Mbps", "Gbps", "Tbps", "Pbps", "Ebps")
# Below how many microseconds a unit is used (where rounding would reach the next), how many it has, its name.
_TIMES: Final = (
    (999.5, 1, "us"),
    (999.5e3, 1e3, "ms"),
    (59.5e6, 1e6, "s"),
    (59.5 * 60e6, 60e6, "min"),
    (23.5 * 3600e6, 3600e6, "h"),
)


def digits(value: float) -> str:
    """Three significant digits, never an exponent: `0.036`, `1.2`, `12.3`, `123`, `1234`."""
    decimals = 0 if value >= 99.95 else 1 if value >= 9.995 else 2 if value >= 0.9995 else 3
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text


def _scaled(value: float, step: int, units: tuple[str, ...]) -> str:
    index = 0
    # Compared rounded, or 999,999 would become 1000K.
    while round(value) >= step and index < len(units) - 1:
        value /= step
        index += 1
    return digits(value) + units[index]


def size(value: int) -> str:
    """Bytes: `512`, `1.5K`, `12.3M`."""
    return _scaled(value, 1024, _SIZES)


def rate(value: int) -> str:
    """Bytes a second as bits a second: `800bps`, `12.3Mbps`."""
    return _scaled(value * 8, 1000, _RATES)


def duration(us: int) -> str:
    """Microseconds: `850us`, `1.23ms`, `12.3s`, `5.1min`, `3h`, `12.5d`."""
    for limit, one, unit in _TIMES:
        if us < limit:
            return digits(us / one) + unit
    return digits(us / 86400e6) + "d"


def milliseconds(us: int) -> str:
    """Microseconds as milliseconds, without the unit: `0.036`, `12.3`."""
    return digits(us / 1000)


# By the unit of a column in the schema; a column of any other unit is shown as it is.
FOR_PEOPLE: Final[dict[str, Callable[[int], str]]] = {
    "us": duration,
    "ms": lambda ms: duration(ms * 1000),
    "bytes": size,
    "bytes/s": rate,
}
