"""SQL over the store: DuckDB in memory, with the store's files to read and nothing else to reach.

Only final files are read, so the agent may write meanwhile. DuckDB gets no other file and no network, no extension and
no setting, and only statements that select; what does not fit in memory it keeps in a temporary folder of its own.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from xtcp.errors import ConfigurationError, DamagedInput, PermissionMissing, Temporary, Unavailable, UsageError
from xtcp.sinks.folders.local_folder import LocalFolder
from xtcp.sinks.folders.partitions import ours
from xtcp.store import MEMORY
from xtcp.store.views import Contents, literal_glob, quoted, statements

try:
    import duckdb
except ImportError as error:
    raise ConfigurationError(
        "xtcp query needs DuckDB, which is not installed.",
        "It is an extra, because not every machine has it.",
        "Install it: pip install 'xtcp[query]', or read the files with another program that knows Parquet.",
    ) from error

_ROWS: Final = 1000


@dataclass(frozen=True)
class Answer:
    """The columns of a result, by name and DuckDB's type, and its rows in pieces, each a list of tuples."""

    names: tuple[str, ...]
    types: tuple[str, ...]
    pieces: Iterator[list[tuple[Any, ...]]]


class Store:
    """The store below `directory`, opened for questions; a context manager.

    `memory` bounds what DuckDB takes, in bytes. Raises `Unavailable` where nothing has been written yet.
    """

    def __init__(self, directory: Path, memory: int = MEMORY) -> None:
        self.contents = _contents(directory)
        self._directory = directory
        with ExitStack() as opened:
            self._spill = tempfile.mkdtemp(prefix="xtcp-query-")
            opened.callback(shutil.rmtree, self._spill, ignore_errors=True)
            root = str(directory.resolve())
            self._connection = opened.enter_context(
                closing(
                    duckdb.connect(
                        config={
                            "autoinstall_known_extensions": "false",
                            "autoload_known_extensions": "false",
                            "memory_limit": f"{memory}B",
                            "temp_directory": self._spill,
                            "allow_community_extensions": "false",
                        }
                    )
                )
            )
            # The path is given as it is and as a pattern, because DuckDB compares either with what is opened.
            allowed = ", ".join(quoted(f"{path}/") for path in dict.fromkeys((root, literal_glob(root))))
            for statement in (
                f"SET allowed_directories = [{allowed}]",
                "SET enable_external_access = false",
                "SET enable_progress_bar = false",
                "SET lock_configuration = true",
            ):
                self._connection.execute(statement)
            with _told(directory):
                for statement in statements(root, self.contents):
                    self._connection.execute(statement)
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of DuckDB and of its temporary files."""
        self._opened.close()

    def ask(self, sql: str) -> Answer:
        """What `sql` selects. Raises `UsageError` with DuckDB's own sentence; so may reading the pieces."""
        with _told(self._directory):
            parsed = self._connection.extract_statements(sql)
            if len(parsed) != 1:
                raise UsageError(f"{len(parsed)} statements; one is answered at a time.", "", "See: xtcp query --help")
            if parsed[0].type != duckdb.StatementType.SELECT:
                raise UsageError(
                    f"xtcp query answers SELECT, DESCRIBE, SUMMARIZE and SHOW only, not {parsed[0].type.name}.",
                    "The store is read, never changed.",
                    "See: xtcp query --help",
                )
            result = self._connection.execute(parsed[0])
        described: Sequence[tuple[Any, ...]] = result.description
        return Answer(
            _distinct([str(column[0]) for column in described]),
            tuple(str(column[1]) for column in described),
            self._pieces(result),
        )

    def _pieces(self, result: Any) -> Iterator[list[tuple[Any, ...]]]:
        while True:
            with _told(self._directory):
                rows = result.fetchmany(_ROWS)
            if not rows:
                return
            yield rows


def _contents(directory: Path) -> Contents:
    contents = Contents()
    if directory.is_dir():
        for stored in LocalFolder(directory).files():
            file = ours(stored.path)
            if file is not None and not file.temporary:
                contents.add(file, stored.size)
    if not contents.files:
        raise Unavailable(
            f"{directory}: there is nothing to read yet.",
            "No poll has been stored there, or only in a file that is still being written.",
            "Start the agent (xtcp run); its first poll can be read at once. Another folder: --dir DIR.",
        )
    return contents


def _distinct(names: list[str]) -> tuple[str, ...]:
    """`names`, the second `a` as `a_2`, so that none is lost in JSON."""
    found: dict[str, int] = {}
    out = []
    for name in names:
        found[name] = found.get(name, 0) + 1
        out.append(name if found[name] == 1 else f"{name}_{found[name]}")
    return tuple(out)


@contextmanager
def _told(directory: Path) -> Iterator[None]:
    """DuckDB's errors as ours; Ctrl-C as itself."""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise Temporary(
            f"The answer does not fit: {_sentence(error)}",
            "It needs more memory than it may take.",
            "Ask for less (a WHERE on date and hour, fewer columns), or allow more: --memory-limit 4G.",
        ) from error
    except duckdb.PermissionException as error:
        raise PermissionMissing(
            _sentence(error), "xtcp query reads its store and nothing else.", "For other files use duckdb itself."
        ) from error
    except (duckdb.IOException, duckdb.InvalidInputException, duckdb.FatalException) as error:
        text = _sentence(error)
        if str(directory) not in text:
            raise UsageError(text, "", "See: xtcp query --help") from error
        raise DamagedInput(
            text, "A file was removed while it was read, or is damaged.", "Ask again; move a damaged file away."
        ) from error
    except duckdb.Error as error:
        raise UsageError(_sentence(error), "", "Columns of a view: xtcp query 'DESCRIBE sockets'") from error
    except RuntimeError as error:
        if "interrupted" in str(error).lower():
            raise KeyboardInterrupt from error
        raise


def _sentence(error: Exception) -> str:
    """What DuckDB says, its pointer at the place included."""
    return str(error).strip()
