"""Which class a connection counts in: direction, port group, congestion control. All three are bounded.

Inbound is a connection whose local port had a listener in its namespace, in this poll before it or in the last one
(the kernel lists listeners first); every other one is outbound. The port that says the group is the service's: the
local one of an inbound connection, the remote one of an outbound connection.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from xtcp.batch import Batch
from xtcp.errors import ConfigurationError
from xtcp.health.snapshot import Class

OTHER: Final = "other"
MOST_GROUPS: Final = 8
DIRECTIONS: Final = ("outbound", "inbound")

# Congestion controls with a label of their own, the most usual first; the rest is `other`.
CONTROLS: Final = ("cubic", "bbr", "reno", "dctcp", "bbr2", "bbr3")

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
_PORTS: Final = 1 << 16
_LISTEN: Final = 10


class PortGroups:
    """Groups of ports by name: `{"web": [80, 443]}`. Raises `ConfigurationError` for what cannot be."""

    def __init__(self, groups: Mapping[str, Sequence[int]]) -> None:
        if len(groups) > MOST_GROUPS:
            raise ConfigurationError(
                f"{len(groups)} port groups are more than {MOST_GROUPS}.",
                "Every group multiplies the number of series that Prometheus keeps of each host.",
                "Join some of them.",
            )
        self.names = (OTHER, *groups)
        self.of_port = np.zeros(_PORTS, np.uint8)
        for number, (name, ports) in enumerate(groups.items(), 1):
            if not _NAME.fullmatch(name) or name == OTHER:
                raise ConfigurationError(
                    f"{name!r} is no name of a port group.",
                    f"Names are a to z, 0 to 9 and _, at most 32; {OTHER!r} is what is in no group.",
                )
            for port in ports:
                if type(port) is not int or not 0 < port < _PORTS:
                    raise ConfigurationError(f"{port!r} in port group {name} is no port.", "", "Ports are 1 to 65535.")
                if self.of_port[port]:
                    other = self.names[self.of_port[port]]
                    raise ConfigurationError(f"Port {port} is in two groups, {other} and {name}.")
                self.of_port[port] = number


class Classifier:
    """Numbers the class of each row, in a byte; a poll's listeners are remembered by namespace."""

    def __init__(self, groups: PortGroups) -> None:
        self._groups = groups
        self._controls = len(CONTROLS) + 1
        words = np.array([name.encode() for name in CONTROLS], "S8").view(np.uint64)
        self._words = tuple(enumerate(words.tolist()))
        self._last: dict[str | None, NDArray[np.uint16]] = {}
        self._now: dict[str | None, NDArray[np.uint16]] = {}
        # By port, whether there is a listener; of one namespace at a time, for batches of it follow one another.
        self._table: tuple[str | None, NDArray[np.bool_]] | None = None

    @property
    def classes(self) -> int:
        """How many there are, whatever the host does."""
        return len(DIRECTIONS) * len(self._groups.names) * self._controls

    def meaning(self, number: int) -> Class:
        """The class that `number` stands for."""
        rest, control = divmod(number, self._controls)
        direction, group = divmod(rest, len(self._groups.names))
        return Class(DIRECTIONS[direction], self._groups.names[group], (*CONTROLS, OTHER)[control])

    def listen(self, batch: Batch, states: NDArray[np.uint8]) -> None:
        """Notes the listeners of a batch."""
        listening = states == _LISTEN
        if "idiag_sport" in batch.columns and listening.any():
            netns = batch.context.netns
            ports = batch.columns["idiag_sport"][listening].astype(np.uint16)
            known = self._now.get(netns)
            self._now[netns] = np.unique(ports if known is None else np.concatenate((known, ports)))
            self._table = None

    def classify(self, batch: Batch) -> NDArray[np.intp]:
        """The number of each row's class, (rows,)."""
        local = _ports(batch, "idiag_sport")
        inbound = self._listening(batch.context.netns)[local]
        service = np.where(inbound, local, _ports(batch, "idiag_dport"))
        number = self._groups.of_port[service]
        number += inbound.view(np.uint8) * np.uint8(len(self._groups.names))
        number *= np.uint8(self._controls)
        number += self._control(batch)
        return number.astype(np.intp)

    def end_poll(self) -> None:
        """What listened in this poll is the last poll's now."""
        self._last, self._now = self._now, {}
        self._table = None

    def _listening(self, netns: str | None) -> NDArray[np.bool_]:
        """By port, whether there is a listener in `netns`."""
        if self._table is None or self._table[0] != netns:
            table = np.zeros(_PORTS, np.bool_)
            for listeners in (self._last, self._now):
                if netns in listeners:
                    table[listeners[netns]] = True
            self._table = (netns, table)
        return self._table[1]

    def _control(self, batch: Batch) -> NDArray[np.uint8]:
        """By row, the place in `CONTROLS`, or one behind them."""
        other = len(CONTROLS)
        number = np.full(batch.rows, other, np.uint8)
        names = batch.columns.get("cong")
        if names is None:
            return number
        words = np.ascontiguousarray(names, "S16").view(np.uint64).reshape(-1, 2)
        first = np.where(words[:, 1] == 0, words[:, 0], np.uint64(0))
        left = batch.rows
        for place, word in self._words:
            same = first == word
            found = int(np.count_nonzero(same))
            if found:
                number -= same.view(np.uint8) * np.uint8(other - place)
                left -= found
            if not left:
                break
        return number


def _ports(batch: Batch, name: str) -> NDArray[np.uint16]:
    found = batch.columns.get(name)
    return np.zeros(batch.rows, np.uint16) if found is None else found.astype(np.uint16, copy=False)
