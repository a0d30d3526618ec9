"""The catalogue as the management API gives it, and how fast its models answer."""

import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, TypedDict

import msgspec

from control.reach import EVERYTHING
from control.resources import Resource
from control.store.usage_reading import PAGE_ITEMS, UsageReports
from control.usage_report import parse_query
from protocol.configuration import DeprecationDoc, VersionState
from protocol.manifest import Manifest, Task
from registry.clock import Clock, rfc3339
from registry.status import ServingState

LATENCY_DAYS: Final = 7
FRESH_MS: Final = 60_000
MAX_LABELS: Final = 12


class Quality(Resource):
    """The main metric of the version's newest evaluation."""

    metric: str
    value: float
    rows_name: str
    """The evaluation's name for the rows that it was made on."""
    rows: int


class Latency(Resource):
    """How fast answers were in the last days, at the gateways."""

    requests: int
    errors: int
    """Answers of status 400 and above."""
    p50_ms: float | None
    p99_ms: float | None


class CatalogueEntry(Resource):
    """A model that may be called, by the version that a call without one gets."""

    name: str
    title: str
    description: str
    owner: str | None
    """The owner's title. Null where they have none: names, which let in, are not shown."""
    updated_at: str
    task: Task
    predicts: list[str]
    """A classifier's labels, at most 12 of them; else the names of the outputs."""
    columns: int
    """Input columns; of a model that has none, its input tensors."""
    version: int
    versions: int
    """How many may be called."""
    state: VersionState
    sunset: str | None
    """When a deprecated version may go out of service."""
    quality: Quality | None
    serving: ServingState = "none"
    latency: Latency | None = None
    """Null: nobody has called it in the last 7 days."""


class _Fields(TypedDict):
    task: Task
    predicts: list[str]
    columns: int
    state: VersionState
    sunset: str | None


class Found(msgspec.Struct, frozen=True):
    """What a version says of its model."""

    manifest: Manifest
    state: VersionState
    deprecation: DeprecationDoc | None

    def fields(self) -> _Fields:
        """The entry's fields."""
        manifest = self.manifest
        labels = [str(label) for label in manifest.labels[:MAX_LABELS]]
        ending = self.deprecation
        return _Fields(
            task=manifest.task,
            predicts=labels or [output.name for output in manifest.outputs[:MAX_LABELS]],
            columns=len(manifest.columns) or len(manifest.inputs),
            state=self.state,
            sunset=None
            if ending is None or ending.sunset is None
            else rfc3339(ending.sunset * 1000),
        )


class Latencies:
    """How fast every model answered in the last days: read at most once a minute, for it is the
    same for everybody. Thread-safe; calls may block."""

    def __init__(self, reports: UsageReports, clock: Clock) -> None:
        self._reports = reports
        self._clock = clock
        self._lock = threading.Lock()
        self._read_ms = 0
        self._found: dict[str, Latency] = {}

    def all(self) -> Mapping[str, Latency]:
        """Model -> latency; one that was not called is not there."""
        now = self._clock()
        with self._lock:
            if self._read_ms and 0 <= now - self._read_ms < FRESH_MS:
                return self._found
            # From midnight on: whole days are summed up already.
            end = datetime.fromtimestamp(now / 1000, UTC)
            today = end.replace(hour=0, minute=0, second=0, microsecond=0)
            start = today - timedelta(days=LATENCY_DAYS - 1)
            query = parse_query(start, end, "model", None, now, {}, "")
            page = self._reports.page(EVERYTHING, query, PAGE_ITEMS)
            self._found = {
                item.model: Latency(
                    requests=item.requests,
                    errors=item.errors,
                    p50_ms=item.p50_ms,
                    p99_ms=item.p99_ms,
                )
                for item in page.items
                if item.model is not None
            }
            self._read_ms = now
            return self._found
