"""A command on another kernel: `python -m qemu.boot GUEST -- COMMAND ARGUMENT…`.

What the command says is on standard output as it comes, nothing else is; its exit code is this program's. Everything
else, of building, of the guest and of failures, is on standard error.
"""

from __future__ import annotations

import argparse
import enum
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from qemu import cache, initramfs, machine
from qemu.guests import GUESTS, Guest, guest
from qemu.kernel import kernel
from qemu.machine import Fate, Machine, Run
from qemu.programs import require
from qemu.userland import userland
from xtcp.amounts import count
from xtcp.cli.command import Parser, argument, say
from xtcp.errors import ExitCode, UsageError, XtcpError

_LAST_LINES: Final = 20
_LIMIT_S: Final = 600
_MEMORY_MIB: Final = 2048


class Failed(enum.IntEnum):
    """What this program ends with where it cannot say what the command ended with."""

    LIMIT = 124
    GUEST = 125


_EPILOG: Final = """\
The command runs as root in the repository, which lies at /xtcp as it is here, with PYTHONPATH set. What it writes to
/out comes to the folder of --out, if it ends; 1 GiB at most.

examples:
  python -m qemu.boot s390x:bookworm -- uname -a
  python -m qemu.boot s390x:forky -- xtcp once --format json
  python -m qemu.boot --out seen x86-64:trixie -- sh -c 'ss -tin >/out/ss.txt'
  python -m qemu.boot --prepare ppc64:bookworm           only build what it needs, for later

exit codes:
  the command's own, if it ended and its results are whole; a signal's number and 128 if one ended it
    2  wrong usage: there is no such guest or option
   69  packages cannot be had or built
   78  a program is missing here, or this machine does not fit
  124  it was still running at its limit; the console's last lines are shown
  125  the guest failed: it did not start, panicked, ran out of memory, or left no whole results; lines are shown
  130  interrupted (143: terminated); the guest is gone
A command that ends with one of these itself is not told from them, but by the line on standard error.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = Parser(
        prog="qemu.boot",
        description="Runs a command in a machine under qemu, on another kernel and another processor.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        usage="python -m qemu.boot [OPTION]… GUEST -- COMMAND [ARGUMENT]…",
    )
    number = argument(count)
    top.add_argument("guest", metavar="GUEST", nargs="?", help="what to boot: see --list")
    top.add_argument("--list", action="store_true", help="print the names of all guests")
    top.add_argument("--prepare", action="store_true", help="only build the guest's kernel and userland, if need be")
    top.add_argument("--out", metavar="DIR", type=Path, help="where what the command leaves in /out comes to")
    top.add_argument(
        "--limit", metavar="SECONDS", type=number, default=_LIMIT_S, help="the guest's; default: %(default)s"
    )
    top.add_argument("--memory", metavar="MIB", type=number, default=_MEMORY_MIB, help="default: %(default)s")
    top.add_argument("--append", metavar="ARGUMENTS", default="", help="more arguments for the kernel")
    top.add_argument("--console", metavar="FILE", type=Path, help="write all that the console says there")
    top.add_argument("--kvm", action="store_true", help="let this machine's KVM run a guest of its own architecture")
    return top


def main(argv: Sequence[str]) -> int:
    """Runs the program; returns its exit code."""
    signal.signal(signal.SIGTERM, _terminated)
    try:
        ours, command = _divided(argv)
        return _run(parser().parse_args(ours), command)
    except SystemExit as wish:  # argparse's, after --help, and _terminated's
        return wish.code if isinstance(wish.code, int) else ExitCode.USAGE
    except KeyboardInterrupt:
        say("qemu.boot: interrupted")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:  # nobody reads any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except XtcpError as error:
        say(f"qemu.boot: {error}")
        return error.exit_code


def _divided(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is for this program, and the command behind the first `--`, whose options are its own."""
    words = list(argv)
    end = words.index("--") if "--" in words else len(words)
    return words[:end], words[end + 1 :]


def _terminated(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _run(args: argparse.Namespace, command: Sequence[str]) -> int:
    if args.list:
        print("\n".join(known.name for known in GUESTS))
        return ExitCode.OK
    if args.guest is None:
        raise UsageError("No guest is named.", "", "See: python -m qemu.boot --help")
    chosen = guest(args.guest)
    if not (args.prepare or command):
        raise UsageError("No command is named.", "", f"For example: python -m qemu.boot {chosen.name} -- uname -a")
    if not args.prepare:
        require(chosen.architecture.system_program, chosen.architecture.system_package)
    programs, its_kernel = userland(chosen.architecture, chosen.userland), kernel(chosen)
    if args.prepare:
        return ExitCode.OK
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
    boot = Machine(chosen.architecture, its_kernel.image, args.memory, args.limit, arguments=args.append, kvm=args.kvm)
    with ExitStack() as stack:
        console = stack.enter_context(args.console.open("wb")) if args.console else None
        files = stack.enter_context(tempfile.TemporaryFile(dir=cache.folder()))
        initramfs.write(files, programs, chosen.userland, its_kernel.modules, command)
        files.flush()
        done = machine.run(boot, files, sys.stdout.buffer, args.out, console)
    return _told(chosen, args.limit, done)


def _told(chosen: Guest, limit_s: int, done: Run) -> int:
    """Says what became of the guest, and gives the exit code."""
    match done.fate:
        case Fate.DONE:
            assert done.code is not None
            times = f"{done.took_s:.0f} s, of which {done.booted_s:.0f} s until its first process"
            say(f"{chosen.name}: {done.kernel}: the command ended with {done.code}; {times}")
            return done.code
        case Fate.LIMIT:
            what, code = f"reached its limit of {limit_s} s.", Failed.LIMIT
        case _:
            what, code = f"failed after {done.took_s:.0f} s.", Failed.GUEST
    last = list(done.console)[-_LAST_LINES:]
    say("The console's last lines:" if last else "The console said nothing.")
    for line in last:
        say(f"  {line}")
    say(f"{chosen.name} {what} {done.why}")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
