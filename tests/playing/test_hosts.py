"""Names of hosts."""

from __future__ import annotations

import pytest

from xtcp.errors import UsageError
from xtcp_replay.playing.hosts import Hosts


def test_names() -> None:
    """Numbered from 1, with the row's own name or another."""
    assert list(Hosts(3).names("edge7")) == ["edge7-0001", "edge7-0002", "edge7-0003"]
    assert list(Hosts(2).names(None)) == ["host-0001", "host-0002"]
    assert list(Hosts(2, "{n}.{name}.example").names("a")) == ["1.a.example", "2.a.example"]
    assert list(Hosts(1, "canary").names("a")) == ["canary"]


@pytest.mark.parametrize(
    ("count", "pattern"),
    [(2, "same"), (2, "{name}"), (1, "{"), (1, "{other}"), (1, "{}"), (1, "{n:x{n}z}"), (2, "{n.a}")],
)
def test_patterns_that_make_no_names(count: int, pattern: str) -> None:
    """Several hosts of one name, and what str.format does not take, are refused with the form."""
    with pytest.raises(UsageError, match=r"\{name\}-\{n:04d\}"):
        Hosts(count, pattern)
