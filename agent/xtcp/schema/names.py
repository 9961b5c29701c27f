"""Enumerations by name: TCP states as `ss` writes them, families, timers; and the other way for options.

Numbers that no kernel had when this was written become `UNKNOWN(n)`, never an error.
"""

from __future__ import annotations

from typing import Final

# include/net/tcp_states.h; the names are those of ss (misc/ss.c), NEW_SYN_RECV is shown as what it is.
STATES: Final[dict[int, str]] = {
    1: "ESTAB",
    2: "SYN-SENT",
    3: "SYN-RECV",
    4: "FIN-WAIT-1",
    5: "FIN-WAIT-2",
    6: "TIME-WAIT",
    7: "UNCONN",
    8: "CLOSE-WAIT",
    9: "LAST-ACK",
    10: "LISTEN",
    11: "CLOSING",
    12: "NEW-SYN-RECV",
    13: "BOUND-INACTIVE",
}

# What `--states` takes beside the names above: the long names of ss and its groups (ss(8), STATE-FILTER).
_CONNECTED: Final = frozenset({1, 2, 3, 4, 5, 6, 8, 9, 11})
STATE_WORDS: Final[dict[str, frozenset[int]]] = {
    **{name.lower(): frozenset({number}) for number, name in STATES.items()},
    "established": frozenset({1}),
    "closed": frozenset({7}),
    "close": frozenset({7}),
    "unconnected": frozenset({7}),
    "listening": frozenset({10}),
    "all": frozenset(STATES),
    "connected": _CONNECTED,
    "synchronized": _CONNECTED - {2},
    "bucket": frozenset({3, 6}),
    "big": frozenset(STATES) - {3, 6, 12, 13},
}

FAMILIES: Final[dict[int, str]] = {2: "inet", 10: "inet6"}
TIMERS: Final[dict[int, str]] = {0: "off", 1: "on", 2: "keepalive", 3: "timewait", 4: "persist", 5: "delack"}
CA_STATES: Final[dict[int, str]] = {0: "Open", 1: "Disorder", 2: "CWR", 3: "Recovery", 4: "Loss"}

# include/uapi/linux/tcp.h: the bits of tcpi_options.
TCPI_OPTIONS: Final[dict[int, str]] = {
    1: "TCPI_OPT_TIMESTAMPS",
    2: "TCPI_OPT_SACK",
    4: "TCPI_OPT_WSCALE",
    8: "TCPI_OPT_ECN",
    16: "TCPI_OPT_ECN_SEEN",
    32: "TCPI_OPT_SYN_DATA",
    64: "TCPI_OPT_USEC_TS",
    128: "TCPI_OPT_TFO_CHILD",
}


def name_of(names: dict[int, str], number: int) -> str:
    """The name of `number`, or `UNKNOWN(number)`."""
    return names.get(number) or f"UNKNOWN({number})"


def state_mask(states: frozenset[int]) -> int:
    """`idiag_states`: bit n for state n."""
    return sum(1 << state for state in states)
