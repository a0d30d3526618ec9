"""The documents that travel on the change stream, and the stream's own messages.

A change is ``(seq, kind, key, doc)``; ``doc`` is the whole new document, or null when it was
deleted. The state of the world is the newest document of each (kind, key).
"""

from typing import Literal

import msgspec

from protocol.manifest import Manifest

VersionState = Literal[
    "registered", "validated", "approved", "published", "deprecated", "retired", "rejected"
]
CALLABLE_STATES: frozenset[str] = frozenset({"published", "deprecated"})
"""States in which consumers may call a version."""

EngineState = Literal["starting", "ready", "failed", "stopped"]


class ModelDoc(msgspec.Struct, frozen=True, kw_only=True):
    """kind ``model``, key = name."""

    name: str
    aliases: dict[str, int] = {}
    """Label -> version number. The label ``stable`` answers calls that name no version."""


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


class KeyDoc(msgspec.Struct, frozen=True, kw_only=True):
    """kind ``key``, key = id. An API key of an application, or a management token with a role."""

    id: str
    hash: str
    """HMAC-SHA-256 of the secret under the server's pepper, hex."""
    application: str | None = None
    role: str | None = None
    models: tuple[str, ...] | None = None
    """Models that the key is restricted to; None: all that the application subscribes to."""
    expires_at: int | None = None
    """UNIX seconds."""


class SubscriptionDoc(msgspec.Struct, frozen=True, kw_only=True):
    """kind ``subscription``, key = ``APPLICATION/MODEL``."""

    application: str
    model: str
    plan: str


class PlanDoc(msgspec.Struct, frozen=True, kw_only=True):
    """kind ``plan``, key = name."""

    name: str
    max_body_bytes: int | None = None


class EngineDoc(msgspec.Struct, frozen=True, kw_only=True):
    """One engine process of a worker."""

    model: str
    version: int
    slot: int
    address: str
    """``unix:/path`` or ``tcp:host:port``; stays the same while the engine is restarted."""
    state: EngineState
    error: str = ""


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
    "worker": WorkerDoc,
}
"""Kind -> type of its documents."""


DELETED = msgspec.Raw(b"null")


class Change(msgspec.Struct, frozen=True):
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
