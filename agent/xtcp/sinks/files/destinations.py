"""`file:` and `stdout:`: which sink writes the format that was asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from xtcp.errors import UsageError
from xtcp.sinks.destination import Destination, no_address
from xtcp.sinks.files.forms import FORMATS, form_of

if TYPE_CHECKING:
    from xtcp.ledger import Account
    from xtcp.sinks.destination import Maker
    from xtcp.sinks.files.form import Form
    from xtcp.sinks.sink import Sink


def stdout(destination: Destination) -> Maker:
    """Standard output."""
    no_address(destination)
    return _writer("-", form_of(destination))


def file(destination: Destination) -> Maker:
    """A file; its ending says the format where no option does."""
    path = destination.address
    if path in {"", "-"}:
        raise UsageError(
            f"{destination.scheme}:{path} names no file.", "", "Write file:PATH, or stdout: for standard output."
        )
    ending = Path(path).suffix.removeprefix(".")
    return _writer(path, form_of(destination, ending if ending in FORMATS else "json"))


def _writer(path: str, make_form: Callable[[], Form]) -> Maker:
    made: list[Sink] = []

    def make(account: Account) -> Sink:
        from xtcp.sinks.files.whole_batches import WholeBatches

        # After a fault of this program the sink is made again: what it wrote before stays.
        made.append(WholeBatches(path, make_form(), account, again=bool(made)))
        return made[-1]

    return make
