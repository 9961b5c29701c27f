"""A name that does not exist to what may have been meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

_SUGGESTIONS: Final = 4


def meant(name: str, known: Iterable[str]) -> str:
    """`Did you mean …?`, or nothing where no known name is near: names that contain it, then those spelled alike."""
    choices = list(known)
    wanted = name.lower()
    found = [choice for choice in choices if len(wanted) > 1 and wanted in choice.lower()]
    found += difflib.get_close_matches(wanted, choices, 3, 0.6)
    near = list(dict.fromkeys(found))[:_SUGGESTIONS]
    return f"Did you mean {' or '.join(near)}?" if near else ""
