"""The documents that travel on the change stream, and the stream's own messages.

A change is ``(seq, kind, key, doc)``; ``doc`` is the whole new document, or null when it was
deleted. The state of the world is the newest document of each (kind, key).
"""

from typing import Final, Literal

import msgspec

from protocol.manifest import Manifest
from protocol.seals import Seal

VersionState = Literal[
    "registered", "validated", "approved", "published", "deprecated", "retired", "rejected"
]
CALLABLE_STATES: frozenset[str] = frozenset({"published", "deprecated"})
"""States in which consumers may call a version."""

LEGAL: Final[dict[VersionState, tuple[VersionState, ...]]] = {
    "registered": ("validated", "rejected"),
    "validated": ("approved", "rejected"),
    "approved": ("published", "rejected"),
    "published": ("deprecated",),
    "deprecated": ("retired",),
    "retired": (),
    "rejected": (),
}
"""State -> states that may follow it."""
FINAL_STATES: Final[frozenset[VersionState]] = frozenset({"retired", "rejected"})
"""States that a version never leaves: nobody is answered by it again."""


def may_follow(earlier: VersionState, later: VersionState) -> bool:
    """Whether a version that was ``earlier`` may be ``later`` now, after any number of steps."""
    return earlier == later or any(may_follow(step, later) for step in LEGAL[earlier])


EngineState = Literal["starting", "ready", "cold", "failed", "stopped"]
"""``cold``: nobody called for a while, so that there is no process; a call starts one."""

Scope = Literal["predict", "explain", "feedback", "metadata"]
"""What a credential may be used for."""
SCOPES: tuple[Scope, ...] = ("predict", "explain", "feedback", "metadata")
Environment = Literal["live", "test"]
QuotaUnit = Literal["requests", "rows", "compute_ms"]
QuotaPeriod = Literal["day", "month"]


class CanaryDoc(msgspec.Struct, frozen=True, kw_only=True):
    """A version that answers some of the applications which name no version."""

    version: int
    permille: int
    """Share of the applications, 0 to 1000: those whose stable hash is below it."""


class ShadowDoc(msgspec.Struct, frozen=True, kw_only=True):
    """A version that also scores some of the requests, after their answer has left."""

    version: int
    permille: int = 1000
    """Share of the requests, 0 to 1000."""


class ColumnRule(msgspec.Struct, frozen=True, kw_only=True):
    """What a column of a request may hold."""

    column: str
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] | None = None
    """None: any text."""
    nulls: bool = True
    """Whether a value may be missing."""


class ContractDoc(msgspec.Struct, frozen=True, kw_only=True):
    """A model's data contract: the rules for its inputs."""

    mode: Literal["warn", "enforce"]
    """``enforce``: a request that breaks a rule is answered 422; ``warn``: it is counted."""
    rules: tuple[ColumnRule, ...] = ()


class ModelDoc(msgspec.Struct, frozen=True, kw_only=True):
    """kind ``model``, key = name."""

    name: str
    aliases: dict[str, int] = {}
    """Label -> version number. The label ``stable`` answers calls that name no version."""
    canary: CanaryDoc | None = None
    shadows: tuple[ShadowDoc, ...] = ()
    contract: ContractDoc | None = None
    segments: dict[str, str] = {}
    """Name -> condition on columns (``age<30``), by which reports are told apart."""
    capture_permille: int = 0
    """Share of the requests whose payload may be kept, 0 to 1000."""
    idle_unload_s: int = 0
    """Seconds without a call after which workers let a version go until it is called; 0: never."""
    cold_start_wait_s: int = 0
    """Seconds that a call may wait for its version to be loaded; 0: it is refused meanwhile."""


class BrownoutDoc(msgspec.Struct, frozen=True, kw_only=True):
    """A while in which a deprecated version refuses the calls that name it, as it will at its end.
    UNIX seconds; ``end`` is no longer part of it."""

    start: int
    end: int


class DeprecationDoc(msgspec.Struct, frozen=True, kw_only=True):
    """How a version ends. Times are UNIX seconds."""

    since: int
    """Since when it is deprecated."""
    sunset: int | None = None
    """When it may go out of service; of a retired version, when it went. None: not decided."""
    successor: int | None = None
    """The version that its callers should move to."""
    note: str = ""
    """What its callers should know, in the publisher's words."""
    brownouts: tuple[BrownoutDoc, ...] = ()
    """By time, none within another."""
    retire_at_sunset: bool = False
    """Whether control retires the version at its sunset."""


class VersionDoc(msgspec.Struct, frozen=True, kw_only=True):
    """kind ``version``, key = ``MODEL/NUMBER``."""

    model: str
    number: int
    digest: str
    """Digest of the manifest."""
    state: VersionState
    loaded: bool
    """Whether workers should hold engines for it."""
    manifest: Manifest
    deprecation: DeprecationDoc | None = None
    """Of versions that are deprecated or retired."""
    seal: Seal | None = None
    """Control's signature over all of this but ``loaded`` and ``deprecation``. Gateways route to no
    version whose seal does not verify."""


class KeyDoc(msgspec.Struct, frozen=True, kw_only=True):
    """kind ``key``, key = id. An API key of an application, or a management token with a role."""

    id: str
    hash: str
    """HMAC-SHA-256 of the secret under the server's pepper, hex."""
    application: str | None = None
    role: str | None = None
    models: tuple[str, ...] | None = None
    """Models that the key is restricted to; None: all that the application subscribes to (for a
    management token: all that there are)."""
    expires_at: int | None = None
    """UNIX seconds."""
    environment: Environment = "live"
    scopes: tuple[Scope, ...] | None = None
    """What the key may be used for; None: everything that the plan allows."""
    networks: tuple[str, ...] = ()
    """Networks (CIDR) from which it may be used; empty: from anywhere."""
    lineage: str = ""
    """Id of the key that this is a secret of: usage and logs name it. Every secret of a rotated key
    that still works has a document of its own (``ID``, ``ID.2`` ...). Empty: ``id`` itself."""


