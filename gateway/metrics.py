"""Prediction metrics: plain counters per request, turned into Prometheus' form at a scrape.

prometheus-client's own ``inc`` and ``observe`` take a lock each; the gateway has one thread, and a
dictionary of lists is all that it needs per request. Labels are bounded by the configured models.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from protocol.failures import Failure

LATENCY_BUCKETS_S = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
)  # fmt: skip


class _Series:
    """Counts of one model version."""

    __slots__ = ("buckets", "failures", "infer_us", "queue_us", "rows", "seconds", "statuses")

    def __init__(self) -> None:
        self.statuses: dict[int, int] = {}
        self.failures = dict.fromkeys(Failure, 0)
        self.buckets = [0] * (len(LATENCY_BUCKETS_S) + 1)
        self.seconds = 0.0
        self.queue_us = 0
        self.infer_us = 0
        self.rows = 0


class PredictionMetrics(Collector):
    """Counts answers by model, version and status, and their latency."""

    def __init__(
        self,
        gauges: dict[str, tuple[str, Callable[[], float]]] | None = None,
        load: Callable[[], Mapping[tuple[str, int], tuple[int, int]]] = dict,
    ) -> None:
        """``gauges``: name -> (help, function) read at each scrape; counters end in ``_total``.
        ``load``: model and version -> engines that take requests, requests that wait for them."""
        self._load = load
        self._series: dict[tuple[str, int], _Series] = {}
        self._explanations: dict[tuple[str, int], _Series] = {}
        self._refused: dict[int, int] = {}
        self._gauges = gauges or {}

    def answered(
        self,
        model: str,
        version: int,
        status: int,
        failure: Failure | None,
        seconds: float,
        queue_us: int,
        infer_us: int,
        rows: int,
        *,
        explanation: bool = False,
    ) -> None:
        """Count one answer to a known caller."""
        if explanation:
            self._explained(model, version, status, seconds)
            return
        series = self._series.get((model, version))
        if series is None:
            series = self._of(model, version)
        series.statuses[status] = series.statuses.get(status, 0) + 1
        series.buckets[bisect_left(LATENCY_BUCKETS_S, seconds)] += 1
        series.seconds += seconds
        series.queue_us += queue_us
        series.infer_us += infer_us
        series.rows += rows
        if failure is not None:
            series.failures[failure] += 1

    def _explained(self, model: str, version: int, status: int, seconds: float) -> None:
        # A series of their own: predictions' latency says nothing with explanations among it.
        series = self._explanations.setdefault((model, version), _Series())
        series.statuses[status] = series.statuses.get(status, 0) + 1
        series.seconds += seconds

    def failed(self, model: str, version: int, reason: Failure) -> None:
        """Count why a known caller did not get a prediction."""
        self._of(model, version).failures[reason] += 1

    def _of(self, model: str, version: int) -> _Series:
        series = self._series.get((model, version))
        if series is None:
            series = self._series[model, version] = _Series()
        return series

    def refused(self, status: int) -> None:
        """Count one answer to a caller who could not be identified."""
        self._refused[status] = self._refused.get(status, 0) + 1

    @property
    def requests(self) -> int:
        """Requests of known callers, those to explain among them, that were answered so far."""
        every = (*self._series.values(), *self._explanations.values())
        return sum(sum(series.statuses.values()) for series in every)

    def register(self, registry: CollectorRegistry) -> None:
        """Show up in this registry's scrapes."""
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Prometheus' view, built at each scrape."""
        labels = ["model", "version"]
        requests = CounterMetricFamily(
            "tollway_requests", "Prediction requests answered.", labels=[*labels, "status"]
        )
        latency = HistogramMetricFamily(
            "tollway_request_seconds", "Time from headers to answer.", labels=labels
        )
        queue = CounterMetricFamily(
            "tollway_queue_seconds", "Time that requests waited in an engine.", labels=labels
        )
        infer = CounterMetricFamily(
            "tollway_infer_seconds", "Time that requests' runs took.", labels=labels
        )
        rows = CounterMetricFamily("tollway_rows", "Rows of the answers.", labels=labels)
        failures = CounterMetricFamily(
            "tollway_request_failures",
            "Prediction requests of known callers that got no prediction.",
            labels=[*labels, "reason"],
        )
        for (model, version), series in self._series.items():
            names = [model, str(version)]
            for status, count in series.statuses.items():
                requests.add_metric([*names, str(status)], count)
            latency.add_metric(names, _cumulative(series.buckets), series.seconds)
            queue.add_metric(names, series.queue_us / 1e6)
            infer.add_metric(names, series.infer_us / 1e6)
            rows.add_metric(names, series.rows)
            for reason, count in series.failures.items():
                failures.add_metric([*names, reason.name], count)
        refused = CounterMetricFamily(
            "tollway_unidentified_requests",
            "Prediction requests refused before their caller was known.",
            labels=["status"],
        )
        for status, count in self._refused.items():
            refused.add_metric([str(status)], count)
        yield from (requests, failures, rows, latency, queue, infer, refused)
        yield from self._of_explanations(labels)
        yield from self._loads()
        for name, (text, read) in self._gauges.items():
            kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            yield kind(name, text, value=read())

    def _of_explanations(self, labels: list[str]) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "tollway_explain_requests",
            "Requests to explain that were answered.",
            labels=[*labels, "status"],
        )
        seconds = CounterMetricFamily(
            "tollway_explain_seconds", "Time from headers to explanation.", labels=labels
        )
        for (model, version), series in self._explanations.items():
            names = [model, str(version)]
            for status, count in series.statuses.items():
                requests.add_metric([*names, str(status)], count)
            seconds.add_metric(names, series.seconds)
        yield from (requests, seconds)

    def _loads(self) -> Iterator[Metric]:
        labels = ["model", "version"]
        engines = GaugeMetricFamily(
            "tollway_engines_ready", "Engines that take requests.", labels=labels
        )
        pending = GaugeMetricFamily(
            "tollway_pending_requests", "Requests that wait for an engine.", labels=labels
        )
        for (model, version), (ready, waiting) in self._load().items():
            engines.add_metric([model, str(version)], ready)
            pending.add_metric([model, str(version)], waiting)
        yield from (engines, pending)


def _cumulative(buckets: list[int]) -> list[tuple[str, float]]:
    total = 0
    found: list[tuple[str, float]] = []
    for bound, count in zip([*LATENCY_BUCKETS_S, float("inf")], buckets, strict=True):
        total += count
        found.append(("+Inf" if bound == float("inf") else str(bound), float(total)))
    return found
