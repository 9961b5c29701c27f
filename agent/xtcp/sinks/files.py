"""`file:` and `stdout:`: which sink writes the format that was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from xtcp.errors import UsageError
from xtcp.sinks.destination import Destination, no_address, one_of

if TYPE_CHECKING:
    from xtcp.ledger import Account
    from xtcp.sinks.destination import Maker
    from xtcp.sinks.sink import Sink

FORMATS: Final = ("json", "csv")


def stdout(destination: Destination) -> Maker:
    """Standard output."""
    no_address(destination)
    return _writer("-", one_of(destination, "format", FORMATS, "json"))


def file(destination: Destination) -> Maker:
    """A file; its ending says the format where no option does."""
    path = destination.address
    if path in {"", "-"}:
        raise UsageError(
            f"{destination.scheme}:{path} names no file.", "", "Write file:PATH, or stdout: for standard output."
        )
    ending = Path(path).suffix.removeprefix(".")
    return _writer(path, one_of(destination, "format", FORMATS, ending if ending in FORMATS else "json"))


def _writer(path: str, form: str) -> Maker:
    made: list[Sink] = []

    def make(account: Account) -> Sink:
        from xtcp.encode import make_encoder
        from xtcp.sinks.form import TextForm
        from xtcp.sinks.whole_batches import WholeBatches

        # After a fault of this program the sink is made again: what it wrote before stays.
        made.append(WholeBatches(path, TextForm(make_encoder(form)), account, again=bool(made)))
        return made[-1]

    return make