class ApplicationDoc(msgspec.Struct, frozen=True, kw_only=True):
    """kind ``application``, key = name."""

    name: str
    consumer: str
    origins: tuple[str, ...] = ()
    """Web origins (``https://host[:port]``) whose pages may call with this application's keys."""
    capture: bool = True
    """Whether payloads of its calls may be kept where a model captures some."""


class SubscriptionDoc(msgspec.Struct, frozen=True, kw_only=True):
    """kind ``subscription``, key = ``APPLICATION/MODEL``. Only active ones are published."""

    application: str
    model: str
    plan: str


class PinDoc(msgspec.Struct, frozen=True, kw_only=True):
    """kind ``pin``, key = ``APPLICATION/MODEL``: the version that answers an application's calls
    which name none."""

    application: str
    model: str
    version: int


class RateDoc(msgspec.Struct, frozen=True, kw_only=True):
    """At most ``requests`` in any ``window_s`` seconds, ``burst`` of them at once (GCRA)."""

    name: str
    """Names the limit in ``RateLimit`` headers and errors; unique in its plan."""
    requests: int
    window_s: int
    burst: int | None = None
    """None: all of the window's requests may come at once."""


class QuotaDoc(msgspec.Struct, frozen=True, kw_only=True):
    """At most ``limit`` units a calendar period (UTC)."""

    limit: int
    unit: QuotaUnit = "requests"
    period: QuotaPeriod = "month"


class PlanDoc(msgspec.Struct, frozen=True, kw_only=True):
    """kind ``plan``, key = name. None means without limit. Limits count per subscription."""

    name: str
    rates: tuple[RateDoc, ...] = ()
    """All of them hold at once."""
    quota: QuotaDoc | None = None
    concurrency: int | None = None
    """Requests that may be under way at once."""
    max_body_bytes: int | None = None
    max_rows: int | None = None
    """Rows in one request."""
    deadline_ms: int | None = None
    """Longest that a request may take, from its headers to its answer."""
    scopes: tuple[Scope, ...] | None = None
    fail_open: bool = False
    """Whether calls pass, uncounted, while the counters cannot be reached."""


class IssuerDoc(msgspec.Struct, frozen=True, kw_only=True):
    """kind ``issuer``, key = name. Whose JSON Web Tokens are taken, and what they mean here."""

    name: str
    issuer: str
    """The exact ``iss`` of its tokens."""
    audiences: tuple[str, ...]
    """A token must be meant for one of these."""
    algorithms: tuple[str, ...]
    """The only signature algorithms that are taken. Never ``none``."""
    jwks_uri: str
    application_claim: str = "azp"
    """Claim (a dotted path) that says which application calls."""
    applications: dict[str, str] = {}
    """Value of that claim -> application; empty: the value is the application's name."""
    scope_claim: str = ""
    """Claim that says what a token may be used for, and nothing else then; empty: everything that
    the plan allows."""
    scopes: dict[str, Scope] = {}
    """Value in the scope claim -> scope; empty: the values are scopes by their own names."""
    role_claim: str = ""
    """Claim that says which management role its holder has; empty: none of its tokens manages."""
    roles: dict[str, str] = {}
    """Value of the role claim -> role."""
    leeway_s: int = 30
    """Clock difference allowed for ``exp`` and ``nbf``."""
    max_lifetime_s: int = 86_400
    """A token that is valid for longer than this, from now, is refused."""


AlertKind = Literal["batch_variance", "unverified_version"]
"""``batch_variance``: a model's answers depended on which requests shared a run.
``unverified_version``: a gateway does not route to a version, whose record is not what control
wrote."""


class AlertDoc(msgspec.Struct, frozen=True, kw_only=True):
    """Something about a version that somebody should look at."""

    kind: AlertKind
    message: str
    since: int
    """UNIX seconds."""


class EngineDoc(msgspec.Struct, frozen=True, kw_only=True):
    """One engine process of a worker."""

    model: str
    version: int
    slot: int
    address: str
    """``unix:/path`` or ``tcp:host:port``; stays the same while the engine is restarted."""
    state: EngineState
    error: str = ""
    alerts: tuple[AlertDoc, ...] = ()


class WorkerDoc(msgspec.Struct, frozen=True, kw_only=True):
    """kind ``worker``, key = id."""

    id: str
    engines: tuple[EngineDoc, ...] = ()


DOCUMENTS: dict[str, type[msgspec.Struct]] = {
    "model": ModelDoc,
    "version": VersionDoc,
    "key": KeyDoc,
    "subscription": SubscriptionDoc,
    "plan": PlanDoc,
    "application": ApplicationDoc,
    "pin": PinDoc,
    "issuer": IssuerDoc,
    "worker": WorkerDoc,
}
"""Kind -> type of its documents."""


DELETED = msgspec.Raw(b"null")


class Change(msgspec.Struct, frozen=True, gc=False):
    """One row of the stream. ``doc`` is the document's JSON, :data:`DELETED` when it is gone."""

    seq: int
    kind: str
    key: str
    doc: msgspec.Raw


class ChangePage(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to ``GET /internal/v1/changes?stream=S&after=N&wait_ms=W``.

    With ``reset`` the reader drops what it holds: the page begins again from nothing (another
    database, or rows after N that compaction has dropped). ``next`` is the ``after`` of the
    following request; ``more`` says that it will be answered at once.
    """

    stream: str
    reset: bool
    changes: list[Change]
    next: int
    more: bool
