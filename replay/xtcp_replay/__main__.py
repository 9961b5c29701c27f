"""`python -m xtcp_replay`, and the command `xtcp-replay`."""

from __future__ import annotations

import sys

from xtcp_replay.cli.main import run


def main() -> None:
    """Runs the command and ends the process with its exit code."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
