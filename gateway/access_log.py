"""The access log: a line for each answered prediction, or for those that failed.

Lines are made and written by a thread. They hold what the usage record has, and no credential, no
body and no path: nothing that a client made up but its request id, which is bounded.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple

from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from protocol.errors import Code
from protocol.usage import UsageRecord
from runtime.drain import Drain
from runtime.logs import write_events

AccessLogSetting = Literal["off", "errors", "all"]

INTERVAL_S: Final = 0.25
BATCH: Final = 1024
CAPACITY: Final[dict[AccessLogSetting, int]] = {"off": 0, "errors": 256, "all": 65_536}
"""Lines that may wait for the thread. Few for errors: an overload that refuses ten thousand
requests a second is told by its metrics, and must not be made worse by its log."""
LOWEST_STATUS: Final[dict[AccessLogSetting, int]] = {"off": 1000, "errors": 500, "all": 0}
CLOSING_S: Final = 2.0


class Line(NamedTuple):
    """What a line is made of."""

    record: UsageRecord
    request_id: bytes
    trace_id: int
    """0: the request is not sampled."""
    client: str
    code: Code | None
    """Set when the gateway itself refused the request."""


class AccessLog(Collector):
    """The lines that wait, and the thread that writes them."""

    def __init__(self, setting: AccessLogSetting, *, interval_s: float = INTERVAL_S) -> None:
        self.lowest_status = LOWEST_STATUS[setting]
        """Answers from this status on have a line."""
        self._drain: Drain[Line] = Drain(
            "access", self._write, capacity=CAPACITY[setting], batch=BATCH, interval_s=interval_s
        )

    @property
    def dropped(self) -> int:
        """Lines that found no place among those that wait."""
        return self._drain.dropped

    def start(self) -> None:
        """Start writing."""
        self._drain.start()

    def put(self, line: Line) -> None:
        """Write a line soon. Never blocks."""
        self._drain.put((line,))

    def close(self) -> None:
        """Write what waits."""
        self._drain.close(CLOSING_S)

    @staticmethod
    def _write(lines: Sequence[Line]) -> None:
        write_events("access", map(_event, lines))

    def collect(self) -> Iterator[Metric]:
        """Prometheus' view."""
        yield CounterMetricFamily(
            "tollway_access_log_lines_dropped",
            "Lines of the access log that were not written: too many at once.",
            value=self.dropped,
        )


def _event(line: Line) -> dict[str, object]:
    record = line.record
    event: dict[str, object] = {
        "event": "prediction",
        "level": "info" if record.status < LOWEST_STATUS["errors"] else "error",
        "timestamp": datetime.fromtimestamp(record.at_ms / 1000, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z"),
        "request_id": line.request_id.decode(),
        "prediction_id": record.prediction_id,
        "client": line.client,
        "application": record.application,
        "key": record.key,
        "model": record.model,
        "version": record.version,
        "variant": record.variant,
        "status": record.status,
        "rows": record.rows,
        "bytes_in": record.bytes_in,
        "bytes_out": record.bytes_out,
        "queue_ms": record.queue_us / 1000,
        "infer_ms": record.infer_us / 1000,
        "total_ms": record.total_us / 1000,
    }
    if line.trace_id:
        event["trace_id"] = f"{line.trace_id:032x}"
    if line.code is not None:
        event["code"] = line.code.value
    return event
