"""What `xtcp-replay verify --json` ends with."""

from __future__ import annotations

from typing import Any

Result = tuple[int, dict[str, Any], str]


def of(result: dict[str, Any], name: str) -> dict[str, Any]:
    """A witness' part of the result."""
    return next(witness for witness in result["witnesses"] if witness["witness"] == name)
