"""What policies decide on: the call, and who makes it."""

import asyncio
from typing import Protocol

import msgspec

from policies.addresses import Networks
from policies.limits import Limits
from policies.stores.base import Verdict
from protocol.configuration import (
    CALLABLE_STATES,
    DeprecationDoc,
    Environment,
    Scope,
    VersionState,
)
from protocol.errors import Code
from protocol.receipts import Served
from runtime.trace import Trace

CALLING_ROLES = frozenset({"admin", "publisher"})
"""Roles whose management tokens call models; the others' see and decide, they do not predict."""


NEVER = float("inf")
"""When a credential without an end expires."""


class Identity(msgspec.Struct, frozen=True, gc=False):
    """A caller whose credential was verified."""

    key: str
    """Id of the key or token, never its secret."""
    application: str
    """Empty for a management token."""
    role: str | None = None
    """Set for a management token: ``admin``, ``publisher`` ..."""
    models: frozenset[str] | None = None
    """Models that the credential is restricted to; None: no restriction."""
    expires_at: float = NEVER
    """UNIX seconds."""
    scopes: frozenset[Scope] | None = None
    """What the credential may be used for; None: everything that the plan allows."""
    environment: Environment | None = None
    """Environment of an API key; None: it belongs to none."""
    networks: Networks | None = None
    """Networks from which the credential may be used; None: from anywhere."""

    def manages(self, model: str) -> bool:
        """Whether the caller may use ``model`` without a subscription, and see its versions before
        they are published."""
        return self.role in CALLING_ROLES and (self.models is None or model in self.models)


class Call(msgspec.Struct, gc=False):
    """A prediction request on its way through the gateway, before its body is read.

    The lane fills in what the client sent; :mod:`gateway.invoke` the rest, in this order.
    """

    model: str
    number: int | None = None
    """Version in the path; 0 when what stands there is no version number."""
    label: str | None = None
    """Label in the path."""
    operation: int = 0
    """:class:`protocol.frames.Operation`."""
    scope: Scope = "predict"
    """What the credential and the plan must allow."""
    client: str = ""
    """Address of the client; empty when it is not known."""
    forwarded_for: bytes = b""
    """``X-Forwarded-For`` as it came; only trusted proxies are believed."""
    origin: bytes | None = None
    """``Origin``: the site of the page that calls; None for callers that are no pages."""
    credential: bytes | None = None
    """Value of ``X-API-Key``, or of ``Authorization`` without its scheme."""
    header_number: int | None = None
    """Version in ``Tollway-Version``; 0 when what stands there is no version number."""
    deadline_ms: int = 0
    """Milliseconds that the client allows; 0: the gateway's own limit."""
    request_id: bytes = b""
    """What the client calls the request; empty when it does not say, or nothing sane."""
    prediction_id: bytes = b""
    """What the gateway calls it."""
    traceparent: bytes = b""
    """``traceparent`` and ``tracestate`` as they came."""
    tracestate: bytes = b""
    flaw: tuple[Code, str] | None = None
    """What is wrong with the headers; raised once the caller's right to the model is known. Not the
    error: its traceback leads back here, and what the collector does not look at never goes."""
    trace: Trace | None = None
    """Set when the call is sampled."""
    header_length: int = 0xFFFFFFFF
    """``Inference-Header-Content-Length``; NO_HEADER without one."""
    content_coding: bytes = b""
    """Coding of the body: ``gzip``, ``deflate``, or nothing."""
    accepted_coding: bytes = b""
    """Coding that the client prefers for the answer, or nothing."""
    content_length: int = 0
    """Declared size of the body in bytes; 0 when it is not declared."""
    bytes_in: int = 0
    started: float = 0.0
    """Monotonic seconds."""
    deadline: float = 0.0
    """Monotonic seconds until which the answer must be there; set when the call is admitted."""
    identity: Identity | None = None
    version: int = 0
    """Number of the version that answers; 0 until it is chosen."""
    revision: int = 0
    """Configuration of the model by which it was chosen: see ``EpochRecord.revision``."""
    served: Served | None = None
    """Who answered; None until somebody has, and where the gateway refused."""
    plan: Limits | None = None
    """Terms of the application's subscription to the model; None for a management token, and until
    the subscription is checked."""
    state: VersionState = "registered"
    deprecation: DeprecationDoc | None = None
    """How the version ends, if it does."""
    variant: str = "stable"
    verdict: Verdict | None = None
    """How the plan's limits stood when the call was checked; None until then."""
    taken: bool = False
    """Whether the call holds a place among those under way, which its end gives back."""


class Policy(Protocol):
    """One condition that a call must satisfy."""

    def check(self, call: Call) -> asyncio.Future[None] | None:
        """Raise :class:`TollwayError` unless the call satisfies the policy.

        A policy that has to ask another process returns a future that ends in the same way. What
        can be decided here and now returns None: no future, no task, no turn of the loop.
        """


def is_visible(model: str, state: VersionState, identity: Identity | None) -> bool:
    """Whether the caller may know of a version of ``model`` in ``state``.

    Consumers see versions from their publication on (a retired one answers 410, not 404); the
    management tokens that manage the model see all.
    """
    if identity is not None and identity.manages(model):
        return True
    return state in CALLABLE_STATES or state == "retired"
