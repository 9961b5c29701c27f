"""A bucket of S3, or of a server that speaks its protocol, in which files are published by pyarrow's filesystem.

A draft is a temporary file of this machine without a name: it is gone with the process, and half a file never becomes
an object. Publishing it is one upload, whose object appears when it is complete. One that fails can be tried again.
"""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, BinaryIO, Final

from xtcp.encode.arrow_library import fs
from xtcp.errors import Unavailable
from xtcp.sinks.folders.local_folder import Stored
from xtcp.sinks.folders.partitions import ours

CONNECT_S: Final = 5.0
REQUEST_S: Final = 20.0

_PIECE: Final = 1 << 20


class S3Draft:
    """A `Draft` of the object at `path`, bucket and key."""

    def __init__(self, filesystem: Any, path: str) -> None:
        self._filesystem = filesystem
        self._path = path
        self._file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it is published or discarded

    @property
    def file(self) -> BinaryIO:
        """The temporary file."""
        return self._file

    @property
    def size(self) -> int:
        """As written."""
        return self._file.tell()

    def publish(self) -> None:
        """Uploads it."""
        end = self._file.tell()
        self._file.seek(0)
        try:
            with self._filesystem.open_output_stream(self._path) as stream:
                shutil.copyfileobj(self._file, stream, _PIECE)
        except OSError as error:
            self._file.seek(end)
            with suppress(OSError):  # leaving the stream may have made an object of what had come so far
                self._filesystem.delete_file(self._path)
            raise _as_errno(error) from error
        self._file.close()

    def discard(self) -> None:
        """The temporary file goes."""
        self._file.close()


class S3Folder:
    """A `Folder`: what lies in `address`, a bucket with a prefix or without.

    `name` is the destination's, for messages; keys, and what is None here, come from AWS's own environment variables
    and files. Raises `XtcpError` where the bucket cannot be had.
    """

    keeps: Final = True

    def __init__(self, name: str, address: str, *, region: str | None = None, endpoint: str | None = None) -> None:
        self._root = address.strip("/")
        options = {"region": region, "endpoint_override": endpoint}
        try:
            self._filesystem: Any = fs.S3FileSystem(
                connect_timeout=CONNECT_S,
                request_timeout=REQUEST_S,
                retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=1),  # the sink has pauses of its own
                **{option: value for option, value in options.items() if value is not None},
            )
            self._filesystem.get_file_info(fs.FileSelector(self._root.partition("/")[0]))
        except OSError as error:
            raise Unavailable(
                f"{name}: {error}", "The bucket is not there, or its keys are not.", "See: xtcp run --help"
            ) from error

    def create(self, path: str) -> S3Draft:
        """A temporary file."""
        return S3Draft(self._filesystem, f"{self._root}/{path}")

    def clean(self) -> None:
        """Nothing: a crash leaves nothing."""

    def files(self) -> Iterator[Stored]:
        """Every object of the layout."""
        for info in self._listed():
            path = info.path.removeprefix(f"{self._root}/")
            if info.type == fs.FileType.File and ours(path) is not None:
                yield Stored(path, info.size, info.mtime_ns)

    def remove(self, path: str) -> None:
        """Removes an object."""
        try:
            self._filesystem.delete_file(f"{self._root}/{path}")
        except OSError as error:
            raise _as_errno(error) from error

    def _listed(self) -> list[Any]:
        try:
            listed: list[Any] = self._filesystem.get_file_info(
                fs.FileSelector(self._root, recursive=True, allow_not_found=True)
            )
        except OSError as error:
            raise _as_errno(error) from error
        return listed


def _as_errno(error: OSError) -> OSError:
    """The same with an errno: AWS's errors are texts."""
    return error if error.errno else OSError(errno.EIO, str(error))
