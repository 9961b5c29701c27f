"""The table of settings. A row is all that another setting takes; flags, variables, keys, help and docs are derived.

A default is written as a user would write it, and parsed like anything else; an empty one means "not given", and the
value is None. Settings that `reload` is False of keep their value until a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from xtcp.settings import values
from xtcp.sinks.destination import parse


class Shape(Enum):
    """How many texts make the value, and what stands for them in TOML."""

    ONE = "a text or a number"
    SWITCH = "true or false"
    LIST = "a list of texts"
    TABLE = "a table of lists"


@dataclass(frozen=True)
class Setting:
    """One row. `parse` makes a value of each text; `metavar` stands for it in help; `flags` are its spellings, the
    first is the one that messages name, and `also` further ones that stand for a text. `secret` may hold a password.
    """

    name: str
    group: str
    meaning: str
    parse: Callable[[str], object]
    default: str = ""
    metavar: str = ""
    shape: Shape = Shape.ONE
    reload: bool = True
    flags: tuple[str, ...] = ()
    also: Mapping[str, str] = field(default_factory=dict)
    secret: bool = False
    unset: str = "none"

    @property
    def flag(self) -> str:
        """The flag that messages name."""
        return self.spellings[0]

    @property
    def spellings(self) -> tuple[str, ...]:
        """All flags that take its value."""
        return self.flags or ("--" + self.name.replace("_", "-"),)

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return "XTCP_" + self.name.upper()

    @property
    def shown_default(self) -> str:
        """The default, or in words what is done without one."""
        return self.default or self.unset


ROWS: Final = "where rows go"
POLLS: Final = "polls"
METRICS: Final = "metrics"
LIMITS: Final = "limits"
RUNNING: Final = "running"

SETTINGS: Final = (
    Setting("dest", ROWS, "where rows go; may be given several times", parse, metavar="SCHEME:…", shape=Shape.LIST,
            secret=True, unset="the store in the state directory"),
    Setting("sampling_modulus", ROWS, "xTCP's first modulus: udp: destinations without a sample of their own get one "
            "connection in N × M, always the same ones; 1 and 1: every row", values.modulus, "2", "N"),
    Setting("report_modulus", ROWS, "xTCP's second modulus, M", values.modulus, "2000", "M"),
    Setting("state_dir", ROWS, "where the store is", values.text, metavar="DIR", reload=False,
            unset="$STATE_DIRECTORY, /var/lib/xtcp for root, else $XDG_STATE_HOME/xtcp"),
    Setting("frequency", POLLS, "time between the beginnings of two polls", values.interval, "30s", "TIME"),
    Setting("max_loops", POLLS, "end after so many polls; 0: never", values.whole, "0", "N", reload=False),
    Setting("timeout", POLLS, "how long one receive from the kernel waits before the deadline is looked at again",
            values.receive_timeout, "50ms", "TIME"),
    Setting("deadline", POLLS, "how long a poll may take; it is then broken off, and its trailer says so",
            values.deadline, "25s", "TIME"),
    Setting("nlmsg_seq", POLLS, "sequence number of the first request; each request adds 1", values.sequence,
            metavar="N", reload=False, unset="a random one each"),
    Setting("ipv4", POLLS, "IPv4 sockets only, with -6 both", values.switch, "false", shape=Shape.SWITCH,
            flags=("-4", "--ipv4")),
    Setting("ipv6", POLLS, "IPv6 sockets only, with -4 both", values.switch, "false", shape=Shape.SWITCH,
            flags=("-6", "--ipv6")),
    Setting("disable_file", POLLS, "the kill switch: while this file exists no poll is taken", values.text,
            metavar="FILE"),
    Setting("listen", METRICS, "where /metrics, /-/healthy and /-/ready are served; off: nowhere", values.listen,
            "127.0.0.1:9000", "HOST:PORT", reload=False, also={"--no-listen": "off"}),
    Setting("web_config", METRICS, "exporter-toolkit's web configuration file: TLS, users", values.text,
            metavar="FILE", reload=False),
    Setting("xtcp_names", METRICS, "serve the metrics of xTCP as well, under its names, as far as they can be filled",
            values.switch, "false", shape=Shape.SWITCH, reload=False),
    Setting("textfile", METRICS, "write the metrics to this file after each poll, for node_exporter", values.text,
            metavar="FILE.prom", reload=False),
    Setting("groups", METRICS, "ports that a service listens on, under one name in metrics; may be given several times",
            values.port_group, metavar="NAME=PORT,…", shape=Shape.TABLE, flags=("--group",)),
    Setting("nice", LIMITS, "how much the scheduler prefers others, 0 to 19", values.niceness, "15", "N",
            reload=False),
    Setting("memory_limit", LIMITS, "most memory; rows are shed before it is reached, and counted", values.memory,
            metavar="SIZE", unset="that of the control group, else 512M"),
    Setting("log_level", RUNNING, "least important events that are logged: debug, info, warning, error", values.level,
            metavar="LEVEL", unset="info; warning where a terminal shows the polls"),
    Setting("log_format", RUNNING, "text, json, or auto: text on a terminal", values.log_format, "auto", "FORMAT"),
)  # fmt: skip

BY_NAME: Final[Mapping[str, Setting]] = {setting.name: setting for setting in SETTINGS}
