"""Texts to values. Each raises `ValueError` with a sentence for people, or an `XtcpError`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from xtcp import amounts

LEVELS: Final = ("debug", "info", "warning", "error")
FORMATS: Final = ("auto", "text", "json")

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
_YES: Final = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


@dataclass(frozen=True)
class Address:
    """Where to listen: a host as it was written, without brackets, and a port; 0 is any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class PortGroup:
    """Local ports that one service listens on, under one name: pairs of first and last."""

    name: str
    ports: tuple[tuple[int, int], ...]

    def numbers(self) -> list[int]:
        """Each port once."""
        return sorted({port for first, last in self.ports for port in range(first, last + 1)})


def text(value: str) -> str:
    """As it is."""
    return value


def switch(value: str) -> bool:
    """Yes or no."""
    found = _YES.get(value.lower())
    if found is None:
        raise ValueError(f"{value!r} is neither true nor false")
    return found


def interval(value: str) -> float:
    """Seconds between polls."""
    return _between(amounts.duration(value), value, 0.01, 86_400.0, "10ms to 1d")


def deadline(value: str) -> float:
    """Seconds that a poll may take."""
    return _between(amounts.duration(value), value, 0.01, 3_600.0, "10ms to 1h")


def receive_timeout(value: str) -> float:
    """Seconds that one receive waits. A number alone would be milliseconds to xTCP and seconds to us: refused."""
    if value.isascii() and value.replace(".", "").isdecimal():
        raise ValueError(f"{value!r} has no unit; write 50ms or 0.05s")
    return _between(amounts.duration(value), value, 0.001, 10.0, "1ms to 10s")


def _between(seconds: float, value: str, least: float, most: float, names: str) -> float:
    if not least <= seconds <= most:
        raise ValueError(f"{value!r} is out of range; it may be {names}")
    return seconds


def whole(value: str) -> int:
    """A number from 0."""
    return _number(value, 0, 10**9)


def modulus(value: str) -> int:
    """One in so many."""
    return _number(value, 1, 10**9)


def sequence(value: str) -> int:
    """A number that a netlink message carries; 0 is what the kernel's own notifications carry."""
    return _number(value, 1, (1 << 32) - 1)


def niceness(value: str) -> int:
    """How much the scheduler may prefer others."""
    return _number(value, 0, 19)


def memory(value: str) -> int:
    """Bytes, enough for the agent to live."""
    size = amounts.size(value)
    if size < 64 << 20:
        raise ValueError(f"{value!r} is too little memory; the agent itself needs 64M")
    return size


def _number(value: str, least: int, most: int) -> int:
    if not (value.isascii() and value.isdecimal() and least <= int(value) <= most):
        raise ValueError(f"{value!r} is no whole number from {least} to {most}")
    return int(value)


def listen(value: str) -> Address | None:
    """HOST:PORT, or PORT on loopback, or `off`."""
    if value == "off":
        return None
    host, colon, port = value.rpartition(":")
    host = (host[1:-1] if host.startswith("[") and host.endswith("]") else host) if colon else "127.0.0.1"
    if not port.isascii() or not port.isdecimal() or int(port) > 65_535:
        raise ValueError(f"{value!r} is no address; write HOST:PORT with a port from 0 to 65535, or off")
    if not host or ("[" in host or "]" in host) or (":" in host and not value.startswith("[")):
        raise ValueError(f"{value!r} is no address; write 127.0.0.1:9000, [::1]:9000, or off")
    return Address(host, int(port))


def level(value: str) -> str:
    """The least important events that are logged."""
    return _one_of(value, LEVELS)


def log_format(value: str) -> str:
    """How log lines are written."""
    return _one_of(value, FORMATS)


def _one_of(value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        from xtcp.spelling import meant

        raise ValueError(f"{value!r} is none of {', '.join(choices)}. {meant(value, choices)}".rstrip())
    return value


def port_group(value: str) -> PortGroup:
    """`name=80,443,8000-8099`."""
    name, equals, ports = value.partition("=")
    if not equals or _NAME.fullmatch(name) is None:
        raise ValueError(f"{value!r} is no group; write web=80,443,8000-8099 (a name of a-z, 0-9 and _)")
    if name == "other":
        raise ValueError("the group 'other' is that of all ports in no group")
    return PortGroup(name, tuple(_ports(value, part.strip()) for part in ports.split(",")))


def _ports(value: str, part: str) -> tuple[int, int]:
    first, dash, last = part.partition("-")
    last = last if dash else first
    for one in (first, last):
        if not (one.isascii() and one.isdecimal() and 1 <= int(one) <= 65_535):
            raise ValueError(f"{value!r}: {part!r} is no port from 1 to 65535, nor two with a - between")
    if int(last) < int(first):
        raise ValueError(f"{value!r}: {part!r} ends before it begins")
    return int(first), int(last)
