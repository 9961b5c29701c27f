"""Whatever stands in a configuration file, a variable or a flag: settings come out, or all that is wrong."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from xtcp.settings.effective import Settings, load
from xtcp.settings.problems import BadSettings
from xtcp.settings.sources import Flags
from xtcp.settings.table import SETTINGS, Setting, Shape
from xtcp.sinks.schemes import SCHEMES

TEXTS = st.text(max_size=30)
# Texts that are nearly right: schemes, options, units, addresses, and what may stand between them.
NEARLY = st.lists(
    st.sampled_from(
        (
            *(*SCHEMES, *"?&=:/,.@%-_ []*", "\x00", "10", "-1", "0", "1e9", "30s", "50ms", "2G", "127.0.0.1", "[::1]"),
            *("sample=", "queue=", "full=", "password=", "%26", "\u2028", "off", "true", "web=80", "ä"),
        )
    ),
    max_size=8,
).map("".join)
VALUES = st.one_of(TEXTS, NEARLY)


def quoted(text: str) -> str:
    """A TOML text."""
    return '"' + "".join(c if c.isalnum() and c.isascii() else f"\\U{ord(c):08x}" for c in text) + '"'


SCALARS = st.one_of(
    VALUES.map(quoted),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(["true", "1979-05-27", "07:32:00"]),
)
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3).map(lambda parts: f"[{', '.join(parts)}]"), max_leaves=6
)
LINES = st.tuples(st.sampled_from([*(s.name for s in SETTINGS), "x", "[groups]\na"]), ANYTHING).map(" = ".join)


def loaded(content: bytes) -> Settings | None:
    """What comes out of a file; None for one that is refused, with a place for each fault."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "xtcp.toml")
        path.write_bytes(content)
        path.chmod(0o600)
        outcome = tried({}, {}, str(path))
    if isinstance(outcome, Settings):
        return outcome
    assert all(problem.where.startswith(str(path)) for problem in outcome.problems)
    return None


def tried(flags: Flags, environ: Mapping[str, str], config: str | None = None) -> Settings | BadSettings:
    """Settings, or all that is wrong, which is something."""
    try:
        return load(flags, environ, config)
    except BadSettings as error:
        return error


@given(st.binary(max_size=200))
def test_bytes(content: bytes) -> None:
    """A file of anything."""
    loaded(content)


@given(st.lists(LINES, max_size=4, unique_by=lambda line: line.split(" = ")[0]))
@example(["frequency = 10", 'dest = "null:"'])
def test_values(lines: list[str]) -> None:
    """A file of settings with any value of any type; what is taken is of the right type."""
    settings = loaded("\n".join(lines).encode("utf-8", "surrogatepass"))
    if settings is not None:
        assert 0.01 <= settings.frequency <= 86_400
        assert settings.dest and settings.nice >= 0


@given(st.sampled_from(SETTINGS), st.lists(VALUES, min_size=1, max_size=3))
def test_flags_and_variables(setting: Setting, values: list[str]) -> None:
    """Any text for any setting, by a flag and by its variable."""
    texts = values if setting.shape in {Shape.LIST, Shape.TABLE} else values[:1]
    variable = {setting.variable: values[0].replace("\x00", "")}
    for outcome in (tried({setting.name: texts}, {}), tried({}, variable)):
        assert isinstance(outcome, Settings) or outcome.problems
