"""Settings of the worker role, read from ``TOLLWAY_...`` environment variables."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from runtime.logs import LogFormat, LogLevel
from runtime.machine import cores


class WorkerSettings(BaseSettings):
    """Frozen once read; units are in the names."""

    model_config = SettingsConfigDict(env_prefix="TOLLWAY_", frozen=True, extra="ignore")

    data_dir: Path
    """Folder that the role keeps its state in, below ``worker-ID/``."""
    control_url: str
    """Where control listens: ``http://host:port`` or ``unix:/path``."""
    cluster_token_file: Path
    """File with the token by which roles prove themselves to each other."""
    worker_id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    """Name of this worker, unique in the installation."""
    blobs_nearby: Path | None = None
    """Folder on this machine that control keeps its blobs in: what is there is read from there, and
    the rest is fetched. Unset: everything is fetched."""
    run_dir: Path
    """Private folder for the engines' sockets; keep its path short (a socket's may have about 100
    characters)."""
    engine_host: str | None = None
    """Address that engines listen on by TCP; unset: Unix sockets, for a gateway on this machine."""
    engine_advertised_host: str | None = None
    """Host name by which gateways reach this machine, if not ``engine_host``."""
    engine_first_port: int = Field(default=9100, ge=1, le=65535)
    """TCP ports of engines count up from here."""
    engine_ports: int = Field(default=400, ge=1, le=65535)
    """How many TCP ports engines may use."""
    engines_min: int = Field(default=1, ge=1, le=256)
    """Engines that every loaded version has, whatever its load."""
    engines_max: int | None = Field(default=None, ge=1, le=256)
    """Engines that a version may have when its requests queue; unset: one for each core."""
    engines_extra_max: int | None = Field(default=None, ge=0, le=4096)
    """Engines beyond ``engines_min`` that this worker runs, over all versions; unset: one for each
    core."""
    engines_idle_s: float = Field(default=60.0, ge=1, le=86_400)
    """For how long fewer engines must have been enough before one is taken away."""
    engines_reserve_mb: int = Field(default=256, ge=0, le=1 << 20)
    """Memory that stays free: no engine is added that would need it."""
    engine_threads: int = Field(default=0, ge=0, le=256)
    """Threads that one run may use inside ONNX Runtime; 0: one, or every core where an engine finds
    at its start that its model's runs are clearly quicker so."""
    engine_load_timeout_s: float = Field(default=300.0, ge=1, le=3600)
    """Time that an engine gets to load, warm up and replay its golden rows."""
    engine_drain_s: float = Field(default=8.0, ge=0, le=300)
    """Time that requests in flight get when an engine is stopped."""
    engine_linger_s: float = Field(default=1.0, ge=0, le=60)
    """Time for which engines still take requests once their version was unloaded: gateways hear of
    a change of route within a second of each other."""
    max_queue_requests: int = Field(default=1024, ge=1)
    """Requests that may wait in one engine; more are answered 503."""
    max_queue_bytes: int = Field(default=256 << 20, ge=1 << 16)
    """Bytes of request bodies that may wait in one engine."""
    max_batch_rows: int = Field(default=1024, ge=1)
    """Rows that requests may share one run with."""
    explain_max_rows: int = Field(default=100, ge=1, le=10_000)
    """Rows that one request may have explained; a plan's ``max_rows`` may allow fewer."""
    explain_max_evaluations: int = Field(default=5_000_000, ge=1000, le=1_000_000_000)
    """Rows that the model may have to run for one request to explain."""
    max_frame_bytes: int = Field(default=256 << 20, ge=1 << 16, le=1 << 30)
    """Largest frame that an engine takes."""
    loading_at_once: int = Field(default=2, ge=1, le=64)
    """Engines that may load at the same time."""
    metrics_bind: str | None = None
    """``host:port`` of the worker's own ``/metrics``, ``/healthz`` and ``/readyz``; unset: none."""
    log_level: LogLevel = "info"
    """debug, info, warning or error."""
    log_format: LogFormat = "auto"
    """``json``, ``console``, or ``auto``: ``console`` on a terminal."""

    @model_validator(mode="after")
    def _are_bounds(self) -> Self:
        if self.engines_max is not None and self.engines_max < self.engines_min:
            raise ValueError("engines_max must not be below engines_min")
        return self

    def most_engines(self, threads: int = 1) -> int:
        """``engines_max``, or what it is when it is not set: for engines of so many threads."""
        return max(self.engines_max or cores() // threads, self.engines_min)

    @property
    def most_extra_engines(self) -> int:
        """``engines_extra_max``, or what it is when it is not set."""
        return cores() if self.engines_extra_max is None else self.engines_extra_max
