"""The configuration file: TOML, its values as texts, each with the line it stands in.

A file is refused whole where it is no file, not readable, not TOML or not UTF-8, larger than 1 MiB, or may be written
by everybody. One that holds a secret is refused where everybody may read it.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from xtcp.settings.problems import Problem
from xtcp.settings.table import BY_NAME, Setting, Shape
from xtcp.sinks.destination import shown
from xtcp.spelling import meant

LARGEST: Final = 1 << 20

_KEY: Final = re.compile(r"""\s*(?:([A-Za-z0-9_-]+)|"([^"\\]*)"|'([^']*)')\s*=""")
_TABLE: Final = re.compile(r"""\s*\[\s*(?:([A-Za-z0-9_-]+)|"([^"\\]*)"|'([^']*)')\s*\]""")
_AT: Final = re.compile(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", re.DOTALL)
_KINDS: Final[Mapping[type, str]] = {
    bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list", dict: "a table",
}  # fmt: skip


@dataclass(frozen=True)
class Given:
    """The texts given for one setting, and where."""

    texts: tuple[str, ...]
    where: str


def read(path: str) -> tuple[dict[str, Given], list[Problem]]:
    """Settings by name, as far as they are texts for one; all that is wrong with the file."""
    content, problems = _content(path)
    if content is None:
        return {}, problems
    try:
        document = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        found = _AT.fullmatch(str(error))
        what = found[1] if found else str(error)
        line = (found and found[2]) or content.rstrip().count("\n") + 1
        return {}, [Problem(f"{path}:{line}", f"this is no TOML: {what}")]
    lines = _lines(content)
    given: dict[str, Given] = {}
    for key, value in document.items():
        where = f"{path}:{lines.get((key,), 0)}: {key}"
        setting = BY_NAME.get(key)
        if setting is None:
            problems.append(Problem(where, _unknown(key)))
            continue
        if setting.shape is Shape.TABLE:
            inside = {at[-1]: line for at, line in lines.items() if at[:-1] == (key,)}
            texts, wrong = _table(setting, value, where, inside)
        else:
            texts, wrong = _texts(setting, value, where)
        problems += wrong
        if not wrong:
            given[key] = Given(texts, where)
    secret = next((g for n, g in given.items() if BY_NAME[n].secret and any(shown(t) != t for t in g.texts)), None)
    if secret is not None and Path(path).stat().st_mode & stat.S_IROTH:
        problems.append(Problem(secret.where, open_to_all(path)))
    return given, problems


def open_to_all(path: str) -> str:
    """What is said of a secret that everybody can read."""
    return f"a secret stands here, and everybody may read the file; run: chmod o-r {path}"


def read_lines(path: str) -> tuple[tuple[str, ...], list[Problem]]:
    """A file of one text a line; `#` begins a comment. For secrets, which stand neither in a list of processes nor
    in an environment.
    """
    content, problems = _content(path)
    texts = tuple(line for line in map(str.strip, (content or "").splitlines()) if line and not line.startswith("#"))
    if any(shown(line) != line for line in texts) and Path(path).stat().st_mode & stat.S_IROTH:
        problems.append(Problem(path, open_to_all(path)))
    if not texts and not problems:
        problems.append(Problem(path, "the file is empty"))
    return texts, problems


def _content(path: str) -> tuple[str | None, list[Problem]]:
    try:
        # Not to wait for a pipe that nobody writes to.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                kind = "a directory" if stat.S_ISDIR(status.st_mode) else "no regular file"
                return None, [Problem(path, f"this is {kind}")]
            raw = file.read(LARGEST + 1)
    except IsADirectoryError:
        return None, [Problem(path, "this is a directory")]
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return None, [Problem(path, f"the file cannot be read: {reason}")]
    if len(raw) > LARGEST:
        return None, [Problem(path, "the file is larger than 1 MiB")]
    if status.st_mode & stat.S_IWOTH:
        return None, [Problem(path, f"everybody may write this file; run: chmod o-w {path}")]
    try:
        return raw.decode("utf-8").replace("\r\n", "\n"), []
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        return None, [Problem(f"{path}:{line}", "this is not UTF-8")]


def _unknown(key: str) -> str:
    return f"there is no such setting. {meant(key.replace('-', '_'), BY_NAME)}".rstrip()


def _texts(setting: Setting, value: Any, where: str) -> tuple[tuple[str, ...], list[Problem]]:
    """One value, or a list of them."""
    if setting.shape is Shape.SWITCH:
        if isinstance(value, bool):
            return (str(value).lower(),), []
        return (), [Problem(where, f"this is {_kind(value)}; it must be true or false")]
    many = isinstance(value, list) and setting.shape is Shape.LIST
    parts = value if many else [value]
    for part in parts:
        if isinstance(part, bool) or not isinstance(part, (str, int, float)):
            inside = " in the list" if many else ""
            return (), [Problem(where, f"this is {_kind(part)}{inside}; it must be {setting.shape.value}")]
    return tuple(map(str, parts)), []


def _table(setting: Setting, value: Any, where: str, lines: Mapping[str, int]) -> tuple[tuple[str, ...], list[Problem]]:
    """A table of names with a value or a list each, as `NAME=VALUE,…`."""
    if not isinstance(value, dict):
        return (), [Problem(where, f"this is {_kind(value)}; it must be {setting.shape.value}: [{setting.name}]")]
    texts: list[str] = []
    problems: list[Problem] = []
    file = where.rsplit(":", 2)[0]
    for name, entry in value.items():
        at = f"{file}:{lines.get(name, 0)}: {setting.name}.{name}"
        parts = entry if isinstance(entry, list) else [entry]
        if any(isinstance(part, bool) or not isinstance(part, (str, int)) for part in parts) or not parts:
            problems.append(Problem(at, f"this is {_kind(entry)}; it must be a number, a text, or a list of them"))
            continue
        one = f"{name}={','.join(map(str, parts))}"
        try:
            setting.parse(one)
        except ValueError as error:
            problems.append(Problem(at, str(error)))
        else:
            texts.append(one)
    return tuple(texts), problems


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), "a date or a time")


def _lines(content: str) -> dict[tuple[str, ...], int]:
    """The line of each key, by its table and name. Texts of several lines are passed over, lists are not: a line in
    one that looks like a key is none that the document has.
    """
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in _outside_texts(content):
        if header := _TABLE.match(line):
            table = (_name(header),)
            found.setdefault(table, number)
        elif key := _KEY.match(line):
            found.setdefault((*table, _name(key)), number)
    return found


def _name(found: re.Match[str]) -> str:
    return found[1] or found[2] or found[3] or ""


def _outside_texts(content: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers, without those that begin inside a text of several lines."""
    end = ""
    for number, line in enumerate(content.split("\n"), 1):
        if not end:
            yield number, line
        rest = line
        while rest:
            if end:
                _, closed, rest = rest.partition(end)
                end = "" if closed else end
                continue
            begins = sorted((rest.find(quote), quote) for quote in ('"""', "'''") if quote in rest)
            if not begins:
                break
            at, end = begins[0]
            rest = rest[at + 3 :]
