"""How an installation is doing: its gateways and workers, latency and refusals:
``client.operations``."""

from dataclasses import dataclass
from datetime import datetime

from tollway.billing import narrowed
from tollway.registry import listing
from tollway.transport import Transport

_LATENCY = "/api/v1/usage/latency"
_REFUSALS = "/api/v1/usage/refusals"


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayStatus:
    """A gateway that is alive. ``counters``: where it counts limits; ``lag``: changes of the
    configuration that it does not follow yet."""

    id: str
    counters: str
    version: str
    started_at: str
    seen_at: str
    position: int
    lag: int
    requests_per_s: float
    in_flight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFigures:
    """How an engine is doing: rates over the last five seconds.

    ``busy`` is the share of the time in which its graph ran, ``requests`` what it has answered
    since it started, ``restarts`` how often it was started again after it had ended by itself.
    """

    pid: int
    memory_bytes: int | None
    restarts: int
    load_ms: int
    threads: int
    queued: int
    requests: int
    requests_per_s: float
    rows_per_s: float
    busy: float
    batching: bool | None
    batching_cause: str
    batching_reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerEngine:
    """An engine of a worker. ``cold``: let go of until somebody calls. ``figures`` is None until it
    has told."""

    model: str
    version: int
    slot: int
    address: str
    state: str
    error: str
    figures: EngineFigures | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatus:
    """A worker that is alive. ``available_bytes``: memory that further engines can get."""

    id: str
    first_seen_at: str
    seen_at: str
    software: str = ""
    cores: int | None = None
    available_bytes: int | None = None
    engines: tuple[WorkerEngine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyColumn:
    """A span of time: the requests that began in it.

    ``counts``: requests by how long they took, one for each of the report's ``edges_ms`` and one
    beyond the last. ``queue_ms`` and ``compute_ms`` are of all requests together.
    """

    time: str
    requests: int
    errors: int
    rows: int
    p50_ms: float | None
    p99_ms: float | None
    queue_ms: float
    compute_ms: float
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyReport:
    """Requests by time and latency, in columns of ``minutes``; columns in which nothing came are
    there as well. ``edges_ms`` are the upper ends of the buckets."""

    edges_ms: tuple[float, ...]
    minutes: int
    items: tuple[LatencyColumn, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalColumn:
    """A span of time, and the requests that each kind of limit refused in it."""

    time: str
    rate: int
    quota: int
    concurrency: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedCaller:
    """Who was refused by what. ``last_at``: the beginning of the five minutes in which it happened
    last."""

    application: str
    model: str
    plan: str
    limit: str
    requests: int
    last_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalReport:
    """Requests that plans' limits refused: over time, in columns of ``minutes``, and by caller, the
    hundred with the most."""

    minutes: int
    items: tuple[RefusalColumn, ...]
    callers: tuple[RefusedCaller, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A setting of control, by the variable that sets it. Passwords are left out."""

    name: str
    value: str
    is_default: bool
    about: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The ``version`` and the settings of the control process that answered. ``database``:
    ``sqlite`` or ``postgresql``."""

    version: str
    database: str
    settings: tuple[Setting, ...]


class Operations:
    """The part of the management API about how an installation is doing."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def gateways(self) -> list[GatewayStatus]:
        """The gateways that are alive."""
        return list(listing(self._transport, "/api/v1/gateways", GatewayStatus))

    def workers(self) -> list[WorkerStatus]:
        """The workers that are alive, with their engines; to publishers, those of their models."""
        return list(listing(self._transport, "/api/v1/workers", WorkerStatus))

    def settings(self) -> Settings:
        """What control was told; for admins and auditors. It is changed by the environment and a
        restart."""
        return self._transport.get("/api/v1/settings", Settings)

    def latency(
        self,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        application: str | None = None,
        model: str | None = None,
        version: int | None = None,
        columns: int = 24,
    ) -> LatencyReport:
        """How many requests took how long, by time: in the last day, or from ``start`` to ``end``,
        in at most ``columns`` spans."""
        only = {"application": application, "model": model, "version": version, "columns": columns}
        return self._transport.get(_LATENCY, LatencyReport, narrowed(start, end, only))

    def refusals(
        self,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        application: str | None = None,
        model: str | None = None,
        columns: int = 24,
    ) -> RefusalReport:
        """Who was refused by which limit, and when: in the last day, or from ``start`` to
        ``end``."""
        only = {"application": application, "model": model, "columns": columns}
        return self._transport.get(_REFUSALS, RefusalReport, narrowed(start, end, only))
