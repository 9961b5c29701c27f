"""`--columns`, `--attributes` and `--states` to columns, request bits and state bits; wrong names to what was meant."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from xtcp.errors import UsageError
from xtcp.schema.columns import ALL_EXT, BY_NAME, COLUMNS, attribute_names, columns_of, ext_of
from xtcp.schema.names import STATE_WORDS, state_mask
from xtcp.spelling import meant


@dataclass(frozen=True)
class Selection:
    """`shown` are the columns asked for, in that order (None: the format's default); `decoded` those that must be
    decoded (None: all); `ext` the mask that asks the kernel for them.
    """

    shown: tuple[str, ...] | None
    decoded: frozenset[str] | None
    ext: int


def select(columns: str | None, attributes: str | None) -> Selection:
    """The columns for the texts of `--columns` and `--attributes`. Raises `UsageError`."""
    shown = tuple(_names(columns, BY_NAME, "column", "All of them: xtcp columns")) if columns is not None else None
    if attributes is None or attributes == "all":
        ext = ALL_EXT if shown is None else ext_of(shown)
        return Selection(shown, None if shown is None else frozenset(shown), ext)
    known = attribute_names()
    numbers = {
        known[name] for name in _names(attributes.lower(), known, "attribute", f"All of them: {' '.join(known)}")
    }
    filled = columns_of(numbers)
    allowed = [c.name for c in COLUMNS if not c.attribute or c.name in filled]
    if shown is None:
        shown = tuple(allowed)
    elif not set(shown) <= set(allowed):
        missing = next(name for name in shown if name not in allowed)
        short = next(name for name, number in known.items() if missing in columns_of({number}))
        raise UsageError(
            f"column {missing} comes with the attribute {short}, which --attributes leaves out",
            "",
            f"Add {short} to --attributes, or leave --attributes out: columns bring their attributes.",
        )
    return Selection(shown, frozenset(shown), ext_of(filled))


def states(text: str | None) -> int | None:
    """The mask for the text of `--states`, None where there is none. Raises `UsageError`."""
    if text is None:
        return None
    numbers: set[int] = set()
    every = f"All of them: {' '.join(STATE_WORDS)}"
    for name in _names(text.lower().replace("_", "-"), STATE_WORDS, "state", every):
        numbers |= STATE_WORDS[name]
    if 3 in numbers:
        numbers.add(12)
    return state_mask(frozenset(numbers))


def _names(text: str, known: Collection[str], what: str, every: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UsageError(f"no {what} is named", "", every)
    for name in names:
        if name not in known:
            raise UsageError(f"there is no {what} {name!r}", meant(name, known), every)
    return list(dict.fromkeys(names))
