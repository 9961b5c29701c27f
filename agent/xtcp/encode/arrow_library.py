"""pyarrow, in one place: `pa`, `pq` (Parquet), `fs` (file systems).

Importing this module raises `ConfigurationError`, with the line that installs it, where it is missing. pyarrow's own
allocator keeps what it once had, 16 MiB of it here; the system's gives it back (`daemon.memory`).
"""

from __future__ import annotations

from xtcp.errors import ConfigurationError

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyarrow import fs
except ImportError as error:
    raise ConfigurationError(
        "Arrow and Parquet need pyarrow, which is not installed.",
        "It is an extra, because not every machine has it.",
        "Install it: pip install 'xtcp[arrow]'; or write compressed JSON lines: --dest lines:DIR.",
    ) from error

pa.set_memory_pool(pa.system_memory_pool())

__all__ = ["fs", "pa", "pq"]
