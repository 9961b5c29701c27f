"""Destinations: the text behind `--dest` to a sink.

    scheme:address?name=value&name=value          kafka:broker:9092/topic?compression.type=zstd

The scheme says which sink, the address where, in the sink's own form; a scheme alone (`stdout`, `null`) is one with
an empty address. The options stand behind the last `?`, so an address with a `?` of its own is ended by another one:
`file:really?.json?`. In values, `%26` is an `&`, and so on.

This table is all that another sink is added to. Its module is imported when it is opened, not before: `--help` shows
the table, and an extra may be missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import unquote

from xtcp.errors import UsageError
from xtcp.spelling import meant

if TYPE_CHECKING:
    from xtcp.ledger import Account
    from xtcp.sinks.sink import Sink

    Maker: TypeAlias = Callable[[Account], Sink]

FORMATS: Final = ("json", "csv")

_SCHEME: Final = re.compile(r"[a-z][a-z0-9+-]*")


@dataclass(frozen=True)
class Destination:
    """Where rows go, as it was said; nothing is opened yet. `address` is in the scheme's form, `options` are known."""

    scheme: str
    address: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """For the ledger and messages: without options, which may hold a password."""
        return f"{self.scheme}:{self.address}" if self.address else self.scheme

    @property
    def file(self) -> str | None:
        """The file that it writes, None where it is none."""
        return self.address if self.scheme == "file" else None

    def open(self, account: Account) -> Sink:
        """The sink, counting in `account`. Raises `XtcpError` where the far side cannot be had."""
        return SCHEMES[self.scheme].prepare(self)(account)


@dataclass(frozen=True)
class Scheme:
    """How a destination is written, what it means, the names of its options.

    `prepare` gives what makes the sink, and raises `UsageError` for an address or a value that cannot be, before
    anything is opened.
    """

    form: str
    meaning: str
    options: tuple[str, ...]
    prepare: Callable[[Destination], Maker]


def parse(text: str) -> Destination:
    """The destination that `text` names. Raises `UsageError`."""
    name, colon, rest = text.partition(":")
    scheme = SCHEMES.get(name)
    if scheme is None:
        raise _unknown(text, name if colon else "")
    address, mark, behind = rest.rpartition("?")
    if not mark:
        address, behind = rest, ""
    destination = Destination(name, address, _options(text, scheme, behind))
    scheme.prepare(destination)
    return destination


def _unknown(text: str, name: str) -> UsageError:
    every = f"All of them: {', '.join(scheme.form for scheme in SCHEMES.values())}"
    if _SCHEME.fullmatch(name):
        return UsageError(f"{text}: there is no destination {name}:", meant(name, SCHEMES), every)
    near = meant(text, SCHEMES) if _SCHEME.fullmatch(text) else f"Did you mean file:{text}?"
    return UsageError(f"{text!r} says no destination: it begins with none of their names.", near, every)


def _options(text: str, scheme: Scheme, behind: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in behind.split("&") if behind else ():
        name, equals, value = part.partition("=")
        if name not in scheme.options:
            what = f"{text}: there is no option {name!r}."
            if not equals and scheme.options:
                what = f"{text}: {part!r} behind the ? is no option of the form name=value."
            known = f"Options of {scheme.form}: {', '.join(scheme.options)}." if scheme.options else "It takes none."
            raise UsageError(what, meant(name, scheme.options), f"{known} An address with a ? in it ends with another.")
        if not equals or not value:
            raise UsageError(f"{text}: the option {name} has no value.", "", f"It is written {scheme.form}")
        if name in found:
            raise UsageError(f"{text}: the option {name} comes twice.", "", "Leave one of them out.")
        found[name] = unquote(value)
    return found


def _format(destination: Destination, otherwise: str) -> str:
    name = destination.options.get("format", otherwise)
    if name not in FORMATS:
        every = f"All of them: {', '.join(FORMATS)}"
        raise UsageError(f"{destination.name}: there is no format {name!r}.", meant(name, FORMATS), every)
    return name


def _no_address(destination: Destination) -> None:
    if destination.address:
        scheme = destination.scheme
        near = f"Did you mean file:{destination.address}?" if scheme == "stdout" else ""
        raise UsageError(f"{destination.name}: {scheme} takes no address.", near, f"Write {SCHEMES[scheme].form}")


def _stdout(destination: Destination) -> Maker:
    _no_address(destination)
    return _text_rows("-", _format(destination, "json"))


def _file(destination: Destination) -> Maker:
    path = destination.address
    if path in {"", "-"}:
        raise UsageError(
            f"{destination.scheme}:{path} names no file.", "", "Write file:PATH, or stdout: for standard output."
        )
    ending = Path(path).suffix.removeprefix(".")
    return _text_rows(path, _format(destination, ending if ending in FORMATS else "json"))


def _text_rows(path: str, form: str) -> Maker:
    def make(account: Account) -> Sink:
        from xtcp.encode import make_encoder
        from xtcp.sinks.text_rows import TextRows

        return TextRows(path, make_encoder(form), account)

    return make


def _null(destination: Destination) -> Maker:
    def make(account: Account) -> Sink:
        from xtcp.sinks.null import Null

        return Null(account)

    _no_address(destination)
    return make


SCHEMES: Final[Mapping[str, Scheme]] = {
    "stdout": Scheme("stdout:[?format=json|csv]", "standard output, an object a line", ("format",), _stdout),
    "file": Scheme(
        "file:PATH[?format=json|csv]", "a file, emptied first; csv where it ends in .csv", ("format",), _file
    ),
    "null": Scheme("null:", "nowhere: all is read, decoded and counted", (), _null),
}


def overview() -> str:
    """The table, for `--help`."""
    width = max(len(scheme.form) for scheme in SCHEMES.values())
    return "".join(f"  {scheme.form:<{width}}  {scheme.meaning}\n" for scheme in SCHEMES.values())
