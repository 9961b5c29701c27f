"""How does ss write a number, a rate, a duration, an address?

In: integers, or a row (a mapping by our column names). Out: the texts that ``printf`` and the helpers of iproute2
(``sprint_bw``, ``print_ms_timer``, ``inet_addr_print`` of ``misc/ss.c``) make of them. Where ss has a fault, this is
what it would write without; what it writes instead stands in ``known_faults``.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from typing import SupportsIndex

Row = Mapping[str, object]
"""One socket: addresses as text, ``idiag_state`` by ss's name, integers otherwise, absent columns left out."""

Texts = tuple[str, ...]
"""What ss may print, depending on its release and options; empty when it prints nothing."""


def integer(row: Row, column: str) -> int:
    """The column as int, 0 when absent, as ss reads a member beyond a short struct. Raises TypeError for text."""
    value = row.get(column, 0)
    if not isinstance(value, SupportsIndex):
        raise TypeError(f"{column} is {type(value).__name__}, not an integer: leave out of a row what is absent")
    return value.__index__()


def signed(value: int) -> int:
    """A u32 as C's %d prints it."""
    return value - (1 << 32) if value & 0x8000_0000 else value


def address_texts(row: Row, side: str) -> Texts:
    """What ss prints for `side` (``idiag_src`` or ``idiag_dst``), without scope; ``*`` is a dual-stack ``::``."""
    address = ipaddress.ip_address(str(row[side]))
    if address.version == 4:
        return (str(address),)
    if not int(address) and not integer(row, "skv6only"):
        return ("*",)
    return (f"[{socket.inet_ntop(socket.AF_INET6, address.packed)}]",)


def c_hex(value: int) -> str:
    """C's %#x: a zero has no prefix."""
    return f"{value:#x}" if value else "0"


def rate_texts(bits: float) -> Texts:
    """``sprint_bw``: plain with -n, else three significant digits and a unit; releases before 2019 had only M and K."""
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if bits >= limit:
            scaled = f"{bits / limit:.3g}{unit}"
            break
    else:
        scaled = f"{bits:g}"
    old = f"{bits / 1e6:.1f}M" if bits > 1e6 else f"{bits / 1e3:.1f}K" if bits > 1e3 else f"{bits:g}"
    return (f"{bits:.0f}bps", f"{scaled}bps", f"{old}bps")


def timer_text(milliseconds: int, fraction: str = "{:03d}sec") -> str:
    """``print_ms_timer``: minutes, seconds and the fraction of them, the smaller left out beside the larger.

    `fraction` is how it writes what is left of a second, behind the seconds and a point where there are any.
    """
    minutes, seconds, left = milliseconds // 60_000, milliseconds // 1000 % 60, milliseconds % 1000
    text = ""
    if minutes:
        text = f"{minutes}min"
        left = 0
        if minutes > 9:
            seconds = 0
    if seconds:
        if seconds > 9:
            left = 0
        text += f"{seconds}." if left else f"{seconds}sec"
    elif left or not text:
        return f"{text}{left:03d}ms"
    return text + (fraction.format(left) if left else "")
