"""Flags over environment over file over default, each value with its origin; all faults at once.

A variable that is empty is not there. `XTCP_DEST` holds destinations as a shell would read them, with blanks between;
`XTCP_DEST_FILE` names a file with one a line, for those with a password. A variable with a name that is nearly that
of a setting is a note, not a fault: orchestrators make variables from the names of services.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from xtcp.errors import XtcpError
from xtcp.settings import toml
from xtcp.settings.problems import BadSettings, Problem
from xtcp.settings.table import BY_NAME, SETTINGS, Setting, Shape
from xtcp.settings.values import PortGroup
from xtcp.sinks.destination import Destination
from xtcp.spelling import meant

DEFAULT: Final = "default"
CONFIG: Final = "XTCP_CONFIG"

# What a command line gives: texts by the setting's name.
Flags = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Value:
    """What a setting is: its texts as they were given, the values, and where they come from."""

    texts: tuple[str, ...]
    values: tuple[object, ...]
    origin: str


@dataclass(frozen=True)
class Resolved:
    """All settings, by name; the file they were read from; notes for people."""

    values: Mapping[str, Value]
    config: str | None = None
    notes: tuple[str, ...] = ()


@dataclass
class _Reading:
    """What was found so far."""

    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def resolve(flags: Flags, environ: Mapping[str, str], config: str | None = None) -> Resolved:
    """All settings. `config` is the file that the command line names; without it, `XTCP_CONFIG` may.

    Raises `BadSettings`.
    """
    reading = _Reading()
    path = config or environ.get(CONFIG) or None
    file: dict[str, toml.Given] = {}
    if path is not None:
        file, problems = toml.read(path)
        reading.problems += problems
    variables = _variables(environ, reading)
    found: dict[str, Value] = {}
    for setting in SETTINGS:
        # Each source is read to its end, a fault hidden by a flag is still one.
        given = [_parsed(setting, file.get(setting.name), reading)]
        given.append(_parsed(setting, variables.get(setting.name), reading))
        texts = tuple(flags.get(setting.name, ()))
        given.append(_parsed(setting, toml.Given(texts, setting.flag) if texts else None, reading, usage=True))
        found[setting.name] = next((value for value in reversed(given) if value is not None), _default(setting))
    if not reading.problems:
        reading.problems += _together(found)
    if reading.problems:
        raise BadSettings(reading.problems)
    return Resolved(found, path, tuple(reading.notes))


def _variables(environ: Mapping[str, str], reading: _Reading) -> dict[str, toml.Given]:
    found: dict[str, toml.Given] = {}
    known = {setting.variable: setting for setting in SETTINGS}
    files = {f"{setting.variable}_FILE": setting for setting in SETTINGS if setting.secret}
    for name in sorted(environ):
        value = environ[name]
        if not name.startswith("XTCP_") or not value or name == CONFIG:
            continue
        if name in files:
            texts, problems = toml.read_lines(value)
            reading.problems += [Problem(f"{name}: {p.where}", p.what) for p in problems]
            if not problems:
                found[files[name].name] = toml.Given(texts, f"{name} ({value})")
        elif name not in known:
            near = meant(name[5:].lower(), [other[5:].lower() for other in (*known, *files, CONFIG)])
            if near:
                reading.notes.append(f"the environment has {name}, which is no setting. {near}")
        elif environ.get(f"{name}_FILE") and known[name].secret:
            reading.problems.append(Problem(name, f"{name}_FILE says the same; leave one of them out"))
        else:
            found[known[name].name] = _variable(known[name], name, value, reading)
    return found


def _variable(setting: Setting, name: str, value: str, reading: _Reading) -> toml.Given:
    if setting.shape not in {Shape.LIST, Shape.TABLE}:
        return toml.Given((value,), name)
    try:
        return toml.Given(tuple(shlex.split(value)), name)
    except ValueError as error:
        reading.problems.append(Problem(name, f"a quote is open: {error}"))
        return toml.Given((), name)


def _parsed(setting: Setting, given: toml.Given | None, reading: _Reading, *, usage: bool = False) -> Value | None:
    """The values of what was given in one place; None where nothing was, or a fault."""
    if given is None:
        return None
    values: list[object] = []
    for text in given.texts:
        try:
            values.append(setting.parse(text))
        except XtcpError as error:
            reading.problems.append(Problem(given.where, " ".join(str(error).splitlines()), usage))
        except ValueError as error:
            reading.problems.append(Problem(given.where, str(error), usage))
    return Value(given.texts, tuple(values), _origin(given.where)) if len(values) == len(given.texts) else None


def _origin(where: str) -> str:
    """Without the key, which is said beside it."""
    return where.rpartition(": ")[0] or where


def _default(setting: Setting) -> Value:
    texts = (setting.default,) if setting.default else ()
    return Value(texts, tuple(map(setting.parse, texts)), DEFAULT)


def _together(found: Mapping[str, Value]) -> list[Problem]:
    """What cannot be together."""
    problems: list[Problem] = []
    for setting, what in (("dest", "{} is named twice; leave one of them out"), ("groups", "the group {} comes twice")):
        value = found[setting]
        names = [getattr(one, "name", "") for one in value.values]
        usage = value.origin == BY_NAME[setting].flag
        twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        problems += [Problem(value.origin, what.format(name), usage) for name in twice]
    dest = found["dest"]
    waiting = [one for one in dest.values if isinstance(one, Destination) and one.passage.wait]
    what = "{}: full=wait would hold up the polls; it is for xtcp-replay send"
    usage = dest.origin == BY_NAME["dest"].flag
    problems += [Problem(dest.origin, what.format(one.name), usage) for one in waiting]
    problems += _groups(found["groups"]) if not problems else []
    config = found["web_config"]
    if config.values and found["listen"].values == (None,):
        what = "nothing is served with listen = off; leave one of them out"
        problems.append(Problem(config.origin, what, config.origin == BY_NAME["web_config"].flag))
    return problems


def _groups(value: Value) -> list[Problem]:
    """What health figures cannot be made by."""
    if not value.values:
        return []
    from xtcp.health.classes import PortGroups

    try:
        PortGroups({group.name: group.numbers() for group in value.values if isinstance(group, PortGroup)})
    except XtcpError as error:
        return [Problem(value.origin, " ".join(str(error).splitlines()), value.origin == BY_NAME["groups"].flag)]
    return []
