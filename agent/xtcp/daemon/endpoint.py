"""Endpoint: what serves /metrics, /-/healthy and /-/ready, as the agent sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from xtcp.health.snapshot import HealthSnapshot
    from xtcp.metrics.agent_state import AgentState


class Endpoint(Protocol):
    """Has a thread of its own, and nothing that asks it can hold up a poll."""

    @property
    def url(self) -> str:
        """Where the metrics are."""
        ...

    def publish(self, state: AgentState, snapshot: HealthSnapshot | None) -> None:
        """What is served from here on."""
        ...

    def reload(self) -> None:
        """Reads its own configuration again. Raises `XtcpError`; the old one then stays."""
        ...

    def stop(self) -> None:
        """Serves no more."""
        ...
