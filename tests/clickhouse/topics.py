"""Tables of the Kafka engine, which chdb has not: the engine `Null` in its place, and messages inserted as it would.

Everything else of their DDL is as it was printed: columns, materialized views, and from the settings the format and the
schema by which a message is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tests.clickhouse.server import Server
from tests.conftest import ROOT

# The Kafka engine's virtual columns that our views read; as there, `*` leaves them out.
_VIRTUAL: Final = ", ".join(
    f"{name} {kind} MATERIALIZED defaultValueOfTypeName('{kind}')"
    for name, kind in {
        "_topic": "String",
        "_partition": "UInt64",
        "_offset": "UInt64",
        "_error": "String",
        "_raw_message": "String",
    }.items()
)
_ENGINE: Final = re.compile(r"\n\)\nENGINE = Kafka\nSETTINGS (.*)", re.DOTALL)


class Topics:
    """The tables that read topics; made with all other statements of a script."""

    def __init__(self, server: Server, script: Iterable[str], folder: Path) -> None:
        self._server = server
        self._file = folder / "message"
        self._read: dict[str, tuple[str, str]] = {}
        instead = f",\n{_VIRTUAL}\n)\nENGINE = Null"
        for statement in script:
            found = _ENGINE.search(statement)
            if found:
                settings = dict(re.findall(r"(\w+) = '?([^',]*)'?", found[1]))
                name = statement.split("EXISTS ")[1].split()[0]
                self._read[name] = (settings["kafka_format"], settings["kafka_schema"])
                statement = statement.replace(found[0], instead)
            server.query(statement)

    def message(self, data: bytes) -> None:
        """Every table reads the message, each in its way."""
        self._file.write_bytes(data)
        for name, (form, schema) in self._read.items():
            database, _, table = name.partition(".")
            where = f"database = '{database}' AND table = '{table}' AND default_kind = ''"
            columns = self._server.rows(f"SELECT name, type FROM system.columns WHERE {where} ORDER BY position")
            names = ", ".join(f"`{column['name']}`" for column in columns)
            structure = ", ".join(f"`{column['name']}` {column['type']}" for column in columns).replace("'", "\\'")
            source = f"file('{self._file}', '{form}', '{structure}')"
            settings = f"SETTINGS format_schema = '{ROOT}/proto/{schema}'"
            self._server.query(f"INSERT INTO {name} ({names}) SELECT {names} FROM {source} {settings}")
