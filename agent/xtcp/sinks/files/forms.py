"""Which form a destination's options ask for: `format` json, csv, arrow or envelopes, and `record` for the last."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from xtcp.errors import UsageError
from xtcp.sinks.destination import one_of
from xtcp.sinks.record_choice import CONSTANTS, record_choice

if TYPE_CHECKING:
    from xtcp.sinks.destination import Destination
    from xtcp.sinks.files.form import Form

TEXTS: Final = ("json", "csv")
ENVELOPES: Final = "envelopes"
ARROW: Final = "arrow"
FORMATS: Final = (*TEXTS, ENVELOPES, ARROW)


def form_of(destination: Destination, otherwise: str = "json", *, socket: bool = False) -> Callable[[], Form]:
    """What makes the form, from the beginning each time, for a file or a stream socket. Raises `UsageError`."""
    of_records = [name for name in ("record", *CONSTANTS) if name in destination.options]
    form = one_of(destination, "format", FORMATS, ENVELOPES if of_records else otherwise)
    if form != ENVELOPES and of_records:
        what = f"{destination.name}: {of_records[0]} has no meaning with format={form}."
        raise UsageError(what, "", "Leave one of them out.")
    records = record_choice(destination)

    def make() -> Form:
        if form == ENVELOPES:
            from xtcp.sinks.files.envelope_form import envelope_form

            return envelope_form(records, socket=socket)
        if form == ARROW:
            from xtcp.sinks.files.arrow_stream import ArrowForm

            return ArrowForm()
        from xtcp.encode import make_encoder
        from xtcp.sinks.files.form import TextForm

        return TextForm(make_encoder(form))

    return make
