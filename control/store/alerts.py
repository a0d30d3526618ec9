"""Alerts: what workers and gateways find of versions, and canaries that were rolled back. Recorded
when one begins and when it ends."""

from collections.abc import Iterable
from typing import Final, Literal

import msgspec
from sqlalchemy.engine import Connection

from control.store.canary_runs import Run
from protocol.configuration import AlertKind, WorkerDoc
from protocol.gateways import UnverifiedReport
from registry.clock import rfc3339
from registry.store import audit

MAX_MESSAGE: Final = 500
MAX_NAME: Final = 63
RAISED: Final = "alert.raised"
ENDED: Final = "alert.ended"


ROLLED_BACK: Final = "canary_rolled_back"


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """What the audit entries ``alert.raised`` (after) and ``alert.ended`` (before) say."""

    kind: AlertKind | Literal["canary_rolled_back"]
    message: str
    since: str
    model: str
    version: int
    worker: str = ""
    """The worker that found it; empty: a gateway did, or control itself."""
    gateway: str = ""


Place = tuple[str, int, AlertKind]
"""Model, version and kind: several engines of a worker that find the same are one alert."""


def record_alerts(
    connection: Connection, before: WorkerDoc | None, after: WorkerDoc | None, at_ms: int
) -> None:
    """Record what a worker began or ceased to report; None where it is not known, or gone. The last
    of a transaction."""
    was, now = _found(before), _found(after)
    for place in sorted(was.keys() - now.keys()):
        ended = was[place]
        audit.record(connection, ENDED, "alert", _key(ended), at_ms=at_ms, before=ended)
    for place in sorted(now.keys() - was.keys()):
        raised = now[place]
        audit.record(connection, RAISED, "alert", _key(raised), at_ms=at_ms, after=raised)


def record_alert(connection: Connection, run: Run, *, raised: bool, at_ms: int) -> None:
    """Record that the alert about a canary that was rolled back begins, or ends."""
    alert = alert_of(run)
    before, after = (None, alert) if raised else (alert, None)
    action = RAISED if raised else ENDED
    audit.record(connection, action, "alert", _key(alert), at_ms=at_ms, before=before, after=after)


def alert_of(run: Run) -> Alert:
    """The alert about a canary that was rolled back."""
    return Alert(
        kind=ROLLED_BACK,
        message=run.reason,
        since=rfc3339(run.ended_ms or run.began_ms),
        model=run.model,
        version=run.version,
        worker="",
    )


def record_unverified(
    connection: Connection,
    gateway: str,
    before: Iterable[UnverifiedReport],
    after: Iterable[UnverifiedReport],
    at_ms: int,
) -> None:
    """Record which versions a gateway began or ceased to refuse. The last of a transaction."""
    was = {(one.model, one.version): one for one in before}
    now = {(one.model, one.version): one for one in after}

    def alert(report: UnverifiedReport) -> Alert:
        return Alert(
            kind="unverified_version",
            message=f"the gateway does not route to it: {report.problem}"[:MAX_MESSAGE],
            since=rfc3339(report.since * 1000),
            model=report.model[:MAX_NAME],
            version=report.version,
            gateway=gateway,
        )

    for place in sorted(was.keys() - now.keys()):
        ended = alert(was[place])
        audit.record(connection, ENDED, "alert", _key(ended), at_ms=at_ms, before=ended)
    for place in sorted(now.keys() - was.keys()):
        raised = alert(now[place])
        audit.record(connection, RAISED, "alert", _key(raised), at_ms=at_ms, after=raised)


def _found(worker: WorkerDoc | None) -> dict[Place, Alert]:
    """One of each."""
    found: dict[Place, Alert] = {}
    if worker is None:
        return found
    for engine in worker.engines:
        for alert in engine.alerts:
            shown = Alert(
                kind=alert.kind,
                message=alert.message,
                since=rfc3339(alert.since * 1000),
                model=engine.model,
                version=engine.version,
                worker=worker.id,
            )
            found.setdefault((engine.model, engine.version, alert.kind), shown)
    return found


def _key(alert: Alert) -> str:
    return f"{alert.model}/{alert.version}"
