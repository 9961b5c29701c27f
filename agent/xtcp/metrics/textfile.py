"""The metrics as a file for node_exporter's textfile collector, on hosts where no port may be opened."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from xtcp.errors import PermissionMissing, UsageError
from xtcp.metrics.exposition import Exposition


def write_textfile(path: Path, exposition: Exposition) -> None:
    """Replaces `path`, whose name must end in .prom, so that readers see the old file or the new one, both whole.

    Raises `UsageError` for another name and `PermissionMissing` where it cannot be written.
    """
    if path.suffix != ".prom":
        raise UsageError(
            f"{path}: the name of a textfile must end in .prom.", "node_exporter reads no others.", f"Write {path}.prom"
        )
    # The collector takes no file whose name ends otherwise, so the temporary one may lie beside it.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(exposition.text().body)
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise PermissionMissing(
            f"{path} cannot be written: {error.strerror}.",
            "Usually the folder is not there, or belongs to somebody else, or the disk is full.",
            "Look at the folder that node_exporter's --collector.textfile.directory names.",
        ) from error
