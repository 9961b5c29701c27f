"""Names of others (hosts, namespaces, destinations) as label values that every parser takes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

from xtcp.spelling import visible

LONGEST: Final = 255
OTHER: Final = "other"

# How many values a label may have that does not come from a fixed list.
MOST_VALUES: Final = 64


def label(text: str) -> str:
    """`text` in at most 255 characters, what does not print as an escape; two texts never become one by the cut."""
    shown = visible(text)
    if len(shown) <= LONGEST:
        return shown
    digest = hashlib.blake2b(shown.encode(), digest_size=4).hexdigest()
    return f"{shown[: LONGEST - len(digest) - 1]}~{digest}"


def bounded(found: Iterable[str], most: int = MOST_VALUES) -> dict[str, str]:
    """Each name with its label value: the first `most` their own, all others `other`."""
    values: dict[str, str] = {}
    for name in found:
        if name not in values:
            values[name] = label(name) if len(values) < most else OTHER
    return values
