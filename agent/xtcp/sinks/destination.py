"""Destinations: the text behind `--dest` to a sink.

    scheme:address?name=value&name=value          kafka:broker:9092/topic?compression.type=zstd

The scheme says which sink, the address where, in the sink's own form; a scheme alone (`stdout`, `null`) is one with
an empty address. The options stand behind the last `?`, so an address with a `?` of its own is ended by another one:
`file:really?.json?`. In values, `%26` is an `&`, and so on. Every scheme takes those of `schemes.COMMON` too: they say
how rows come to the sink.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar
from urllib.parse import unquote

from xtcp import amounts
from xtcp.errors import UsageError
from xtcp.sinks.schemes import COMMON, DEFAULT_BYTES, SCHEMES, Scheme
from xtcp.spelling import meant

if TYPE_CHECKING:
    from xtcp.ledger import Account
    from xtcp.sinks.queued import Patience
    from xtcp.sinks.sink import Sink

    Maker: TypeAlias = Callable[[Account], Sink]

_T = TypeVar("_T")
_O = TypeVar("_O")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+-]*")
# A value up to the next option; `….file` names a file, which is no secret. And what stands before the @ of a URL.
_SECRET: Final = re.compile(
    r"((?:password|secret|token|credential)[^?&=]*(?<!\.file)=|://)(?:(?<==).*?(?=&[a-z0-9._]+=|$)|[^/?]*(?=@))",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Passage:
    """How rows come to a sink: `sample` 1 means every row; `wait` None: as whoever opens it has it."""

    queue_bytes: int = DEFAULT_BYTES
    wait: bool | None = None
    sample: int | None = None


@dataclass(frozen=True)
class Destination:
    """Where rows go, as it was said; nothing is opened yet. The form of `address` is the scheme's."""

    scheme: str
    address: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    passage: Passage = Passage()

    @property
    def name(self) -> str:
        """For the ledger and messages: without options, which may hold a password."""
        return f"{self.scheme}:{self.address}" if self.address else self.scheme

    @property
    def file(self) -> str | None:
        """The file that it writes, None where it is none."""
        return self.address if self.scheme == "file" else None

    def open(
        self, account: Account, *, own_thread: bool = False, wait: bool = True, patience: Patience | None = None
    ) -> Sink:
        """The sink, counting in `account`; behind a queue where its far side may be away, or `own_thread` asks so.

        `wait` is what a full queue does where the options do not say, `patience` as `Queued` has it. Raises
        `XtcpError` where the far side cannot be had.
        """
        make = self.maker()
        passage = self.passage
        if not (own_thread or SCHEMES[self.scheme].far):
            sink = make(account)
        else:
            from xtcp.sinks.queued import Queued

            waits = wait if passage.wait is None else passage.wait
            sink = Queued(make, account, limit_bytes=passage.queue_bytes, wait=waits, patience=patience)
        if passage.sample in {None, 1}:
            return sink
        from xtcp.sinks.sampled import Sampled

        return Sampled(sink, passage.sample)

    def maker(self) -> Maker:
        """What makes the sink alone. Raises `UsageError` for what cannot be, before anything is opened."""
        return SCHEMES[self.scheme].prepare()(self)


def parse(text: str) -> Destination:
    """The destination that `text` names. Raises `UsageError`."""
    name, colon, rest = text.partition(":")
    scheme = SCHEMES.get(name)
    if scheme is None:
        raise _unknown(shown(text), name if colon else "")
    address, mark, behind = rest.rpartition("?")
    if not mark:
        address, behind = rest, ""
    options = _options(text, scheme, behind)
    common = {name: options.pop(name) for name in COMMON if name in options and name not in scheme.options}
    destination = Destination(name, address, options, _passage(shown(text), common))
    destination.maker()
    return destination


def shown(text: str) -> str:
    """`text` for messages: what may be a secret is left out."""
    return _SECRET.sub(r"\1***", text)


def _unknown(text: str, name: str) -> UsageError:
    every = f"All of them: {', '.join(scheme.form for scheme in SCHEMES.values())}"
    if _SCHEME.fullmatch(name):
        return UsageError(f"{text}: there is no destination {name}:", meant(name, SCHEMES), every)
    near = meant(text, SCHEMES) if _SCHEME.fullmatch(text) else f"Did you mean file:{text}?"
    return UsageError(f"{text!r} says no destination: it begins with none of their names.", near, every)


def _options(whole: str, scheme: Scheme, behind: str) -> dict[str, str]:
    found: dict[str, str] = {}
    text = shown(whole)
    for part in behind.split("&") if behind else ():
        name, equals, value = part.partition("=")
        if not scheme.takes(name) and name not in COMMON:
            what = f"{text}: there is no option {name!r}."
            if not equals:
                # With a secret about, this may be the rest of one that has an & in it.
                piece = repr(part) if text == whole else "a part"
                what = f"{text}: {piece} behind the ? is no option of the form name=value; an & in a value is %26."
            known = f"Options of {scheme.form}: {', '.join((*scheme.options, *COMMON))}."
            near = meant(name, (*scheme.options, *COMMON))
            raise UsageError(what, near, f"{known} An address with a ? in it ends with another.")
        if not equals or not value:
            raise UsageError(f"{text}: the option {name} has no value.", "", f"It is written {scheme.form}")
        if name in found:
            raise UsageError(f"{text}: the option {name} comes twice.", "", "Leave one of them out.")
        found[name] = unquote(value)
    return found


def _passage(text: str, common: Mapping[str, str]) -> Passage:
    full = common.get("full")
    if full not in {None, "drop", "wait"}:
        raise UsageError(f"{text}: full={full} is neither drop nor wait.", "", f"full: {COMMON['full']}")
    try:
        return Passage(
            amounts.size(common["queue"]) if "queue" in common else DEFAULT_BYTES,
            None if full is None else full == "wait",
            amounts.count(common["sample"]) if "sample" in common else None,
        )
    except ValueError as error:
        raise UsageError(f"{text}: {error}", "", "") from error


def one_of(destination: Destination, option: str, choices: tuple[str, ...], otherwise: str) -> str:
    """The value of `option`, one of `choices`. Raises `UsageError`."""
    value = destination.options.get(option, otherwise)
    if value not in choices:
        every = f"All of them: {', '.join(choices)}"
        raise UsageError(f"{destination.name}: there is no {option} {value!r}.", meant(value, choices), every)
    return value


def amount(destination: Destination, option: str, parse: Callable[[str], _T], otherwise: _O) -> _T | _O:
    """The value of `option` as `parse`, one of `xtcp.amounts`, reads it. Raises `UsageError` with its sentence."""
    try:
        return parse(destination.options[option]) if option in destination.options else otherwise
    except ValueError as error:
        raise UsageError(f"{destination.name}: {option}: {error}.", "", "") from error


def no_address(destination: Destination) -> None:
    """Raises `UsageError` where there is an address that would mean nothing."""
    if destination.address:
        scheme = destination.scheme
        near = f"Did you mean file:{destination.address}?" if scheme == "stdout" else ""
        raise UsageError(f"{destination.name}: {scheme} takes no address.", near, f"Write {SCHEMES[scheme].form}")
