"""Which records a destination asks for: the option `record`, and what is to stand in each of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from xtcp.errors import UsageError
from xtcp.records.layouts import LAYOUTS
from xtcp.sinks.destination import Destination, one_of

if TYPE_CHECKING:
    from xtcp.records.encoder import RecordEncoder
    from xtcp.records.envelopes import Envelopes

FLAT: Final = "flat"
XTCP: Final = "xtcp"
# Fields of others' records that whoever runs the agent fills.
CONSTANTS: Final = ("tag", "label", "location")


@dataclass(frozen=True)
class RecordChoice:
    """A layout by name, and the values of its fields that are the same in every record."""

    layout: str
    constants: Mapping[str, str] = field(default_factory=dict)

    @property
    def bare(self) -> bool:
        """Whether there is no envelope around them."""
        return LAYOUTS[self.layout].envelope is None

    def encoder(self, *, delimited: bool = False) -> RecordEncoder:
        """For bare ones."""
        from xtcp.records.encoder import RecordEncoder

        return RecordEncoder(LAYOUTS[self.layout], self.constants, delimited=delimited)

    def envelopes(self, limit_bytes: int, stream: int | None = None) -> Envelopes:
        """For those in envelopes, as `Envelopes` has it."""
        from xtcp.records.envelopes import Envelopes

        return Envelopes(self.layout, limit_bytes=limit_bytes, stream=stream, constants=self.constants)


def record_choice(destination: Destination, otherwise: str = FLAT) -> RecordChoice:
    """What the options say; `otherwise` is the layout where they do not. Raises `UsageError`."""
    layout = one_of(destination, "record", tuple(dict.fromkeys((otherwise, *LAYOUTS))), otherwise)
    constants = {name: destination.options[name] for name in CONSTANTS if name in destination.options}
    known = {scalar.name for scalar in LAYOUTS[layout].record.scalars()}
    for name in constants:
        if name not in known:
            raise UsageError(
                f"{destination.name}: records of {layout} have no {name}.", "", "Leave it out, or name another record."
            )
    return RecordChoice(layout, constants)
