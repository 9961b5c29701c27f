"""Exposition: the metrics as text, built when something has changed and served from memory.

A scrape never polls, and never waits for one: it gets the last state that was published, whole. Text is made by
prometheus_client, once for each format and encoding that was asked for since then; which one an Accept header means
is the library's decision.
"""

from __future__ import annotations

import gzip
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from xtcp.errors import ConfigurationError
from xtcp.health.snapshot import HealthSnapshot
from xtcp.metrics.agent_samples import Durations, agent_samples, web_samples
from xtcp.metrics.agent_state import AgentState, Verdict, WebState
from xtcp.metrics.health_samples import health_samples
from xtcp.metrics.samples import Buckets, Sample
from xtcp.metrics.table import METRICS, Metric
from xtcp.metrics.xtcp_names import XTCP_NAMES, xtcp_samples

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric as Family

# Level 1 costs a fifth of the default and gives a twelfth more bytes.
_LEVEL: Final = 1

_VERSION: Final = re.compile(r"version\s*=\s*([^;\s]*)")
_VERSIONS: Final = frozenset({"0.0.4", "1.0.0"})


@dataclass(frozen=True)
class Text:
    """A body with its Content-Type and Content-Encoding (empty: none)."""

    content_type: str
    encoding: str
    body: bytes


class Exposition:
    """Any thread may publish, and any ask; `xtcp_names` adds xTCP's own names.

    Raises `ConfigurationError` where prometheus_client is not installed.
    """

    def __init__(self, *, xtcp_names: bool = False) -> None:
        try:
            from prometheus_client import CollectorRegistry
        except ImportError as error:
            raise ConfigurationError(
                "Metrics need prometheus_client, which is not installed.",
                "It is an extra: the core needs only NumPy.",
                "Install it: pip install 'xtcp[prometheus]', or run with --listen off.",
            ) from error
        self._registry: CollectorRegistry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        self._metrics = (*METRICS, *XTCP_NAMES) if xtcp_names else METRICS
        self._xtcp_names = xtcp_names
        self._lock = threading.Lock()
        self._state: AgentState | None = None
        self._health = HealthSnapshot()
        self._durations = Durations()
        self._texts: dict[tuple[str, str], Text] = {}
        # The web server's own counters; it sets this.
        self.web: Callable[[], WebState] = WebState

    def publish(self, state: AgentState, health: HealthSnapshot | None = None) -> None:
        """What is served from now on; without `health` that stays as it was."""
        with self._lock:
            self._state = state
            self._health = self._health if health is None else health
            self._durations.observe(state.trailer)
            self._texts.clear()

    @property
    def verdict(self) -> Verdict:
        """What the health answers say."""
        state = self._state
        return Verdict(True, False, ("The first poll has not ended yet.",)) if state is None else state.verdict

    def text(self, accept: str = "", accept_encoding: str = "") -> Text:
        """The body for a scraper that sent these headers."""
        from prometheus_client.exposition import choose_encoder, gzip_accepted

        encoder, content_type = choose_encoder(_offered(accept))
        encoding = "gzip" if gzip_accepted(accept_encoding) else ""
        with self._lock:
            text = self._texts.get((content_type, encoding))
            if text is None:
                plain = self._texts.get((content_type, ""))
                body = encoder(self._registry) if plain is None else plain.body
                self._texts[content_type, ""] = Text(content_type, "", body)
                if encoding:
                    body = gzip.compress(body, _LEVEL, mtime=0)
                text = self._texts[content_type, encoding] = Text(content_type, encoding, body)
            return text

    def samples(self) -> Iterator[Sample]:
        """Every value, in no particular order."""
        if self._state is not None:
            yield from agent_samples(self._state)
            if self._xtcp_names:
                yield from xtcp_samples(self._state)
        yield self._durations.sample()
        yield from web_samples(self.web())
        yield from health_samples(self._health)

    def collect(self) -> Iterable[Family]:
        """What a collector of prometheus_client is asked for; metrics in the order of the table."""
        samples: dict[str, list[Sample]] = {metric.name: [] for metric in self._metrics}
        for sample in self.samples():
            samples[sample.name].append(sample)
        return [_family(metric, samples[metric.name]) for metric in self._metrics if samples[metric.name]]


def _offered(accept: str) -> str:
    """Of an Accept header the ranges whose version we have: the library takes any, repeats it in the Content-Type, and
    every other one would be another text to build and to keep.
    """
    found = [(kind, _VERSION.search(kind)) for kind in accept.split(",")]
    return ",".join(kind for kind, version in found if version is None or version[1] in _VERSIONS)


def _family(metric: Metric, samples: list[Sample]) -> Family:
    from prometheus_client import metrics_core
    from prometheus_client.utils import floatToGoString

    name = metric.name
    if metric.kind == "info":
        info = metrics_core.InfoMetricFamily(name.removesuffix("_info"), metric.meaning)
        for sample in samples:
            info.add_metric((), dict(zip(metric.labels, sample.labels, strict=True)))
        return info
    if metric.kind == "histogram":
        histogram = metrics_core.HistogramMetricFamily(name, metric.meaning, labels=metric.labels)
        for sample in samples:
            assert isinstance(sample.value, Buckets)
            # As Go writes them, or the same bucket would have two names.
            buckets = [(str(floatToGoString(b)), count) for b, count in sample.value.buckets]  # type: ignore[no-untyped-call]
            histogram.add_metric(sample.labels, [*buckets, ("+Inf", sample.value.count)], sample.value.sum)
        return histogram
    family: metrics_core.CounterMetricFamily | metrics_core.GaugeMetricFamily | metrics_core.UnknownMetricFamily
    if metric.kind == "counter":
        family = metrics_core.CounterMetricFamily(name.removesuffix("_total"), metric.meaning, labels=metric.labels)
    elif metric.kind == "gauge":
        family = metrics_core.GaugeMetricFamily(name, metric.meaning, labels=metric.labels)
    else:
        family = metrics_core.UnknownMetricFamily(name, metric.meaning, labels=metric.labels)
    for sample in samples:
        assert not isinstance(sample.value, Buckets)
        family.add_metric(sample.labels, float(sample.value))
    return family
