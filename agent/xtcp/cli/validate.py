"""`xtcp validate`: what `xtcp run` would do with these flags, variables and this file; nothing is opened or started."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from xtcp.cli.command import say
from xtcp.errors import ExitCode

_EXAMPLES = """\
examples:
  xtcp validate --config /etc/xtcp/xtcp.toml                  every fault of the file, each with its line
  xtcp validate --config xtcp.toml --show-origin              what each setting is, and who said so
  XTCP_FREQUENCY=10s xtcp validate --dest kafka:broker:9092/tcp
"""


def add_parser(verbs: Any) -> None:
    """Adds the verb to argparse's `subparsers`."""
    from xtcp.settings.options import add_options

    parser = verbs.add_parser(
        "validate",
        help="check a configuration",
        description="Checks flags, XTCP_* variables and the configuration file as `xtcp run` does, and prints the "
        "settings that come out. Passwords are not printed.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--show-origin", action="store_true", help="say for each setting where it comes from")
    parser.add_argument("-q", "--quiet", action="store_true", help="print faults only")
    add_options(parser)
    parser.set_defaults(handler=handle)


def handle(args: argparse.Namespace) -> int:
    """Runs the verb; returns the exit code."""
    from xtcp.settings.effective import load
    from xtcp.settings.options import given
    from xtcp.settings.rendered import effective

    settings = load(given(args), os.environ, args.config)
    if settings.web_config is not None:
        from xtcp.web.configuration import load as load_web

        load_web(Path(settings.web_config))
    for note in settings.resolved.notes:
        say(f"note: {note}")
    if not args.quiet:
        print("\n".join(effective(settings, origins=args.show_origin)))
    return ExitCode.OK
