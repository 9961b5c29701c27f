"""`store:[DIR]`: where the agent keeps rows when no destination is named.

Parquet, or compressed JSON lines where pyarrow has no build; in the state directory, or in DIR. A file ends with the
poll after `ROTATE_S`; rows are kept for `KEEP_AGE_S`, and no more than `KEEP_BYTES` of them. At 100 bytes a row and a
poll every 30 s that is all week for a host of a thousand sockets, and an hour and a half for one of 118,800. One
process at a time writes.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from xtcp.sinks.folders.dataset import compression_level, limits

if TYPE_CHECKING:
    from xtcp.ledger import Account
    from xtcp.sinks.destination import Destination, Maker
    from xtcp.sinks.folders.file_format import Format
    from xtcp.sinks.sink import Sink

ROTATE_S: Final = 300.0
KEEP_AGE_S: Final = 7 * 86_400.0
KEEP_BYTES: Final = 2 << 30


def prepare(destination: Destination) -> Maker:
    """The store."""
    bounds = limits(destination, ROTATE_S, KEEP_AGE_S, KEEP_BYTES)
    level = compression_level(destination)

    def make(account: Account) -> Sink:
        from xtcp.sinks.folders.local_folder import failure, open_folder
        from xtcp.sinks.folders.partitioned import Partitioned
        from xtcp.store.directory import WriterLock, state_directory

        directory = Path(destination.address) if destination.address else state_directory()
        folder = open_folder(directory, destination.name)
        try:
            lock = WriterLock(directory)
        except OSError as error:
            raise failure(destination.name, error) from error
        try:
            return Partitioned(folder, _format(level), account, bounds, closing=lock.release)
        except BaseException:
            lock.release()
            raise

    return make


def _format(level: int | None) -> Format:
    """The best that this machine can write."""
    if find_spec("pyarrow") is not None:
        from xtcp.sinks.folders import parquet

        return parquet.Parquet(parquet.LEVEL if level is None else level)
    from xtcp.sinks.folders import zstd_lines

    return zstd_lines.Lines(zstd_lines.LEVEL if level is None else level)
