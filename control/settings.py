"""Settings of the control role, read from ``TOLLWAY_...``."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from runtime.logs import LogFormat
from runtime.targets import networks


class ControlSettings(BaseSettings):
    """Everything that control can be told. Frozen; every field has its unit in its name."""

    model_config = SettingsConfigDict(
        env_prefix="TOLLWAY_",
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
    )

    data_dir: Path = Path("data")
    """Data directory; control keeps its own files in ``control/`` below it."""
    database_url: str = ""
    """SQLAlchemy URL; empty: the SQLite file ``control/tollway.db`` in the data directory."""
    blob_store: str = ""
    """Folder or ``s3://bucket/prefix``; empty: ``control/blobs`` in the data directory."""
    bind: str = "127.0.0.1:8081"
    """``host:port``, or ``unix:/path`` for a socket that only this user may connect to."""
    cluster_token_file: Path | None = None
    """Secret that the roles prove themselves with; made when there is no such file."""
    key_pepper_file: Path | None = None
    """Pepper of API keys and tokens, the same on control and every gateway."""
    admin_token_file: Path | None = None
    """Management token with role ``admin``; made (mode 0600) when there is no such file."""
    audit_key_file: Path | None = None
    """Private Ed25519 key (PEM) that signs checkpoints of the audit log; made (mode 0600) when
    there is no such file."""
    seal_key_file: Path | None = None
    """Private Ed25519 key (PEM) that signs approvals and the seals of versions; made (mode 0600)
    when there is no such file."""
    audit_checkpoint_entries: int = Field(default=100, ge=1)
    """New audit entries after which a checkpoint is made."""
    audit_checkpoint_interval_s: float = Field(default=60.0, gt=0)
    """Time after which one is made in any case, if there are new entries."""
    audit_verify_interval_s: float = Field(default=24 * 3600.0, gt=0)
    """Time between two verifications of the whole audit log."""
    few_processors: bool = False
    """Whether control, and what it starts, keeps to a quarter of the machine's processors (one at
    least), and leaves the others to what answers predictions there."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: LogFormat = "auto"
    """``json``, ``console``, or ``auto``: ``console`` on a terminal."""

    max_artifact_bytes: int = Field(default=2 << 30, ge=1)
    """Largest artifact, external data included, that the registry takes."""
    max_json_bytes: int = Field(default=16 << 20, ge=1024)
    """Largest request body other than a piece of an upload."""
    max_keys_per_application: int = Field(default=100, ge=1)
    """Keys of one application that work at the same time; more are refused."""
    jwks_allow_http: bool = False
    """Whether issuers' keys may come by http from other machines."""
    jwks_ca_file: Path | None = None
    """CA certificates (PEM) that issuers' servers are checked by; unset: the public ones."""
    capture_model_bytes: int = Field(default=256 << 20, ge=0)
    """Bytes of captured payloads that one model may have; the oldest go first."""
    worker_lost_s: float = Field(default=15.0, gt=0)
    """Silence after which a worker, and its engines, are dropped from the change stream."""
    gateway_lost_s: float = Field(default=10.0, gt=0)
    """Silence after which a gateway no longer counts as alive, and another may take its place."""
    change_poll_ms: int = Field(default=250, ge=10)
    """How often the database is asked for changes by other control processes while a follower
    waits."""
    change_wait_max_ms: int = Field(default=25_000, ge=0)
    """Longest time for which a long poll of the change stream is held open."""
    compact_rows: int = Field(default=20_000, ge=1)
    """Superseded rows in the change log that make compaction run before its daily turn."""
    gc_interval_s: float = Field(default=3600.0, gt=0)
    """Time between two collections of blobs and uploads that nothing refers to."""
    gc_grace_s: float = Field(default=24 * 3600.0, ge=0)
    """Age at which what nothing refers to may be removed."""
    caller_days: int = Field(default=30, ge=1, le=366)
    """Who has called a deprecated version within so many days hears of its end by webhook."""
    retired_retention_d: float = Field(default=365.0, ge=0)
    """Days for which the artifact of a retired version is kept."""
    scan_interval_s: float = Field(default=24 * 3600.0, gt=0)
    """Time between two integrity scans of the blobs."""
    session_idle_s: float = Field(default=12 * 3600.0, gt=0)
    """Time without a request after which a session ends."""
    session_max_s: float = Field(default=7 * 24 * 3600.0, gt=0)
    """Time after which a session ends however much it is used."""
    rate_login: str = "60/minute"
    """Logins from one address. Several limits are separated by ``;``; empty: none."""
    rate_login_name: str = "30/5minute"
    """Logins as one user, from wherever."""
    rate_sign_up: str = "10/hour"
    """Sign-ups from one address."""
    rate_credentials: str = "1200/minute"
    """Keys and tokens made or rotated by one user, and from one address."""
    rate_user: str = "12000/minute"
    """Management requests of one user."""
    rate_address: str = "30000/minute"
    """Management requests from one address."""
    public_url: str = ""
    """Address by which users reach this installation; needed for logins through an issuer."""
    gateway_url: str = ""
    """Address of a gateway as this process reaches it, for evaluations that it runs; empty: that of
    `public_url`. The versions' engines are asked there, as the user who evaluates."""
    gateway_certificate_file: Path | None = None
    """Certificate (PEM) that this gateway must show, whatever name it is for; unset: one that an
    authority has issued for its name."""
    evaluations_max: int = Field(default=2, ge=0, le=64)
    """Evaluations that run at once, a process each; more are answered 503. 0: none are run here."""
    evaluation_max_bytes: int = Field(default=64 << 20, ge=1024)
    """Largest file of rows that an evaluation takes."""
    evaluation_max_rows: int = Field(default=1_000_000, ge=1)
    """Most rows in it."""
    evaluation_timeout_s: float = Field(default=1800.0, gt=0)
    """Time after which an evaluation is ended."""
    oidc_client_ids: dict[str, str] = {}
    """Issuer -> this installation's client id there (JSON). Users log in through these issuers."""
    oidc_client_secret_files: dict[str, Path] = {}
    """Issuer -> file with the client secret (JSON); without one the client is a public one."""
    public_catalogue: bool = False
    """Whether the catalogue, and what it says of models, is read without a login."""
    sign_up: bool = False
    """Whether anybody may make themselves an account with the role ``consumer``."""
    upload_ttl_s: float = Field(default=24 * 3600.0, gt=0)
    """How long an upload may stay unfinished."""
    disagreement_days: int = Field(default=30, ge=1, le=3_650)
    """Days for which it is kept what shadow versions would have answered otherwise."""
    usage_minutes_days: int = Field(default=14, ge=1)
    """Days for which usage is kept by minute."""
    usage_hours_days: int = Field(default=100, ge=1)
    """Days for which usage is kept by hour."""
    usage_days_days: int = Field(default=800, ge=62)
    """Days for which usage is kept by day, and the charges behind statements. Statements stay."""
    statement_grace_h: float = Field(default=72.0, ge=0)
    """Hours after a month's end at which its statements are closed."""

    remote_allowed_networks: str = ""
    """Networks (CIDR, comma-separated) beside the public internet where remote versions' servers
    may be, also over ``http://``."""
    remote_credentials_dir: Path | None = None
    """Folder of the credentials for remote servers, a file (mode 0600) each; unset:
    ``remote-credentials`` in the data directory."""
    remote_ca_file: Path | None = None
    """CA certificates (PEM) that remote servers are checked by; unset: the public ones."""

    webhook_secret_file: Path | None = None
    """Secret that the secrets of webhooks are derived from; made when there is no such file."""
    webhook_allowed_networks: str = ""
    """Networks (CIDR, comma-separated) beside the public internet that webhooks may post to, also
    over ``http://``."""
    webhook_concurrency: int = Field(default=16, ge=1, le=1000)
    """Webhook deliveries under way at once; at most four of them to one endpoint."""
    webhook_connect_timeout_s: float = Field(default=5.0, gt=0)
    """Time to resolve a receiver's name, and again to connect to it."""
    webhook_timeout_s: float = Field(default=15.0, gt=0)
    """Time for one attempt as a whole."""
    webhook_poll_ms: int = Field(default=1000, ge=10)
    """How often deliveries that are due, and other control processes' events, are looked for."""
    webhook_disable_after_d: float = Field(default=5.0, gt=0)
    """Days for which an endpoint may take no delivery before it is disabled."""
    webhook_retention_d: float = Field(default=30.0, gt=0)
    """Days for which deliveries that have ended are kept."""

    @field_validator("webhook_allowed_networks", "remote_allowed_networks")
    @classmethod
    def _are_networks(cls, text: str) -> str:
        networks(text)
        return text

    @property
    def own_dir(self) -> Path:
        """Control's folder in the data directory."""
        return self.data_dir / "control"

    @property
    def database(self) -> str:
        """The database URL, with its default filled in."""
        return self.database_url or f"sqlite:///{self.own_dir / 'tollway.db'}"

    @property
    def blobs(self) -> str:
        """The blob store, with its default filled in."""
        return self.blob_store or str(self.own_dir / "blobs")

    @property
    def evaluations_url(self) -> str:
        """Where evaluations ask for predictions; empty: that is not known."""
        return (self.gateway_url or self.public_url).rstrip("/")

    @property
    def cluster_token_path(self) -> Path:
        """Where the cluster token is kept."""
        return self.cluster_token_file or self.data_dir / "cluster.token"

    @property
    def key_pepper_path(self) -> Path:
        """Where the pepper is kept."""
        return self.key_pepper_file or self.data_dir / "key.pepper"

    @property
    def webhook_secret_path(self) -> Path:
        """Where the secret behind the webhooks' secrets is kept."""
        return self.webhook_secret_file or self.data_dir / "webhook.secret"

    @property
    def remote_credentials_path(self) -> Path:
        """Where credentials for remote servers are."""
        return self.remote_credentials_dir or self.data_dir / "remote-credentials"

    @property
    def audit_dir(self) -> Path:
        """Where public keys and the copy of the checkpoints are kept."""
        return self.own_dir / "audit"

    @property
    def audit_key_path(self) -> Path:
        """Where the key that signs checkpoints is kept."""
        return self.audit_key_file or self.audit_dir / "signing.key"

    @property
    def seal_dir(self) -> Path:
        """Where the public keys of seals are kept."""
        return self.own_dir / "seals"

    @property
    def seal_key_path(self) -> Path:
        """Where the key that seals versions is kept."""
        return self.seal_key_file or self.seal_dir / "signing.key"

    @property
    def admin_token_path(self) -> Path:
        """Where the admin token is kept."""
        return self.admin_token_file or self.data_dir / "admin.token"
