"""Where do the sockets of a test live? In a network namespace that nothing else uses and that is gone afterwards.

In: nothing, or sysctls. Out: the name of a namespace with ``lo`` up, processes and forked functions in it. Needs root
and the commands ``ip`` (iproute2), ``unshare`` and ``nsenter`` (util-linux). The calling process never changes its own
namespace, and no sysctl of the host is written.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import pickle
import signal
import subprocess
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, TypeVar

_T = TypeVar("_T")

_CLONE_NEWNET: Final = 0x40000000
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_NUMBERS: Final = itertools.count(1)

_WITH_SMALL_TABLE: Final = 'echo "$1" >/proc/sys/net/ipv4/tcp_child_ehash_entries && exec ip netns add "$2"'
_REMOVE_AT_END: Final = 'read -r _; exec ip netns del "$1"'


class Closable(Protocol):
    """What ``keep`` holds open."""

    def close(self) -> None:
        """Gives up what is held."""


_C = TypeVar("_C", bound=Closable)


@contextmanager
def namespace(
    label: str = "test", *, sysctls: Mapping[str, int | str] | None = None, ehash_entries: int | None = None
) -> Iterator[str]:
    """A fresh network namespace with ``lo`` up; yields its name, as ``ip netns`` knows it.

    ``sysctls`` are written in it (``{"net.ipv4.tcp_ecn": 1}``). ``ehash_entries`` gives it a table of established
    sockets of its own with so many buckets (kernel 6.1 and later): the kernel reads
    ``net.ipv4.tcp_child_ehash_entries`` of the namespace that the new one is made from, so a throw-away one serves.
    The namespace is removed by a process that waits for the end of this one, thus even after SIGKILL.
    Raises subprocess.CalledProcessError when it cannot be made, OSError for a sysctl that the kernel does not have.
    """
    name = f"xtcp-{label}-{os.getpid()}-{next(_NUMBERS)}"
    add = ["ip", "netns", "add", name]
    if ehash_entries is not None:
        add = ["unshare", "--net", "sh", "-c", _WITH_SMALL_TABLE, "sh", str(ehash_entries), name]
    subprocess.run(add, check=True, capture_output=True, text=True)
    remover = subprocess.Popen(["sh", "-c", _REMOVE_AT_END, "sh", name], stdin=subprocess.PIPE, start_new_session=True)
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True, capture_output=True, text=True)
        if sysctls:
            inside(name, _write_sysctls, dict(sysctls))
        yield name
    finally:
        remover.communicate(b"\n", timeout=60)


def _write_sysctls(sysctls: Mapping[str, int | str]) -> None:
    for name, value in sysctls.items():
        Path("/proc/sys", *name.split(".")).write_text(f"{value}\n")


def run_in(
    ns: str, argv: Sequence[str | Path], *, timeout: float = 120.0, **options: Any
) -> subprocess.CompletedProcess[str]:
    """``subprocess.run(argv, text=True)`` in the namespace; output is captured unless ``options`` say otherwise.

    By ``nsenter``, because ``ip netns exec`` hides what is mounted below /sys, the cgroups with it.
    """
    if "stdout" not in options and "stderr" not in options:
        options.setdefault("capture_output", True)
    return subprocess.run(command_in(ns, argv), timeout=timeout, text=True, check=False, **options)


def command_in(ns: str, argv: Sequence[str | Path]) -> list[str]:
    """The command line that runs ``argv`` in the namespace."""
    return ["nsenter", f"--net=/run/netns/{ns}", "--", *map(str, argv)]


def inside(ns: str, function: Callable[..., _T], *args: object, timeout: float = 60.0) -> _T:
    """``function(*args)`` in a forked child in the namespace; returns what it returns, pickled on the way.

    What it raises is raised here, with the child's traceback as a note. Raises TimeoutError when the child needs
    longer than ``timeout`` seconds (it is ended), ChildProcessError when it ends without an answer.
    """

    def answer(wire: Connection) -> None:
        wire.send(_Answer(function(*args)))

    with _child(ns, answer) as wire:
        result: _T = _receive(wire, timeout)
    return result


@contextmanager
def keep(ns: str, opened: Callable[[], _C], tell: Callable[[_C], _T], *, timeout: float = 60.0) -> Iterator[_T]:
    """Holds ``opened()`` open in a forked child in the namespace; yields ``tell`` of it, pickled on the way.

    With it the caller looks from outside at sockets of another process, as the product does. Raises as ``inside``.
    """

    def answer(wire: Connection) -> None:
        held = opened()
        try:
            wire.send(_Answer(tell(held)))
            wire.poll(None)
        finally:
            held.close()

    with _child(ns, answer) as wire:
        yield _receive(wire, timeout)


class _Answer(NamedTuple):
    value: Any


class _Failure(NamedTuple):
    error: BaseException
    trace: str


@contextmanager
def _child(ns: str, answer: Callable[[Connection], None]) -> Iterator[Connection]:
    ours, theirs = Pipe()
    with warnings.catch_warnings():
        # Python 3.12 warns of any fork while NumPy's threads exist; the child runs plain Python and never returns.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        ours.close()
        _be_child(ns, partial(answer, theirs), theirs)
    theirs.close()
    try:
        yield ours
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        ours.close()
        os.waitpid(pid, 0)


def _be_child(ns: str, body: Callable[[], None], wire: Connection) -> None:
    status = 1
    try:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        _enter(ns)
        body()
        status = 0
    except BaseException as error:  # noqa: BLE001 - whatever it is, the parent raises it
        wire.send(_failure(error))
    finally:
        os._exit(status)


def _failure(error: BaseException) -> _Failure:
    trace = traceback.format_exc()
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - pickling calls code of any class
        error = RuntimeError(repr(error))
    return _Failure(error, trace)


def _receive(wire: Connection, timeout: float) -> Any:
    if not wire.poll(timeout):
        raise TimeoutError(f"the child in the network namespace gave no answer in {timeout:g} s")
    try:
        answer = wire.recv()
    except EOFError:
        raise ChildProcessError("the child in the network namespace ended without an answer") from None
    if isinstance(answer, _Failure):
        answer.error.add_note(f"In the child in the network namespace:\n{answer.trace}")
        raise answer.error
    return answer.value


def enter(process: int) -> None:
    """Puts the calling thread, and those it starts, into the network namespace of a process."""
    _set(Path(f"/proc/{process}/ns/net"))


def _enter(ns: str) -> None:
    _set(Path("/run/netns", ns))


def _set(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _LIBC.setns(descriptor, _CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, f"setns: {os.strerror(number)}", str(file))
    finally:
        os.close(descriptor)
