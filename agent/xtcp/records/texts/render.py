"""Renders the files of proto/ that are made from the schema and the layouts: .proto texts, DDL, the lock of tags.

In: the tables alone; they give the same texts on every machine. `python -m xtcp.records.texts.render --write` writes
the files of the source tree (`make columns`), without it says which differ. What is in the lock is never changed: tags
that do not go with it are refused. xtcp.schema.render makes proto/columns.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from xtcp.records.layouts import LAYOUTS
from xtcp.records.texts.clickhouse import ddl
from xtcp.records.texts.clickhouse_kafka import Topic, kafka_tables
from xtcp.records.texts.clickhouse_xtcp2 import xtcp2_ddl
from xtcp.records.texts.proto_text import PROTO_FILES, proto_text
from xtcp.schema.clickhouse import Names
from xtcp.schema.columns import BY_NAME
from xtcp.schema.tags import TAGS, faults_of, locked

PROTO: Final = Path(__file__).resolve().parents[3] / "proto"
LOCK: Final = "tags.lock"


_LOCK_HEAD: Final = """\
# The tags that records in files and queues were written with: number and column. Lines are only ever added, by
# 'make columns'; see agent/xtcp/schema/tags.py.
"""

_SQL_HEAD: Final = """\
-- Made by 'make columns'. Do not edit. Other names, other brokers: xtcp schema clickhouse{}

"""


def tags_lock() -> str:
    """The text of proto/tags.lock."""
    rows = sorted((number, name) for name, number in TAGS.items())
    return _LOCK_HEAD + "".join(f"{number} {name}\n" for number, name in rows)


def files() -> dict[str, str]:
    """Every file's name in proto/ and its text."""
    topic = Topic(("kafka:9092",), "xtcp")
    scripts = {
        "clickhouse.sql": ("", ddl()),
        "clickhouse_kafka.sql": (" --kafka kafka:9092 --topic xtcp", "\n".join(kafka_tables(Names(), topic))),
        "clickhouse_xtcp2.sql": (
            " --xtcp2 2 --kafka kafka:9092 --topic xtcp",
            xtcp2_ddl(LAYOUTS["xtcp2-2"], topic=topic),
        ),
    }
    return {
        **{file: proto_text(LAYOUTS[name]) for name, file in PROTO_FILES.items()},
        **{file: _SQL_HEAD.format(options) + text for file, (options, text) in scripts.items()},
        LOCK: tags_lock(),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Says which files of proto/ differ from what the tables give, or with `--write` writes them."""
    parser = argparse.ArgumentParser(prog="python -m xtcp.records.texts.render", description=main.__doc__)
    parser.add_argument("--write", action="store_true", help="write the files")
    write = parser.parse_args(arguments).write
    if not PROTO.is_dir():
        parser.error(f"no folder {PROTO}: this is an installed xtcp; run it in the source tree")
    faults = faults_of(TAGS, locked(_read(PROTO / LOCK) or ""), BY_NAME)
    if faults:
        parser.error("\n".join(faults))
    different = [name for name, text in files().items() if _read(PROTO / name) != text]
    for name in different:
        if write:
            (PROTO / name).write_text(files()[name], encoding="utf-8")
        else:
            sys.stdout.write(f"proto/{name} differs\n")
    return 0 if write else bool(different)


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


if __name__ == "__main__":
    sys.exit(main())
