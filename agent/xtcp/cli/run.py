"""`xtcp run`: the agent. Polls this host on a schedule and delivers the rows, until it is told to end."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from typing import TYPE_CHECKING, Any

from xtcp.settings.options import add_options
from xtcp.sinks.schemes import overview

if TYPE_CHECKING:
    from xtcp.daemon.log import Log
    from xtcp.daemon.view import View
    from xtcp.settings.effective import Settings

_EXAMPLES = """\
examples:
  xtcp run                                       into the store of this machine; read it with: xtcp query
  xtcp run --dest kafka:broker:9092/tcp --dest parquet:/data/tcp
  xtcp run --dest stdout: | jq .tcpi_rtt         every row as a JSON object
  xtcp run --config /etc/xtcp/xtcp.toml          as a service; SIGHUP reads the file again
  xtcp run --frequency 1s --max-loops 5          five polls, and the end

Each option is also a variable (--max-loops: XTCP_MAX_LOOPS) and a key of the file (max_loops).
SIGTERM and Ctrl-C send what is left and end it; a second one ends it at once.

destinations, several at once, each --dest of its own:
"""


def add_parser(verbs: Any) -> None:
    """Adds the verb to argparse's `subparsers`."""
    parser = verbs.add_parser(
        "run",
        help="poll on a schedule, deliver the rows",
        description="The agent: polls every TCP socket of this host on a schedule, and delivers the rows.",
        epilog=_EXAMPLES + overview(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_options(parser)
    parser.set_defaults(handler=handle)


def handle(args: argparse.Namespace) -> int:
    """Runs the verb; returns the exit code."""
    from xtcp.daemon.signals import Signals

    # No matrix is multiplied here: OpenBLAS' threads, one a core, would be for nothing.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    signals = Signals()
    # First of all: process 1 of a container gets no signal that it has no handler for.
    with signals.handled():
        from xtcp.settings.effective import load, reloaded
        from xtcp.settings.options import given

        flags = given(args)
        settings = load(flags, os.environ, args.config)
        view = _view(settings)
        log = _log(settings, view)

        from xtcp.daemon.agent import Agent
        from xtcp.daemon.endpoint import open_endpoint
        from xtcp.daemon.log import FromLibraries
        from xtcp.daemon.notify import Notifier

        libraries = FromLibraries(log)
        logging.getLogger().addHandler(libraries)
        try:
            return Agent(
                settings,
                read_again=lambda before: reloaded(before, flags, os.environ),
                taken=lambda now: _configure(log, now, view),
                signals=signals,
                log=log,
                notifier=Notifier(),
                view=view,
                make_endpoint=lambda now, judge: open_endpoint(
                    now, judge, lambda error: log.warning("metrics_off", error=str(error))
                ),
            ).run()
        finally:
            logging.getLogger().removeHandler(libraries)


def _view(settings: Settings) -> View | None:
    """What a terminal shows; None where standard output is none, or takes rows."""
    if sys.stdout is None or not sys.stdout.isatty() or any(d.scheme == "stdout" for d in settings.dest):
        return None
    from xtcp.daemon.view import View

    return View()


def _log(settings: Settings, view: View | None) -> Log:
    from xtcp.daemon.log import Log

    log = Log()
    _configure(log, settings, view)
    return log


def _configure(log: Log, settings: Settings, view: View | None) -> None:
    from xtcp.settings.secrets import secrets_of

    terminal = sys.stderr is not None and sys.stderr.isatty()
    machine = settings.log_format == "json" or (settings.log_format == "auto" and not terminal)
    # Where the polls are shown, what is as it should be is shown by them.
    least = settings.log_level or ("info" if view is None else "warning")
    log.configure(least, machine=machine, secrets=secrets_of(settings))
