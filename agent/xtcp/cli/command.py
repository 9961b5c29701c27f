"""How every command ends: arguments to exit code.

`run_command` never raises: an `XtcpError` becomes its three-part message on standard error and its exit code, Ctrl-C
becomes 130, a closed standard output (`| head`) a quiet 0. Anything else is a fault of this program: 70, with the
traceback, because that is what a report needs.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

from xtcp.errors import ExitCode, UsageError, XtcpError

EXIT_CODES: Final = """\
exit codes:
  0  done                              70  internal error
  2  wrong usage                       75  temporary failure, try again
  3  damaged or quarantined input      77  permission missing
 69  kernel or far side unavailable    78  configuration
                                      130  interrupted
"""


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose complaints are `UsageError`."""

    def error(self, message: str) -> NoReturn:
        """Raises instead of exiting."""
        raise UsageError(f"{self.prog}: {message}", "", f"See: {self.prog} --help")


def run_command(make_parser: Callable[[], argparse.ArgumentParser], argv: Sequence[str]) -> int:
    """Parses `argv` and calls the chosen verb's `handler`, which returns an exit code."""
    try:
        top = make_parser()
        args = top.parse_args(list(argv))
        if args.verb is None:
            top.print_help()
            return ExitCode.USAGE
        code: int = args.handler(args)
        sys.stdout.flush()
    except SystemExit as wish:  # argparse's way to end after --help and --version
        return wish.code if isinstance(wish.code, int) else ExitCode.USAGE
    except BrokenPipeError:
        # What is still buffered has no reader; a second flush at exit must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return ExitCode.OK
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return ExitCode.INTERRUPTED
    except XtcpError as error:
        print(f"xtcp: {error}", file=sys.stderr)
        return error.exit_code
    except Exception:  # noqa: BLE001 - the last line of defence: an exit code and a report
        traceback.print_exc()
        print("xtcp: this is a fault of xtcp. Please report the lines above.", file=sys.stderr)
        return ExitCode.INTERNAL
    return code
