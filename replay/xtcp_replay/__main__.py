"""`python -m xtcp_replay`."""

from __future__ import annotations

import sys

from xtcp_replay.cli import run


def main() -> int:
    """The command `xtcp-replay`."""
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
