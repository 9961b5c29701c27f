"""Struct layouts and enumerators of the running kernel, from its type information (BTF) as bpftool prints it.

In: the text of `bpftool btf dump file /sys/kernel/btf/vmlinux format raw`. Out: places of members in bits, sizes in
bytes. Types of modules are not in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_STRUCT = r"^\[\d+\] STRUCT '({})' size=(\d+) vlen=\d+\n((?:\t.*\n)*)"
_MEMBER = re.compile(r"^\t'(\w+)' type_id=(\d+) bits_offset=(\d+)(?: bitfield_size=(\d+))?", re.MULTILINE)


@dataclass(frozen=True)
class Place:
    """A member: the bit where it begins, counted in memory order; its width if it is a bit field; its size in bytes."""

    bit: int
    width: int | None
    size: int


def places(text: str, names: Iterable[str]) -> dict[str, dict[str, Place]]:
    """Members of the structs of these names that the kernel has; those of a struct inside (`id`) as `id.member`."""
    pattern = re.compile(_STRUCT.format("|".join(names)), re.MULTILINE)
    bodies = {match[1]: match[3] for match in pattern.finditer(text)}
    return {name: _places(text, body, bodies) for name, body in bodies.items()}


def enumerators(text: str, prefixes: Iterable[str]) -> dict[str, int]:
    """The enumerators whose names begin with one of `prefixes`."""
    pattern = re.compile(rf"^\t'((?:{'|'.join(prefixes)})\w+)' val=(\d+)$", re.MULTILINE)
    return {match[1]: int(match[2]) for match in pattern.finditer(text)}


def _places(text: str, body: str, bodies: dict[str, str]) -> dict[str, Place]:
    found: dict[str, Place] = {}
    for name, type_id, bit, width in _MEMBER.findall(body):
        inner = _type(text, type_id).split("'")[1]
        if inner in bodies:
            for within, place in _places(text, bodies[inner], bodies).items():
                found[f"{name}.{within}"] = Place(int(bit) + place.bit, place.width, place.size)
        else:
            found[name] = Place(int(bit), int(width) if width else None, _size(text, type_id))
    return found


def _type(text: str, type_id: str) -> str:
    """The line of a type, without its number."""
    start = text.index(f"\n[{type_id}] ") + 1
    return text[start : text.index("\n", start)]


def _size(text: str, type_id: str) -> int:
    """`sizeof` of a type: through typedefs, times the length of an array."""
    line = _type(text, type_id)
    numbers = dict(re.findall(r"(\w+)=(\d+)", line))
    if " ARRAY " in line:
        return int(numbers["nr_elems"]) * _size(text, numbers["type_id"])
    return int(numbers["size"]) if "size" in numbers else _size(text, numbers["type_id"])
