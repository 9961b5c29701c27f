"""Sample: what one measurement of one case gave; and what many of them say together.

Ratios are taken within a round, sample by sample, and then their median: a machine that slows down slows both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Self


@dataclass(frozen=True)
class Sample:
    """`wall` and `cpu` in seconds (user and system), `peak_kib` the largest resident set of a whole process in KiB,
    `rows` the sockets it gave; None where that cannot be said.
    """

    wall: float
    cpu: float
    peak_kib: int | None = None
    rows: int | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """From `as_dict`."""
        return cls(**values)

    def as_dict(self) -> dict[str, float | int | None]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Measured:
    """All samples of a farm with `expected` sockets: by case, one a round, None in a round that left the case out.

    `missing` says of a case why it has no samples.
    """

    sockets: int
    expected: int
    samples: Mapping[str, Sequence[Sample | None]]
    missing: Mapping[str, str]

    def median(self, case: str, figure: str) -> float | None:
        """The median of `wall`, `cpu` or `peak_kib`, None where there is no sample."""
        values = [getattr(sample, figure) for sample in self.samples.get(case, ()) if sample is not None]
        known = [value for value in values if value is not None]
        return median(known) if known else None

    def ratio(self, case: str, to: str, figure: str) -> float | None:
        """The median of `case` / `to` in the rounds that have both."""
        pairs = zip(self.samples.get(case, ()), self.samples.get(to, ()), strict=False)
        ratios = [
            getattr(one, figure) / getattr(other, figure)
            for one, other in pairs
            if one is not None and other is not None
        ]
        return median(ratios) if ratios else None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "sockets": self.sockets,
            "expected": self.expected,
            "samples": {
                case: [None if sample is None else sample.as_dict() for sample in samples]
                for case, samples in self.samples.items()
            },
            "missing": dict(self.missing),
        }
