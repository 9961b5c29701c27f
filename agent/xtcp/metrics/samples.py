"""Sample: one value of one metric, before it is text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

Labels: TypeAlias = tuple[str, ...]


@dataclass(frozen=True)
class Buckets:
    """A histogram's value: upper bounds in base units with cumulative counts, infinity not among them."""

    buckets: tuple[tuple[float, int], ...]
    count: int
    sum: float

    @classmethod
    def of(cls, bounds: Iterable[float], counts: Iterable[int], total: float) -> Buckets:
        """From counts that are not cumulative, of which there is one more than bounds."""
        numbers = list(counts)
        summed, so_far = [], 0
        for bound, number in zip(bounds, numbers, strict=False):
            so_far += number
            summed.append((bound, so_far))
        return cls(tuple(summed), sum(numbers), total)


Value: TypeAlias = float | Buckets


@dataclass(frozen=True)
class Sample:
    """`labels` are the values in the order of the metric's labels."""

    name: str
    value: Value
    labels: Labels = ()


def summed(name: str, values: Iterable[tuple[Labels, float]]) -> list[Sample]:
    """Samples of `name`; values whose labels became alike (`other`) are one."""
    totals: dict[Labels, float] = {}
    for labels, value in values:
        totals[labels] = totals.get(labels, 0) + value
    return [Sample(name, value, labels) for labels, value in totals.items()]


def plain(values: Mapping[str, float]) -> list[Sample]:
    """Samples without labels."""
    return [Sample(name, value) for name, value in values.items()]
