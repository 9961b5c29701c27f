"""What a `clickhouse:` destination means: the server, the table, who asks, and what is added to each insert.

    clickhouse:http[s]://HOST[:PORT]/DATABASE.TABLE[?user=…&password.file=…&polls=…&async_insert=1]

A name with `_` in it is a setting of ClickHouse's and goes to the server with every insert, which alone knows them all.
Source: https://clickhouse.com/docs/interfaces/http
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from xtcp import amounts
from xtcp.errors import UsageError
from xtcp.sinks.destination import Destination, one_of
from xtcp.sinks.secret_file import secret_in

# The first where zstandard is installed, else the second.
COMPRESSIONS: Final = ("zstd", "gzip", "none")
PORTS: Final = {"http": 8123, "https": 8443}

# What the sink itself says with each insert.
OWN_SETTINGS: Final = frozenset({"insert_deduplication_token", "wait_end_of_query"})

_TABLE: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\.([A-Za-z_][A-Za-z0-9_]*)")
_FORM: Final = "Write clickhouse:http://HOST:8123/DATABASE.TABLE"


@dataclass(frozen=True)
class Target:
    """Where to, and how; `table` and `polls` with their database; seconds."""

    name: str
    tls: bool
    host: str
    port: int
    table: str
    polls: str | None = None
    user: str = ""
    password: str = field(default="", repr=False)
    password_file: str = ""
    ca_file: str = ""
    compression: str = ""
    timeout_s: float = 10.0
    keep_trying_s: float = 300.0
    settings: Mapping[str, str] = field(default_factory=dict)

    def secret(self) -> str:
        """The password. Raises `XtcpError` where its file cannot be read."""
        if not self.password_file:
            return self.password
        return secret_in(self.password_file, f"password.file of {self.name}")


def target(destination: Destination) -> Target:
    """What `destination` means. Raises `UsageError`."""
    name, options = destination.name, dict(destination.options)
    try:
        url = urlsplit(destination.address)
        port = url.port
    except ValueError as error:
        raise UsageError(f"{name}: {error}.", "", _FORM) from error
    if url.scheme not in PORTS or not url.hostname or url.query or url.fragment:
        raise UsageError(f"{name} names no server and table.", "", _FORM)
    if "@" in url.netloc:
        raise UsageError(
            "clickhouse: a user stands before the host.",
            "Addresses are shown and logged.",
            "Write ?user=…&password.file=…",
        )
    table = url.path.removeprefix("/")
    if not _TABLE.fullmatch(table):
        raise UsageError(f"{name}: {table!r} is no DATABASE.TABLE.", "Their names have letters, digits and _.", _FORM)
    if "password" in options and "password.file" in options:
        raise UsageError(f"{name}: password and password.file are both there.", "", "Leave one of them out.")
    for option in ("user", "password"):
        if not options.get(option, "").isprintable():
            raise UsageError(f"{name}: the {option} has characters that do not print.", "", "No header may have them.")
    return Target(
        name,
        url.scheme == "https",
        url.hostname,
        port or PORTS[url.scheme],
        table,
        _polls(name, table, options.get("polls")),
        options.get("user", ""),
        options.get("password", ""),
        options.get("password.file", ""),
        options.get("ca.file", ""),
        one_of(destination, "compression", COMPRESSIONS, "") if "compression" in options else "",
        _seconds(name, options, "timeout", Target.timeout_s),
        _seconds(name, options, "keep-trying", Target.keep_trying_s),
        _settings(name, options),
    )


def _polls(name: str, table: str, polls: str | None) -> str | None:
    if polls is None:
        return None
    whole = polls if "." in polls else f"{table.partition('.')[0]}.{polls}"
    if not _TABLE.fullmatch(whole):
        raise UsageError(f"{name}: polls={polls} names no table.", "", "Write polls=TABLE, or DATABASE.TABLE")
    return whole


def _seconds(name: str, options: Mapping[str, str], option: str, otherwise: float) -> float:
    try:
        return amounts.duration(options[option]) if option in options else otherwise
    except ValueError as error:
        raise UsageError(f"{name}: {option}: {error}.", "", "") from error


def _settings(name: str, options: Mapping[str, str]) -> dict[str, str]:
    settings = {option: value for option, value in options.items() if "_" in option}
    for setting in settings:
        if setting in OWN_SETTINGS:
            raise UsageError(
                f"{name}: the setting {setting} cannot be set.", "It is this program's own.", "Leave it out."
            )
    return settings
