"""How every command ends: arguments to exit code.

`run_command` never raises: an `XtcpError` becomes its three-part message on standard error and its exit code, Ctrl-C
becomes 130, a closed standard output (`| head`) a quiet 0. Anything else is a fault of this program: 70, with the
traceback, because that is what a report needs.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

from xtcp.errors import ExitCode, UsageError, XtcpError
from xtcp.sinks.text_file import TextFile
from xtcp.spelling import meant, visible

EXIT_CODES: Final = """\
exit codes:
  0  done                              70  internal error
  1  a difference was found            75  temporary failure, try again
  2  wrong usage                       77  permission missing
  3  damaged or quarantined input      78  configuration
 69  kernel or far side unavailable   130  interrupted
"""

_STDOUT, _STDERR = 1, 2


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose complaints are `UsageError`, and which says what a wrong option may have meant."""

    def error(self, message: str) -> NoReturn:
        """Raises instead of exiting."""
        raise UsageError(message, "", f"See: {self.prog} --help")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Complains here of what is left over: the parser above does not know this command's options."""
        parsed, left = super().parse_known_args(args, namespace)
        if left:
            name = left[0].partition("=")[0]
            what = f"there is no option {name}" if name.startswith("-") else f"{name!r} is one argument too many"
            raise UsageError(what, meant(name, self._option_string_actions), f"See: {self.prog} --help")
        return parsed, left


_T = TypeVar("_T")


def argument(parse: Callable[[str], _T]) -> Callable[[str], _T]:
    """`parse` as argparse's `type`: the sentence of its `ValueError` is shown."""

    def parsed(text: str) -> _T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parsed


def run_command(make_parser: Callable[[], argparse.ArgumentParser], argv: Sequence[str]) -> int:
    """Parses `argv` and calls the chosen verb's `handler`, which returns an exit code."""
    _prepare_streams()
    top = make_parser()
    try:
        code = _run(top, argv)
        _flush()
    except BrokenPipeError:
        _silence(_STDOUT)
        return ExitCode.OK
    except KeyboardInterrupt:
        # Who reads may be what we were waiting for: what is still buffered is given up.
        _silence(_STDOUT)
        say("interrupted")
        return ExitCode.INTERRUPTED
    except XtcpError as error:
        say(f"{top.prog}: {error}")
        code = error.exit_code
    except MemoryError:
        say(
            f"{top.prog}: There is not enough memory.\n"
            "Usually a limit was set on this process or its container, or others need the machine's.\n"
            "Raise the limit (ulimit -v), or try again."
        )
        code = ExitCode.TEMPORARY
    except ModuleNotFoundError as error:
        if error.name != "numpy":
            say(traceback.format_exc() + f"{top.prog}: this is a fault of xtcp. Please report the lines above.")
            return ExitCode.INTERNAL
        say(
            f"{top.prog}: NumPy is not installed.\n"
            "Usually this is another Python than the one that xtcp was installed with.\n"
            "Install it there: pip install numpy (Debian: apt-get install python3-numpy)."
        )
        code = ExitCode.CONFIGURATION
    except Exception:  # noqa: BLE001 - the last line of defence: an exit code and a report
        say(traceback.format_exc() + f"{top.prog}: this is a fault of xtcp. Please report the lines above.")
        code = ExitCode.INTERNAL
    else:
        return code
    try:
        _flush()
    except (OSError, XtcpError, KeyboardInterrupt):
        _silence(_STDOUT)
    return code


def _prepare_streams() -> None:
    """Text is UTF-8 whatever the locale says; a standard error that is closed takes everything and keeps nothing."""
    if sys.stderr is None:  # print() would turn to standard output
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - open as long as the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _flush() -> None:
    if sys.stdout is not None:
        TextFile("-").flush()


def _run(top: argparse.ArgumentParser, argv: Sequence[str]) -> int:
    try:
        args = top.parse_args(list(argv))
    except SystemExit as wish:  # argparse's way to end after --help and --version
        return wish.code if isinstance(wish.code, int) else ExitCode.USAGE
    if args.verb is None:
        top.print_help()
        return ExitCode.USAGE
    code: int = args.handler(args)
    return code


def say(text: str) -> None:
    """Lines for people, on standard error; nothing where nobody reads it any more.

    Names of files and texts of captures are in them: none moves the terminal's cursor.
    """
    try:
        print("\n".join(map(visible, text.split("\n"))), file=sys.stderr)
    except OSError:
        _silence(_STDERR)


def _silence(descriptor: int) -> None:
    """What is still buffered for `descriptor` goes nowhere, so that the flush at exit has nothing to complain of."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
