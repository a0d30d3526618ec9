"""Settings of the gateway role, read from ``TOLLWAY_...`` environment variables."""

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from gateway.access_log import AccessLogSetting
from policies.addresses import Networks
from protocol.configuration import Environment
from runtime.logs import LogFormat, LogLevel
from runtime.targets import networks

_BASE_URL = re.compile(r"https?://[^/?#@\s]+(/[^?#@\s]*)?")
ENVIRONMENTS: tuple[Environment, ...] = ("live", "test")


class GatewaySettings(BaseSettings):
    """Frozen once read; units are in the names."""

    model_config = SettingsConfigDict(env_prefix="TOLLWAY_", frozen=True, extra="ignore")

    data_dir: Path
    """Folder that the role keeps its state in, below ``gateway/``."""
    control_url: str
    """Where control listens: ``http://host:port`` or ``unix:/path``."""
    cluster_token_file: Path
    """File with the token by which roles prove themselves to each other."""
    key_pepper_file: Path
    """File with the pepper that API keys are hashed under."""
    seal_public_key_file: Path | None = None
    """File with the public key (PEM) that versions' seals are verified with; unset: control is
    asked for it once, and it is kept as ``gateway/seal.public.pem`` in the data directory."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=8080, ge=0, le=65535)
    """Port to listen on."""
    listen_fd: int | None = None
    """A listening socket inherited from the supervisor, used instead of ``host`` and ``port``: it
    outlives the gateway, so that clients who connect during a restart wait instead of failing."""
    tls_certificate_file: Path | None = None
    """Certificate chain (PEM); with ``tls_key_file`` the port speaks TLS."""
    tls_key_file: Path | None = None
    """Private key of the certificate (PEM)."""
    trusted_proxies: str = ""
    """Networks (CIDR, comma-separated) of proxies before this gateway, whose ``X-Forwarded-For`` is
    believed; unset: nobody's is."""
    key_environments: str = "live,test"
    """Environments (comma-separated) whose API keys this gateway takes."""
    log_level: LogLevel = "info"
    """debug, info, warning or error."""
    log_format: LogFormat = "auto"
    """``json``, ``console``, or ``auto``: ``console`` on a terminal."""
    access_log: AccessLogSetting = "errors"
    """Predictions that have a line in the log: ``off``, ``errors`` (5xx) or ``all``."""
    otlp_endpoint: str | None = None
    """Base URL of an OpenTelemetry collector (OTLP over HTTP), which gets the traces of sampled
    predictions; unset: none are made."""
    trace_sample_ratio: float = Field(default=0.0, ge=0, le=1)
    """Part of the predictions that begin a trace of their own when their caller has none; what a
    caller traces is sampled as its ``traceparent`` says."""
    max_body_bytes: int = Field(default=64 << 20, ge=1024, le=1 << 30)
    """Largest prediction body; engines must take frames of this size
    (``TOLLWAY_MAX_FRAME_BYTES``)."""
    default_deadline_ms: int = Field(default=30_000, ge=1, le=600_000)
    """Time to answer when the client sets none; a longer wish is cut to this."""
    max_in_flight_per_engine: int = Field(default=4096, ge=1)
    """Requests that may wait on one engine before the gateway answers 503."""
    max_cold_waiting: int = Field(default=256, ge=0, le=65_536)
    """Calls that may wait for engines of versions that were let go of; more are answered 503."""
    shadow_bytes: int = Field(default=32 << 20, ge=0, le=1 << 30)
    """Bytes of requests and answers that may wait to be mirrored to shadow versions; more are
    shed. 0: nothing is mirrored."""
    shadow_requests: int = Field(default=512, ge=1, le=65_536)
    """Requests that may wait to be mirrored to one shadow version; more are shed."""
    shadow_late_ms: float = Field(default=2.0, gt=0, le=60_000)
    """How late this gateway's timers may be, on average, before it mirrors nothing more."""
    shadow_occupied_percent: float = Field(default=80.0, gt=0, le=100)
    """Part of the time for which this gateway's thread may run, or wait for a processor, before it
    mirrors nothing more: a loop that is full of traffic need not be late. 100: no limit."""
    usage_segment_bytes: int = Field(default=64 << 20, ge=1 << 16)
    """Size at which a usage log segment is closed and the next begun."""
    usage_ship_interval_ms: int = Field(default=250, ge=10, le=60_000)
    """How often the usage log is shipped to control."""
    capture_max_bytes: int = Field(default=256 << 10, ge=1, le=8 << 20)
    """Largest payload, request and answer together, that is captured of one prediction."""
    capture_memory_bytes: int = Field(default=8 << 20, ge=0, le=1 << 30)
    """Memory for payloads that wait to be spooled; more are shed."""
    capture_spool_bytes: int = Field(default=64 << 20, ge=0, le=1 << 40)
    """Disk for payloads that wait for control; more are shed."""
    counters: Literal["memory", "redis"] = "memory"
    """Where the counters of plans' limits are: ``memory`` for a gateway alone, ``redis`` for
    several."""
    redis_url: SecretStr | None = None
    """``redis://``, ``rediss://`` (TLS) or ``unix://``, with user and password where there are."""
    redis_url_file: Path | None = None
    """File that holds the URL, used instead of ``redis_url``: a password does not belong in an
    environment."""
    redis_timeout_ms: int = Field(default=50, ge=1, le=10_000)
    """Time in which the plan's fail mode applies when Redis does not answer: six tenths of it are
    Redis', the rest is for noticing and for answering."""
    shutdown_grace_s: float = Field(default=8.0, ge=0, le=300)
    """Time that requests in flight get to finish at shutdown."""
    jwks_timeout_ms: int = Field(default=3_000, ge=10, le=60_000)
    """Time that one fetch of an issuer's keys gets, as a whole."""
    jwks_refresh_s: float = Field(default=300.0, ge=1, le=86_400)
    """How often an issuer's keys are fetched without need: after this a key it has withdrawn is
    known to be."""
    jwks_refetch_s: float = Field(default=5.0, ge=0.1, le=3_600)
    """Least time between two fetches that tokens with unknown keys bring about, per issuer."""
    jwks_keep_s: float = Field(default=43_200.0, ge=0, le=604_800)
    """How long the keys known last work while their issuer's endpoint fails."""
    jwks_withdrawn_s: float = Field(default=60.0, ge=0, le=3_600)
    """How long a key works on once its issuer no longer shows it."""
    jwks_allow_http: bool = False
    """Whether issuers' keys may come by http from other machines."""
    jwks_ca_file: Path | None = None
    """CA certificates (PEM) that issuers' servers are checked by; unset: the public ones."""

    remote_allowed_networks: str = ""
    """Networks (CIDR, comma-separated) beside the public internet where remote versions' servers
    may be, also over ``http://``."""
    remote_credentials_dir: Path | None = None
    """Folder of the credentials for remote servers, a file (mode 0600) each; unset:
    ``remote-credentials`` in the data directory."""
    remote_ca_file: Path | None = None
    """CA certificates (PEM) that remote servers are checked by; unset: the public ones."""
    remote_connections: int = Field(default=64, ge=1, le=4096)
    """Requests that one remote version's server gets at once; more wait in the gateway, up to
    ``max_in_flight_per_engine``."""
    remote_max_response_bytes: int = Field(default=64 << 20, ge=1024, le=1 << 30)
    """Largest answer that is taken of a remote server."""
    remote_check_interval_s: float = Field(default=5.0, ge=0.1, le=3_600)
    """How often a remote version's health is asked for while nothing fails."""

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        for one in _listed(value):
            ip_network(one)  # strict: an address with bits behind the prefix is a slip
        return value

    @field_validator("otlp_endpoint")
    @classmethod
    def _is_a_url(cls, value: str | None) -> str | None:
        if value is not None and _BASE_URL.fullmatch(value) is None:
            raise ValueError("name the collector's base URL, such as http://127.0.0.1:4318")
        return value

    @field_validator("remote_allowed_networks")
    @classmethod
    def _are_allowed(cls, value: str) -> str:
        networks(value)
        return value

    @field_validator("key_environments")
    @classmethod
    def _are_environments(cls, value: str) -> str:
        if not _listed(value) or not set(_listed(value)) <= set(ENVIRONMENTS):
            raise ValueError(f"name one or more of {', '.join(ENVIRONMENTS)}")
        return value

    @property
    def proxy_networks(self) -> Networks:
        """``trusted_proxies``, parsed."""
        return Networks.parse(_listed(self.trusted_proxies))

    @property
    def remote_credentials_path(self) -> Path:
        """Where credentials for remote servers are."""
        return self.remote_credentials_dir or self.data_dir / "remote-credentials"

    @property
    def accepted_environments(self) -> frozenset[Environment]:
        """``key_environments``, parsed."""
        return frozenset(e for e in ENVIRONMENTS if e in _listed(self.key_environments))


def _listed(value: str) -> list[str]:
    return [part for item in value.split(",") if (part := item.strip())]
