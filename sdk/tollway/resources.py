"""What the server's resources look like to a program: frozen, typed, built from its JSON.

Fields that a newer server adds are ignored; ones that an older server lacks take their default.
"""

from dataclasses import dataclass, field
from typing import Literal

import msgspec

ServingState = Literal["none", "loading", "ready", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A content-addressed file of a version."""

    digest: str
    size: int
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """An input or output; ``shape`` has -1 for a dimension that varies.

    ``symbols`` holds the names of the dimensions, None for one without; empty where none has one.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool = False
    symbols: tuple[str | None, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of the training data, and the input tensor that carries it. ``null``: how a
    missing value of a string column is spelled there; None: refused. ``example``: a publisher's.
    """

    name: str
    type: str
    input: str
    index: int | None = None
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] | None = None
    null_share: float = 0.0
    null: str | None = None
    example: int | float | str | bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How the converted graph compares with the estimator on the rows given to ``deploy``."""

    rows: int
    max_abs_error: float
    tolerance: float
    label_mismatches: int = 0
    near_ties: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """Where a version's model is, if not on this server's workers. ``credential`` is a name."""

    url: str
    model: str
    version: str = ""
    credential: str = ""
    binary: bool = False
    timeout_ms: int = 0
    connect_timeout_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Additive:
    """An output that is a sum of what its columns add, under a link: ``identity``, ``logistic`` or
    ``softmax``."""

    output: str
    link: str = "identity"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The immutable description of a version: everything that decides how it answers.

    It has an ``artifact``, or a ``remote``.
    """

    model: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    artifact: Blob | None = None
    remote: Remote | None = None
    opsets: dict[str, int] = field(default_factory=dict)
    ir_version: int = 0
    task: str = "unknown"
    files: tuple[Blob, ...] = ()
    golden: Blob | None = None
    background: Blob | None = None
    """Rows that explanations compare with."""
    additive: tuple[Additive, ...] = ()
    """Outputs whose explanations are exact."""
    columns: tuple[Column, ...] = ()
    labels: tuple[str | int | float | bool, ...] = ()
    libraries: dict[str, str] = field(default_factory=dict)
    conversion: dict[str, str] = field(default_factory=dict)
    parity: Parity | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One process that holds the version in memory."""

    worker: str
    slot: int
    state: str
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """Whether workers can answer for the version."""

    state: ServingState = "none"
    engines: tuple[Engine, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Brownout:
    """A while in which calls that name the version are refused with 410."""

    start: str
    end: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deprecation:
    """How a version ends. Times are RFC 3339."""

    since: str
    sunset: str | None = None
    successor: int | None = None
    note: str = ""
    brownouts: tuple[Brownout, ...] = ()
    retire_at_sunset: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One immutable version of a model. ``digest`` is that of its manifest."""

    model: str
    number: int
    digest: str
    state: str
    loaded: bool
    manifest: Manifest = field(repr=False)
    serving: Serving = field(default_factory=Serving)
    created_at: str | float | None = None
    created_by: str | None = None
    description: str | None = None
    deprecation: Deprecation | None = None
    """Of versions that are deprecated or retired."""
    approval: str | None = None
    """How the sponsor's word stands, see :class:`tollway.ApprovalStanding`; None for those who do
    not manage the model."""

    @property
    def parity(self) -> Parity | None:
        """The proof that came with the version; None for a graph deployed without its estimator."""
        return self.manifest.parity

    @property
    def metrics(self) -> dict[str, float]:
        """The figures that the publisher gave."""
        return self.manifest.metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model: a name, its versions, and the aliases that point to them."""

    name: str
    title: str | None = None
    description: str | None = None
    aliases: dict[str, int] = field(default_factory=dict)
    latest: int | None = None
    created_at: str | float | None = None
    updated_at: str | float | None = None
    idle_unload_s: int = 0
    """Seconds without a call after which workers let a version go; 0: never."""
    cold_start_wait_s: int = 0
    """Seconds that a call may wait for its version to be loaded; 0: it is refused meanwhile."""
    capture_percent: float = 0.0
    """Share of the predictions whose payload is captured."""
    capture_days: int = 30
    """Days for which it is kept."""

    @property
    def stable(self) -> int | None:
        """The version that answers calls which name none."""
        return self.aliases.get("stable")


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasMove:
    """One entry of an alias's history; ``version`` None: the alias was removed."""

    version: int | None = None
    previous: int | None = None
    at: str | float | None = None
    actor: str | None = None
    reason: str = ""
    rollback: bool = False
    """It went back to the version that was there before."""


class Transition(msgspec.Struct, frozen=True, kw_only=True, rename={"from_state": "from"}):
    """One change of a version's state: who, when and why; ``digest`` is that of the manifest."""

    from_state: str | None = None
    """None for the registration. In JSON: ``from``, which Python keeps for itself."""
    to: str
    digest: str = ""
    reason: str | None = None
    actor: str | None = None
    at: str | float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """A person, team or company whose applications call models."""

    name: str
    title: str | None = None
    created_at: str | float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """A program that calls models with its keys."""

    name: str
    consumer: str = ""
    title: str | None = None
    origins: tuple[str, ...] = ()
    """Web origins whose pages may call with its keys."""
    capture: bool = True
    """Whether payloads of its calls may be kept where a model captures some."""
    created_at: str | float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """An application's right to call a model, under a plan, once it is ``active``."""

    application: str
    model: str
    plan: str
    state: str = "active"
    """``active``, ``pending`` or ``refused``."""
    requested_plan: str | None = None
    """The plan that an active one moves to when that is approved."""
    reason: str | None = None
    """What the last approval or refusal gave as its reason."""
    decided_at: str | float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """At most ``requests`` in any ``window_s`` seconds, ``burst`` of them at once."""

    name: str
    requests: int
    window_s: int
    burst: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """At most ``limit`` of a unit in a calendar period (UTC)."""

    limit: int
    unit: str = "requests"
    period: str = "month"


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """An amount of money; ``amount`` is a decimal in a string."""

    amount: str
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """What a worker or a gateway found of a version, and somebody should look at."""

    kind: str
    """``batch_variance``: answers depended on which requests shared a run; ``unverified_version``:
    a gateway does not route to a version, whose record is not what control wrote."""
    message: str
    since: str | float
    model: str
    version: int
    worker: str = ""
    slot: int = 0
    """Which of the worker's engines found it."""
    gateway: str = ""
    """The gateway that found it; empty: a worker did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a subscription allows. None: without that limit."""

    name: str
    title: str = ""
    description: str = ""
    rates: tuple[Rate, ...] = ()
    quota: Quota | None = None
    concurrency: int | None = None
    max_body_bytes: int | None = None
    max_rows: int | None = None
    deadline_ms: int | None = None
    scopes: tuple[str, ...] | None = None
    fail_mode: str = "closed"
    price_per_thousand: Price | None = None
    approval: str = "automatic"
    built_in: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyOverlap:
    """An earlier secret of a rotated key that still works."""

    generation: int
    prefix: str
    ends_at: str | float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An API key as it may be shown: never its secret."""

    id: str
    prefix: str
    application: str
    label: str | None = None
    environment: str | None = None
    generation: int = 1
    """Counts the secrets that it has had."""
    scopes: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None
    networks: tuple[str, ...] = ()
    created_at: str | float | None = None
    expires_at: str | float | None = None
    rotated_at: str | float | None = None
    revoked_at: str | float | None = None
    last_used_at: str | float | None = None
    overlaps: tuple[KeyOverlap, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey(Key):
    """A key at the only moment its ``secret`` is known. Its repr leaves the secret out."""

    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRow:
    """Requests of one group and time step; fields that were not asked for by ``by`` are None."""

    time: str | float | None = None
    application: str | None = None
    key: str | None = None
    model: str | None = None
    version: int | None = None
    variant: str | None = None
    status: int | None = None
    requests: int = 0
    rows: int = 0
    errors: int = 0
    p50_ms: float | None = None
    p99_ms: float | None = None
    compute_ms: float | None = None
    queue_ms: float | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None
