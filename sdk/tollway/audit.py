"""The audit log on the server: ``client.audit``."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from tollway.registry import listing
from tollway.transport import Transport

PATH = "/api/v1/audit"
_PAGE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One change: who made it, from where, why, and the resource before and after."""

    seq: int
    at: str
    actor: str
    role: str
    action: str
    kind: str
    key: str
    address: str = ""
    request_id: str = ""
    reason: str = ""
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    hash: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """The version that calls without one of their own got, and the entry that says so."""

    version: int | None = None
    variant: str = "stable"
    since: str | None = None
    entry: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscribedThen:
    """The subscription as it was; ``plan`` None: there was none."""

    plan: str | None = None
    state: str | None = None
    since: str | None = None
    entry: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Calls that usage counted in the minute of the moment."""

    version: int
    variant: str
    status: int
    requests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """Which version answered an application at a moment."""

    application: str
    model: str
    at: str
    routed: Routed
    subscription: SubscribedThen
    minute: str
    counted: tuple[Counted, ...] = ()


class AuditLog:
    """The part of the management API about the audit log: ``client.audit``."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def entries(
        self,
        *,
        actor: str | None = None,
        action: str | None = None,
        kind: str | None = None,
        key: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = None,
    ) -> Iterator[AuditEntry]:
        """Entries, newest first, at most ``limit``; fetched page by page as they are taken."""
        wanted = {
            "actor": actor,
            "action": action,
            "kind": kind,
            "key": key,
            "from": None if start is None else start.isoformat(),
            "to": None if end is None else end.isoformat(),
        }
        params: dict[str, str | int] = {
            name: value for name, value in wanted.items() if value is not None
        }
        params["limit"] = _PAGE if limit is None else max(1, min(limit, _PAGE))
        return islice(listing(self._transport, PATH, AuditEntry, params), limit)

    def answered(self, application: str, model: str, at: datetime) -> Answered:
        """Which version answered the application's calls of the model at ``at``."""
        params = {"application": application, "model": model, "at": at.isoformat()}
        return self._transport.get(f"{PATH}/answered", Answered, params)
