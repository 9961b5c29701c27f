"""Two snapshots compared: sockets that came, went and changed, all columns at once.

Nothing here knows a format: what is found is index arrays and a mask a column, and `ChangeWriter`s make text of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from xtcp_replay.judging.snapshot import IDENTITY, Index, Mask, Place, Places, Snapshot, last_of_each

ADDRESSES = tuple(name for name in IDENTITY if name != "idiag_family")


@dataclass(frozen=True)
class Comparison:
    """`came` are rows of `new`, `went` rows of `old`, by rising cookie. `changed` (n, 2) are pairs of rows, old and
    new, that differ; `fields` tells by column which of them differ in it, bool (n,); columns without any are left out.

    `moved` (n,): the cookie is the same and the addresses are others. `same` sockets differ in nothing. `ignored` says
    which parts of a place only one side names, so that they tell no sockets apart.
    """

    old: Snapshot
    new: Snapshot
    places: Sequence[Place]
    came: Index
    went: Index
    changed: Index
    fields: dict[str, Mask]
    moved: Mask
    same: int
    ignored: tuple[str, ...]

    @property
    def shared(self) -> int:
        """Sockets that both sides have."""
        return self.same + len(self.changed)


def compare(old: Snapshot, new: Snapshot, places: Places, names: Sequence[str]) -> Comparison:
    """What became of the sockets of `old`, looking at the columns `names`."""
    ignored = tuple(
        what for part, what in enumerate(("hostname", "netns")) if _says(old, places, part) != _says(new, places, part)
    )
    old, new, names_of_places = _in_common(old, new, places, ignored)
    from_old, from_new, went, came = _pairs(old, new)
    fields: dict[str, Mask] = {}
    any_field = np.zeros(len(from_old), np.bool_)
    for name in names:
        differs = _differs(old, new, name, from_old, from_new)
        if differs.any():
            fields[name] = differs
            any_field |= differs
    pairs = np.stack([from_old[any_field], from_new[any_field]], axis=1)
    moved = np.zeros(len(pairs), np.bool_)
    for name in ADDRESSES:
        moved |= _differs(old, new, name, pairs[:, 0], pairs[:, 1])
    return Comparison(
        old=old,
        new=new,
        places=names_of_places,
        came=came,
        went=went,
        changed=pairs,
        fields={name: mask[any_field] for name, mask in fields.items()},
        moved=moved,
        same=len(from_old) - len(pairs),
        ignored=ignored,
    )


def _says(side: Snapshot, places: Places, part: int) -> bool:
    """Whether any row of a side names its host (0) or its namespace (1)."""
    names = places.names
    return any(names[number][part] is not None for number in np.unique(side.place).tolist())


def _in_common(
    old: Snapshot, new: Snapshot, places: Places, ignored: tuple[str, ...]
) -> tuple[Snapshot, Snapshot, list[Place]]:
    """Both sides with places that only say what both know; a socket that is there twice then is its last row."""
    if not ignored:
        return old, new, places.names
    common = Places()
    number = np.array(
        [
            common.number((None if "hostname" in ignored else host, None if "netns" in ignored else netns))
            for host, netns in places.names
        ],
        np.uint32,
    )
    sides = []
    for side in (old, new):
        place = number[side.place] if side.rows else side.place
        keep = last_of_each(place, side.cookie)
        taken = side if keep.all() else side.take(keep)
        sides.append(replace(taken, place=place[keep], replaced=side.replaced + side.rows - taken.rows))
    return sides[0], sides[1], common.names


def _pairs(old: Snapshot, new: Snapshot) -> tuple[Index, Index, Index, Index]:
    """Rows of old and new that are one socket, rows only old has, rows only new has; all by cookie, then place."""
    cookie = np.concatenate([old.cookie, new.cookie])
    place = np.concatenate([old.place, new.place])
    order = np.lexsort((place, cookie))
    cookie, place = cookie[order], place[order]
    first = np.zeros(len(order), np.bool_)
    first[:-1] = (cookie[1:] == cookie[:-1]) & (place[1:] == place[:-1])
    second = np.zeros(len(order), np.bool_)
    second[1:] = first[:-1]
    alone = order[~first & ~second]
    went, came = alone[alone < old.rows], alone[alone >= old.rows] - old.rows
    return order[first], order[second] - old.rows, went, came


def _differs(old: Snapshot, new: Snapshot, name: str, from_old: Index, from_new: Index) -> Mask:
    had, has = old.has(name)[from_old], new.has(name)[from_new]
    differs: Mask = had != has
    if name in old.columns and name in new.columns:
        unequal = old.columns[name][from_old] != new.columns[name][from_new]
        if unequal.ndim > 1:
            unequal = unequal.any(axis=1)
        differs |= had & has & unequal.astype(np.bool_)
    return differs
