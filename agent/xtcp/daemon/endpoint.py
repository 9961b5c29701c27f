"""Endpoint: /metrics, /-/healthy and /-/ready of the agent, and the same metrics as a file.

The server has a thread of its own and serves what was published last; only the verdict on the agent's health is made
when it is asked for, because an agent that hangs publishes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from xtcp.errors import XtcpError
from xtcp.metrics.exposition import Exposition
from xtcp.metrics.textfile import write_textfile

if TYPE_CHECKING:
    from xtcp.health.snapshot import HealthSnapshot
    from xtcp.metrics.agent_state import AgentState, Verdict
    from xtcp.settings.effective import Settings
    from xtcp.web.server import Server

    Judge = Callable[[], Verdict]


class Judged(Exposition):
    """An exposition whose verdict is that of the moment."""

    def __init__(self, judge: Judge, *, xtcp_names: bool) -> None:
        super().__init__(xtcp_names=xtcp_names)
        self._judge = judge

    @property
    def verdict(self) -> Verdict:
        """What `judge` says now."""
        return self._judge()


class Endpoint:
    """What is served, and where. `server` None: only the file."""

    def __init__(self, exposition: Exposition, server: Server | None, textfile: Path | None) -> None:
        self._exposition = exposition
        self._server = server
        self._textfile = textfile

    @property
    def url(self) -> str | None:
        """Where the metrics are; None where nothing is served."""
        return None if self._server is None else f"{self._server.url}metrics"

    def publish(self, state: AgentState, snapshot: HealthSnapshot | None) -> None:
        """What is served from here on. Raises `XtcpError` where the file cannot be written."""
        self._exposition.publish(state, snapshot)
        if self._textfile is not None:
            write_textfile(self._textfile, self._exposition)

    def reload(self) -> None:
        """Reads the web configuration again. Raises `XtcpError`; the old one then stays."""
        if self._server is not None:
            self._server.reload()

    def stop(self) -> None:
        """Serves no more."""
        if self._server is not None:
            self._server.stop(1.0)


def open_endpoint(settings: Settings, judge: Judge, off: Callable[[XtcpError], None]) -> Endpoint | None:
    """The endpoint of these settings, None where there is none.

    What nobody asked for may fail: the default port may be another's, or the extra not installed. Then `off` is told
    the reason, and the agent does without. Raises `XtcpError` where somebody asked.
    """
    textfile = None if settings.textfile is None else Path(settings.textfile)
    asked = any(map(settings.asked_for, ("listen", "web_config", "textfile", "xtcp_names")))
    if settings.listen is None and textfile is None:
        return None
    try:
        exposition = Judged(judge, xtcp_names=settings.xtcp_names)
        server = None
        if settings.listen is not None:
            from xtcp.web.server import Server

            config = None if settings.web_config is None else Path(settings.web_config)
            server = Server(settings.listen, exposition, config)
            server.start()
    except XtcpError as error:
        if asked:
            raise
        off(error)
        return None
    return Endpoint(exposition, server, textfile)
