"""The side-car of a capture: `FILE.toml` beside `FILE`, what the file itself cannot say, or says wrongly.

    kernel_release = "6.18.2"     # uname -r of the captured host
    byte_order = "big"            # or "little"
    hostname = "edge7"
    netns = "blue"
    comment = "after the upgrade" # for people

Precedence: an option stands above the side-car, the side-car above the file. It was written by someone who looked at
this file, while programs that merge or rewrite a pcapng put the kernel of the machine they run on into `shb_os`.
"""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Final

from xtcp.errors import ConfigurationError
from xtcp.schema.layout import kernel_release
from xtcp.schema.model import Order
from xtcp.sources.input_file import input_error
from xtcp_replay.reading.told import Told

SUFFIX: Final = ".toml"
KEYS: Final = ("kernel_release", "byte_order", "hostname", "netns", "comment")
LONGEST: Final = 64 << 10

_ORDERS: Final[dict[str, Order]] = {"little": "<", "big": ">"}


def side_car_of(path: str) -> Path | None:
    """The side-car of the file at `path`, None where there is none; standard input has none."""
    beside = Path(path + SUFFIX)
    return beside if path != "-" and beside.is_file() else None


def with_sidecar(path: str, told: Told) -> Told:
    """`told` with what the side-car of the file at `path` adds, if there is one.

    Raises `ConfigurationError` for a side-car that is no TOML or says something else than `KEYS`, and what opening
    a file raises.
    """
    beside = side_car_of(path)
    if beside is None:
        return told
    said = _read(beside)
    order = said.get("byte_order")
    return replace(
        told,
        order=told.order or (None if order is None else _ORDERS[order]),
        release=told.release or said.get("kernel_release", ""),
        hostname=told.hostname if told.hostname is not None else said.get("hostname"),
        netns=told.netns if told.netns is not None else said.get("netns"),
    )


def _read(path: Path) -> dict[str, str]:
    """The keys of the side-car at `path`, all known and of a value that can be."""
    try:
        with path.open("rb") as file:
            content = file.read(LONGEST + 1)
    except OSError as error:
        raise input_error(str(path), error) from error
    if len(content) > LONGEST:
        raise _wrong(f"{path} has more than {LONGEST >> 10} KiB.")
    try:
        table = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _wrong(f"{path} is no TOML: {error}.") from error
    for key, value in table.items():
        if key not in KEYS:
            raise _wrong(f"{path}: there is no key {key!r}.")
        if not isinstance(value, str) or not value:
            raise _wrong(f"{path}: {key} is not a text.")
    if table.get("byte_order", "little") not in _ORDERS:
        raise _wrong(f"{path}: byte_order is {table['byte_order']!r}, not little or big.")
    if kernel_release(table.get("kernel_release", "6.1")) is None:
        raise _wrong(f"{path}: kernel_release is {table['kernel_release']!r}; it is what uname -r prints, like 6.12.9.")
    return table


def _wrong(what: str) -> ConfigurationError:
    return ConfigurationError(
        what,
        "It is read because it stands beside a capture, with what the capture does not say.",
        f"Its keys are {', '.join(KEYS)}, each a text in quotes. Mend it, or move it away.",
    )
