"""What a gateway tells control of itself, every few seconds."""

from typing import Literal

import msgspec

RemoteState = Literal["starting", "ready", "failed"]


class RemoteReport(msgspec.Struct, frozen=True, kw_only=True):
    """How a remote version stands at one gateway: what a worker would say of its engine."""

    model: str
    version: int
    state: RemoteState
    error: str = ""
    """Why it cannot answer, for the publisher."""


class UnverifiedReport(msgspec.Struct, frozen=True, kw_only=True):
    """A version that a gateway does not route to, because its record cannot be verified."""

    model: str
    version: int
    problem: str
    since: int = 0
    """UNIX seconds."""


class GatewayReport(msgspec.Struct, frozen=True, kw_only=True):
    """``PUT /internal/v1/gateways/ID``. Answered 409 when this gateway must not run."""

    id: str
    counters: str
    """Where it counts limits: ``memory``, or the address of a Redis without credentials. Gateways
    that are alive at once must agree on it, and only one may count in memory."""
    version: str
    """Of the software."""
    started_ms: int
    """UNIX milliseconds at which the process started."""
    remotes: tuple[RemoteReport, ...] = ()
    """Every remote version that is loaded."""
    unverified: tuple[UnverifiedReport, ...] = ()
    """Versions that are not routed to; at most a hundred of them."""
    position: int = 0
    """The last change of the configuration that it follows."""
    requests: int = 0
    """Requests of known callers that it has answered since it started."""
    in_flight: int = 0
