"""Running another program that may crash, hang, or write without end."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from tempfile import TemporaryFile
from typing import Final

from xtcp_replay.judging.witnesses.testimony import WitnessFailed

TIMEOUT_S: Final = 60.0
MOST_OUTPUT: Final = 64 << 20
_SAID: Final = 300
_PIECE: Final = 1 << 20


def output_of(
    command: Sequence[str],
    *,
    more: Mapping[str, str] | None = None,
    timeout_s: float | None = None,
    most: int | None = None,
) -> str:
    """What `command` writes to its standard output, in a session of its own, with `more` in its environment.

    Raises `WitnessFailed` where it cannot be run, ends with another code than 0, takes longer than `timeout_s`
    (`TIMEOUT_S`) seconds or writes more than `most` (`MOST_OUTPUT`) bytes; it is dead then, with all that it started.
    """
    timeout_s = TIMEOUT_S if timeout_s is None else timeout_s
    most = MOST_OUTPUT if most is None else most
    environment = {**os.environ, "LC_ALL": "C.UTF-8", **(more or {})}
    with TemporaryFile() as errors:
        try:
            program = subprocess.Popen(  # noqa: S603 - the program is the user's own ss or tshark
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise WitnessFailed(f"it cannot be run: {error}") from error
        late = threading.Event()

        def stop() -> None:
            late.set()
            _kill(program)

        timer = threading.Timer(timeout_s, stop)
        timer.start()
        assert program.stdout is not None
        try:
            # In pieces: a read of `most` bytes would ask for the memory of all of them at once.
            text = bytearray()
            while len(text) <= most and (piece := program.stdout.read(min(_PIECE, most + 1 - len(text)))):
                text += piece
            if len(text) <= most:
                # Its number stays taken until it is waited for below: a kill can meet no other process.
                os.waitid(os.P_PID, program.pid, os.WEXITED | os.WNOWAIT)
        finally:
            timer.cancel()
            timer.join()
            _kill(program)
            program.stdout.close()
            code = program.wait()
        if len(text) > most:
            raise WitnessFailed(f"it writes without end: more than {most:,} bytes")
        if late.is_set():
            raise WitnessFailed(f"it did not end within {timeout_s:g} s")
        if code:
            errors.seek(0)
            said = errors.read(_SAID).decode("utf-8", "replace").strip()
            how = f"was ended by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
            raise WitnessFailed(f"it {how}" + (f": {said}" if said else ""))
    return text.decode("utf-8", "replace")


def _kill(program: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(program.pid, signal.SIGKILL)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
