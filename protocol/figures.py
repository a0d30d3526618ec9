"""What a worker tells control of its engines' work every few seconds. It is no configuration: it is
kept beside the change stream, and nobody decides by it."""

import msgspec


class EngineFigures(msgspec.Struct, frozen=True, kw_only=True):
    """How one engine is doing. Rates are over the time since the figures before."""

    model: str
    version: int
    slot: int
    pid: int = 0
    memory_bytes: int | None = None
    """What the process has to itself; None where the system does not tell."""
    restarts: int = 0
    """How often the worker has started it again after it had ended by itself."""
    load_ms: int = 0
    threads: int = 1
    queued: int = 0
    requests: int = 0
    """Answered since it started."""
    requests_per_s: float = 0.0
    rows_per_s: float = 0.0
    busy: float = 0.0
    """Share of the time in which the graph ran."""
    batching: bool | None = None
    """Whether requests share runs; None: it did not tell."""
    batching_cause: str = ""
    batching_reason: str = ""


class WorkerFigures(msgspec.Struct, frozen=True, kw_only=True):
    """``PUT /internal/v1/workers/ID/figures``."""

    id: str
    software: str
    cores: int
    available_bytes: int | None = None
    """Memory that new processes can get; None where the system does not tell."""
    engines: tuple[EngineFigures, ...] = ()
