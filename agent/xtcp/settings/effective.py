"""Settings: what the agent does, typed; and the destinations as they will be opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

from xtcp.settings.sources import DEFAULT, Flags, Resolved, resolve
from xtcp.settings.table import BY_NAME, SETTINGS, Shape
from xtcp.settings.values import Address, PortGroup
from xtcp.sinks.destination import parse

if TYPE_CHECKING:
    from xtcp.sinks.destination import Destination

# The one scheme that xTCP's moduli are for: a record a datagram, to whoever listens.
SAMPLED: Final = "udp"
# Where rows go when nobody says where.
STORE: Final = "store"
# The one that has to know how long a poll may take.
STATSD: Final = "statsd"


@dataclass(frozen=True)
class Settings:
    """The settings of `xtcp.settings.table`, by the same names; times in seconds, sizes in bytes, None: not given."""

    dest: tuple[Destination, ...]
    sampling_modulus: int
    report_modulus: int
    state_dir: str | None
    frequency: float
    max_loops: int
    timeout: float
    deadline: float
    nlmsg_seq: int | None
    ipv4: bool
    ipv6: bool
    disable_file: str | None
    listen: Address | None
    web_config: str | None
    xtcp_names: bool
    textfile: str | None
    groups: tuple[PortGroup, ...]
    nice: int
    memory_limit: int | None
    log_level: str | None
    log_format: str
    resolved: Resolved

    @property
    def config(self) -> str | None:
        """The configuration file."""
        return self.resolved.config

    @property
    def port_groups(self) -> dict[str, list[int]]:
        """The ports of each group, by its name."""
        return {group.name: group.numbers() for group in self.groups}

    def asked_for(self, name: str) -> bool:
        """Whether somebody set it, rather than nobody."""
        return self.resolved.values[name].origin != DEFAULT

    def changed(self, other: Settings) -> list[str]:
        """Names of the settings that differ."""
        return [s.name for s in SETTINGS if getattr(self, s.name) != getattr(other, s.name)]


def load(flags: Flags, environ: Mapping[str, str], config: str | None = None) -> Settings:
    """Reads and checks everything. Raises `BadSettings` with all that is wrong."""
    return of(resolve(flags, environ, config))


def of(resolved: Resolved) -> Settings:
    """Settings of what was resolved."""
    values: dict[str, Any] = {"resolved": resolved}
    for field in fields(Settings):
        if field.name == "resolved":
            continue
        many = BY_NAME[field.name].shape in {Shape.LIST, Shape.TABLE}
        found = resolved.values[field.name].values
        values[field.name] = found if many else (found[0] if found else None)
    settings = Settings(**values)
    return replace(settings, dest=_destinations(settings))


def reloaded(before: Settings, flags: Flags, environ: Mapping[str, str]) -> tuple[Settings, list[str]]:
    """What is in force after reading everything again, and the names of settings that only a restart changes.

    Raises `BadSettings`.
    """
    now = resolve(flags, environ, before.config)
    kept = {setting.name for setting in SETTINGS if not setting.reload}
    old = before.resolved.values
    waiting = [name for name in now.values if name in kept and now.values[name].values != old[name].values]
    values = {name: old[name] if name in kept else value for name, value in now.values.items()}
    return of(replace(now, values=values)), waiting


def _destinations(settings: Settings) -> tuple[Destination, ...]:
    """The destinations, the store where none was named; xTCP's moduli for those that they are for."""
    one_in = settings.sampling_modulus * settings.report_modulus
    found: list[Destination] = []
    for destination in settings.dest or (parse(f"{STORE}:"),):
        passage, options, address = destination.passage, destination.options, destination.address
        if destination.scheme == STORE:
            address = address or settings.state_dir or ""
        if destination.scheme == SAMPLED and passage.sample is None:
            passage = replace(passage, sample=one_in)
        if destination.scheme == STATSD and "frequency" not in options:
            options = {**options, "frequency": f"{settings.frequency:g}s"}
        found.append(replace(destination, address=address, passage=passage, options=options))
    return tuple(found)
