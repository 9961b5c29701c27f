"""Words for people: what a name that does not exist may have meant; texts of others made safe to pass on, to show."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

# The longest host name that Linux can have is 64 bytes, a DNS name 255, and so long are names at most that we pass on.
LONGEST_NAME: Final = 255

_SUGGESTIONS: Final = 4


def meant(name: str, known: Iterable[str]) -> str:
    """`Did you mean …?`, or nothing where no known name is near: names that contain it, then those spelled alike."""
    choices = list(known)
    wanted = name.lower()
    found = [choice for choice in choices if len(wanted) > 1 and wanted in choice.lower()]
    found += difflib.get_close_matches(wanted, choices, 3, 0.6)
    near = list(dict.fromkeys(found))[:_SUGGESTIONS]
    return f"Did you mean {' or '.join(near)}?" if near else ""


def visible(text: str) -> str:
    """`text` with everything that does not print written as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def cleaned(name: str) -> str:
    """A name from outside as every format can write it: lone surrogates, which Python makes of bytes of the system that
    are not UTF-8, become U+FFFD, and what is longer than `LONGEST_NAME` bytes is cut at a character's end.
    """
    if name.isascii():
        return name[:LONGEST_NAME]
    whole = "".join("\N{REPLACEMENT CHARACTER}" if "\ud800" <= c <= "\udfff" else c for c in name[:LONGEST_NAME])
    return whole.encode()[:LONGEST_NAME].decode(errors="ignore")
