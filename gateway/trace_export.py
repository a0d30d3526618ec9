"""Sends finished spans to a collector from a thread of its own.

Nothing here holds a prediction: what a slow or absent collector does not take is dropped, and
counted.
"""

from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway.tracing import Span
from runtime.drain import Drain
from runtime.logs import logger

CAPACITY: Final = 8192
"""Spans that may wait; about 1 kB each."""
BATCH: Final = 512
INTERVAL_S: Final = 0.5
CLOSING_S: Final = 2.0
"""Time that the last spans get when the gateway stops."""


class Exporter(Protocol):
    """Sends a batch; may take its time."""

    def export(self, spans: Sequence[Span]) -> bool:
        """Whether the collector has taken them."""

    def shutdown(self) -> None:
        """Give up what is being sent."""


class TraceExport(Collector):
    """The spans that wait, and the thread that sends them."""

    def __init__(
        self, exporter: Exporter, *, capacity: int = CAPACITY, interval_s: float = INTERVAL_S
    ) -> None:
        self._exporter = exporter
        self._drain: Drain[Span] = Drain(
            "traces", self._send, capacity=capacity, batch=BATCH, interval_s=interval_s
        )
        self._taken = True
        self.exported = self.refused = 0
        """Spans that the collector took, and did not take."""

    @property
    def overflowed(self) -> int:
        """Spans that found no place among those that wait."""
        return self._drain.dropped

    def start(self) -> None:
        """Start sending."""
        self._drain.start()

    def put(self, spans: Sequence[Span]) -> None:
        """Queue the spans of a request; drop them when too many wait. Never blocks."""
        self._drain.put(spans)

    def close(self) -> None:
        """Send what waits; blocks for ``CLOSING_S`` at most."""
        self._drain.close(CLOSING_S)
        self._exporter.shutdown()

    def _send(self, batch: Sequence[Span]) -> None:
        taken = False
        try:
            taken = self._exporter.export(batch)
        finally:
            if taken:
                self.exported += len(batch)
            else:
                self.refused += len(batch)
        if taken != self._taken:
            self._taken = taken
            self._tell()

    def _tell(self) -> None:
        log = logger("traces")
        if self._taken:
            log.info("the collector takes traces again")
        else:
            log.warning("the collector does not take traces: they are dropped until it does")

    def collect(self) -> Iterator[Metric]:
        """Prometheus' view."""
        yield CounterMetricFamily(
            "tollway_trace_spans_exported", "Spans that the collector took.", value=self.exported
        )
        dropped = CounterMetricFamily(
            "tollway_trace_spans_dropped",
            "Spans that found no place in the queue, or that the collector did not take.",
            labels=["reason"],
        )
        dropped.add_metric(["queue_full"], self.overflowed)
        dropped.add_metric(["not_taken"], self.refused)
        yield dropped
