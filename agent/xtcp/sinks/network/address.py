"""`HOST:PORT` as people write it: a name, 192.0.2.1, [2001:db8::1]; either part may be left out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from xtcp.errors import UsageError

_FORM: Final = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.%\w-]+)\]|(?P<name>[^\[\]:/\s\0]*))(?::(?P<port>[0-9]{1,5}))?")


@dataclass(frozen=True)
class HostPort:
    """Where a far side is; the host may be a name."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def host_port(text: str, default: HostPort, *, of: str) -> HostPort:
    """What `text` names, `default`'s part for what it leaves out. Raises `UsageError`, which names `of`."""
    found = _FORM.fullmatch(text)
    port = default.port if found is None or found["port"] is None else int(found["port"])
    if found is None or not 1 <= port <= 65535:
        raise UsageError(
            f"{of}: {text!r} is no HOST:PORT.",
            "An IPv6 address stands in brackets." if text.count(":") > 1 and "[" not in text else "",
            f"Write it like {default} or [::1]:{default.port}.",
        )
    host = found["six"] or found["name"] or default.host
    try:
        host.encode("idna")
    except UnicodeError as error:
        raise UsageError(f"{of}: {host!r} can be no host's name.", f"{error}", "") from error
    return HostPort(host, port)
