"""WholeBatches: rows to a file or to standard output; the destinations `file:` and `stdout:`.

Accepted means handed to the operating system. A batch is one unit: where writing fails in its midst, a file is cut
back to its end before the batch, and the batch is dropped with the errno's name. So a file holds whole rows, exactly
the accepted ones, even where the disk was full for a while and then not.

What was written to a pipe, a device or standard output, which others may write to as well, is not taken back. There
the sink ends with the failure, because rows behind half a row would be misread; the rows of the batch that did get
through are counted as dropped.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from xtcp.errors import UsageError, XtcpError
from xtcp.ledger import CLOSED, Account
from xtcp.sinks.sink import PATIENCE_S, AtOnce
from xtcp.sinks.text_file import file_error

if TYPE_CHECKING:
    from xtcp.batch import Batch
    from xtcp.poll.trailer import Trailer
    from xtcp.sinks.files.form import Form, Piece


class Raw(Protocol):
    """An unbuffered file, as `io.FileIO` is."""

    def write(self, data: memoryview, /) -> int | None:
        """How much of `data` was taken; None where nothing can be, just now."""
        ...

    def fileno(self) -> int:
        """Its descriptor."""
        ...

    def close(self) -> None:
        """Gives the descriptor back."""
        ...


class WholeBatches(AtOnce):
    """A `Sink` that writes what `form` makes to `path`, `-` for standard output.

    A file is emptied first; `again`: it is one of ours, made before a fault of this program, and goes on. Raises
    `XtcpError` where the file cannot be opened, or takes not even what stands before all rows.
    """

    def __init__(self, path: str, form: Form, account: Account, *, option: str = "--dest", again: bool = False) -> None:
        self._path = path
        self._form = form
        self._account = account
        self._option = option
        self._in_hand = 0
        self._ended = ""
        self._closed = False
        self.error: XtcpError | None = None
        account.ask(lambda: self._in_hand)
        self._size = 0
        try:
            self._file = _opened(path, again=again)
        except OSError as error:
            raise file_error(path, error, option) from error
        try:
            self._own = path != "-" and stat.S_ISREG(os.fstat(self._file.fileno()).st_mode)
            if again and self._own:
                self._size = os.lseek(self._file.fileno(), 0, os.SEEK_END)
            if not again or (self._own and not self._size):
                self._size = self._write(form.begin())
        except OSError as error:
            if path == "-" and isinstance(error, BrokenPipeError):
                self._ended = "EPIPE"
                return
            self.close()
            raise file_error(path, error, option) from error

    @property
    def gone(self) -> bool:
        """A reader that left, or a device that failed in the midst of a row."""
        return bool(self._ended)

    def accept(self, batch: Batch) -> None:
        """Writes the rows."""
        if self._ended or self._closed:
            self._account.refuse(batch.rows, self._ended or CLOSED)
            return
        with self._account as account:
            account.offer(batch.rows)
            self._in_hand += batch.rows
        size = 0
        try:
            for piece in self._form.rows(batch):
                size += self._write(piece)
        except OSError as error:
            self._failed(error)
            return
        with self._account as account:
            self._size += size
            account.accept(self._in_hand, size)
            self._in_hand = 0

    def end_poll(self, trailer: Trailer) -> None:
        """Writes the trailer where the form has one."""
        data = self._form.trailer(trailer)
        if not data or self._ended or self._closed:
            return
        try:
            self._size += self._write(data)
        except OSError as error:
            self._failed(error)

    def flush(self, timeout_s: float = PATIENCE_S) -> None:
        """Nothing: no row is held between batches."""

    def close(self, timeout_s: float = PATIENCE_S) -> None:  # noqa: ARG002 - the operating system takes all at once
        """Ends the file; a batch whose writing was broken off is taken back."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._in_hand:
                self._take_back(CLOSED)
            elif not self._ended:
                self._size += self._write(self._form.end())
        except OSError as error:
            self._keep(error)
        if self._path == "-":
            return
        try:
            self._file.close()
        except OSError as error:
            self._keep(error)

    def _write(self, data: Piece) -> int:
        """Hands all of `data` to the operating system; returns the bytes it was."""
        left = memoryview(data)
        size = len(left)
        while left:
            taken = self._file.write(left)
            if taken is None:  # someone made our standard output non-blocking
                select.select([], [self._file], [])
            else:
                left = left[taken:]
        return size

    def _failed(self, error: OSError) -> None:
        reason = errno.errorcode.get(error.errno or 0, "EIO")
        # A reader of standard output that has seen enough is no error.
        if not (self._path == "-" and isinstance(error, BrokenPipeError)):
            self._keep(error)
        if not self._own:
            self._ended = reason
        try:
            self._take_back(reason)
        except OSError as worse:
            self._keep(worse)
            self._ended = reason

    def _take_back(self, reason: str) -> None:
        """Drops the batch in hand, and cuts the file to where it began."""
        with self._account as account:
            account.drop(self._in_hand, reason)
            self._in_hand = 0
        if self._own:
            os.ftruncate(self._file.fileno(), self._size)
            os.lseek(self._file.fileno(), self._size, os.SEEK_SET)

    def _keep(self, error: OSError) -> None:
        if self.error is None:
            self.error = file_error(self._path, error, self._option)


def _opened(path: str, *, again: bool) -> Raw:
    """`path`, emptied, or standard output for `-`, below Python's buffer: what is written is written."""
    if path != "-":
        return Path(path).open("r+b" if again and Path(path).is_file() else "wb", buffering=0)
    if sys.stdout is None:
        raise UsageError("standard output is closed.", "", "Write to a file, or to /dev/null.")
    sys.stdout.flush()
    raw: Raw = getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)
    return raw
