"""The passwords among the settings, so that no line of a log shows one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from xtcp.sinks.destination import shown

if TYPE_CHECKING:
    from xtcp.settings.effective import Settings

_USER_INFO: Final = re.compile(r"://([^/?]*)@")


def secrets_of(settings: Settings) -> list[str]:
    """Values of options that are shown as `***`, and what stands before the @ of a URL; as written and as meant."""
    found: set[str] = set()
    for destination in settings.dest:
        for name, value in destination.options.items():
            if shown(f"{name}=value") != f"{name}=value":
                found.add(value)
        for info in _USER_INFO.findall(f"://{destination.address}") + _USER_INFO.findall(destination.address):
            found.update((info, info.partition(":")[2]))
    return sorted(found | {unquote(text) for text in found} - {""})
