"""`python -m xtcp`, and the command `xtcp`."""

from __future__ import annotations

import sys

from xtcp.cli.main import run


def main() -> None:
    """Runs the command and ends the process with its exit code."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
