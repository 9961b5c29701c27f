"""Which form a destination's options ask for: `format` json, csv, arrow or envelopes, and `record` for the last."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from xtcp.errors import UsageError
from xtcp.sinks.destination import one_of

if TYPE_CHECKING:
    from xtcp.sinks.destination import Destination
    from xtcp.sinks.form import Form

TEXTS: Final = ("json", "csv")
ENVELOPES: Final = "envelopes"
ARROW: Final = "arrow"
FORMATS: Final = (*TEXTS, ENVELOPES, ARROW)
RECORDS: Final = ("flat", "xtcp2-1", "xtcp2-2", "xtcp")


def form_of(destination: Destination, otherwise: str = "json", *, socket: bool = False) -> Callable[[], Form]:
    """What makes the form, from the beginning each time, for a file or a stream socket. Raises `UsageError`."""
    form = one_of(destination, "format", FORMATS, ENVELOPES if "record" in destination.options else otherwise)
    record = one_of(destination, "record", RECORDS, "flat")
    if form != ENVELOPES and "record" in destination.options:
        raise UsageError(f"{destination.name}: record has no meaning with format={form}.", "", "Leave one of them out.")

    def make() -> Form:
        if form == ENVELOPES:
            from xtcp.sinks.envelope_form import envelope_form

            return envelope_form(record, socket=socket)
        if form == ARROW:
            from xtcp.sinks.arrow_stream import ArrowForm

            return ArrowForm()
        from xtcp.encode import make_encoder
        from xtcp.sinks.form import TextForm

        return TextForm(make_encoder(form))

    return make
