"""TextRows: rows as text to a file or to standard output; the destinations `file:` and `stdout:`.

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
    from xtcp.encode import Encoder
    from xtcp.poll.trailer import Trailer


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


class TextRows(AtOnce):
    """A `Sink` that writes what `encoder` makes to `path`, `-` for standard output.

    Raises `XtcpError` where the file cannot be opened, or takes not even what stands before all rows.
    """

    def __init__(self, path: str, encoder: Encoder, account: Account, *, option: str = "--dest") -> None:
        self._path = path
        self._encoder = encoder
        self._account = account
        self._option = option
        self._in_hand = 0
        self._ended = ""
        self._closed = False
        self.error: XtcpError | None = None
        account.ask(lambda: self._in_hand)
        self._size = 0
        try:
            self._file = _opened(path)
        except OSError as error:
            raise file_error(path, error, option) from error
        try:
            self._own = path != "-" and stat.S_ISREG(os.fstat(self._file.fileno()).st_mode)
            self._size = self._write(encoder.begin())
        except OSError as error:
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
            for text in self._encoder.encode(batch):
                size += self._write(text)
        except OSError as error:
            self._failed(error)
            return
        with self._account as account:
            self._size += size
            account.accept(self._in_hand, size)
            self._in_hand = 0

    def end_poll(self, trailer: Trailer) -> None:
        """Nothing: these formats carry rows only."""

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
                self._size += self._write(self._encoder.end())
        except OSError as error:
            self._keep(error)
        if self._path == "-":
            return
        try:
            self._file.close()
        except OSError as error:
            self._keep(error)

    def _write(self, text: str) -> int:
        """Hands all of `text` to the operating system; returns the bytes it was."""
        data = text.encode()
        left = memoryview(data)
        while left:
            taken = self._file.write(left)
            if taken is None:  # someone made our standard output non-blocking
                select.select([], [self._file], [])
            else:
                left = left[taken:]
        return len(data)

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


def _opened(path: str) -> Raw:
    """`path`, emptied, or standard output for `-`, below Python's buffer: what is written is written."""
    if path != "-":
        return Path(path).open("wb", buffering=0)
    if sys.stdout is None:
        raise UsageError("standard output is closed.", "", "Write to a file, or to /dev/null.")
    sys.stdout.flush()
    raw: Raw = getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)
    return raw
