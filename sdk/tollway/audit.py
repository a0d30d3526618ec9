"""The audit log on the server: ``client.audit``."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from tollway.errors import TimedOut
from tollway.registry import Waiter, listing
from tollway.transport import Transport

PATH = "/api/v1/audit"
_VERIFY = f"{PATH}/verify"
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
class Finding:
    """Something that is not as it was recorded, and the entry where it shows."""

    seq: int
    problem: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifying:
    """A verification under way: how many entries and checkpoints it has been through."""

    began_at: str
    checked: int
    entries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """How the log stands: its size and end, and what the last verification found. ``ok`` is None
    until the control process that answers has verified it for the first time."""

    entries: int
    hash: str
    ok: bool | None = None
    verified_at: str | None = None
    verified_entries: int | None = None
    findings: tuple[Finding, ...] = ()
    further_findings: int = 0
    running: Verifying | None = None


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

    def __init__(self, transport: Transport, waiter: Waiter) -> None:
        self._transport = transport
        self._waiter = waiter

    def entries(
        self,
        *,
        actor: str | None = None,
        action: str | None = None,
        kind: str | None = None,
        key: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        search: str | None = None,
        limit: int | None = None,
    ) -> Iterator[AuditEntry]:
        """Entries, newest first, at most ``limit``; fetched page by page as they are taken.

        ``search`` finds a text wherever it stands in an entry, and reads the log for it.
        """
        wanted = {
            "actor": actor,
            "action": action,
            "kind": kind,
            "key": key,
            "from": None if start is None else start.isoformat(),
            "to": None if end is None else end.isoformat(),
            "search": search,
        }
        params: dict[str, str | int] = {
            name: value for name, value in wanted.items() if value is not None
        }
        params["limit"] = _PAGE if limit is None else max(1, min(limit, _PAGE))
        return islice(listing(self._transport, PATH, AuditEntry, params), limit)

    def entry(self, seq: int) -> AuditEntry:
        """One entry, by its number."""
        return self._transport.get(f"{PATH}/entries/{seq}", AuditEntry)

    def verification(self) -> Verification:
        """How the log stands, and what the last verification found."""
        return self._transport.get(_VERIFY, Verification)

    def verify(self, *, timeout_s: float = 600.0) -> Verification:
        """Have the whole log verified now, and wait for what is found.

        :class:`ConflictError` while another verification is under way, :class:`TimedOut` when it
        takes longer than ``timeout_s``: it goes on, and :meth:`verification` has its end.
        """
        before = self.verification().verified_at
        self._transport.request("POST", _VERIFY)

        def ended() -> Verification | None:
            found = self.verification()
            return found if found.running is None and found.verified_at != before else None

        found = self._waiter.until(ended, timeout_s)
        if found is None:
            raise TimedOut(f"the audit log is not verified after {timeout_s:g} s; it goes on")
        return found

    def answered(self, application: str, model: str, at: datetime) -> Answered:
        """Which version answered the application's calls of the model at ``at``."""
        params = {"application": application, "model": model, "at": at.isoformat()}
        return self._transport.get(f"{PATH}/answered", Answered, params)
