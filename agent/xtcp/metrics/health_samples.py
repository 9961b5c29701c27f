"""HealthSnapshot to samples; every name stands in `table.HEALTH`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from xtcp.health.snapshot import DISTRIBUTED, HealthSnapshot
from xtcp.metrics.samples import Buckets, Sample
from xtcp.metrics.table import HEALTH

_BOUNDS: Final = {d.name: tuple(float(f"{bound * d.scale:.12g}") for bound in d.bounds) for d in DISTRIBUTED}


def health_samples(health: HealthSnapshot) -> Iterator[Sample]:
    """The figures that there are; those of a kernel that lacks them are left out."""
    for state, count in health.sockets.items():
        yield Sample("xtcp_sockets", count, (state,))
    yield Sample("xtcp_connections_tracked", health.connections)
    yield Sample("xtcp_connections_untracked", health.untracked)
    for metric in HEALTH:
        if metric.kind == "gauge" and metric.figure in health.gauges:
            yield Sample(metric.name, health.gauges[metric.figure])
        elif metric.kind == "counter":
            for found, value in health.counters.get(metric.figure, {}).items():
                yield Sample(metric.name, value, (found.direction, found.group, found.cc))
        elif metric.kind == "histogram":
            for found, histogram in health.histograms.get(metric.figure, {}).items():
                buckets = Buckets.of(_BOUNDS[metric.figure], histogram.counts, histogram.sum)
                yield Sample(metric.name, buckets, (found.direction, found.group, found.cc))
