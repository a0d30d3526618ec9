"""What the operator's overview says: whether everything is well, and what to do where it is not.
Pure."""

from collections.abc import Iterable, Sequence
from typing import Final, Literal

import msgspec

from control.routes_audit import VerificationItem
from control.routes_observation import AlertItem, EngineItem, GatewayItem, WorkerItem
from control.usage_resources import QuotaUse

Tone = Literal["bad", "warn"]
MAX_LAG: Final = 50
"""Changes that a gateway may lag behind before it is told of."""
MAX_ENGINES: Final = 60
"""Engines that the overview lists, those with something to tell first."""
BUSY: Final = 0.9
QUEUED: Final = 50


class Finding(msgspec.Struct, frozen=True):
    """Something that somebody should look at."""

    tone: Tone
    title: str
    detail: str
    action: str
    """What to do, in words."""
    link: str = ""
    since: str | None = None


class EngineRow(msgspec.Struct, frozen=True):
    """An engine with its worker."""

    worker: str
    engine: EngineItem


class Overview(msgspec.Struct, frozen=True):
    """The whole of it."""

    findings: list[Finding]
    gateways: list[GatewayItem]
    workers: list[WorkerItem]
    engines: list[EngineRow]
    further: int
    """Engines that are not listed."""
    ready: int
    """Engines that are ready."""
    cold: int
    restarts: int
    requests_per_s: float
    memory_bytes: int


_ADVICE: Final = {
    "batch_variance": "Its requests are run one by one from now on, so that answers are right. "
    "Export the model anew so that rows do not depend on one another, and publish that version.",
    "canary_rolled_back": "It has no traffic any more. Look at what it did otherwise, and set a "
    "new canary once it is mended.",
    "unverified_version": "Somebody changed the database past control, or the gateway has another "
    "installation's key. Compare the version with a backup, and read the audit log.",
}


def advice(kind: str) -> str:
    """What to do about an alert of that kind."""
    return _ADVICE.get(kind, "Read its message, and the logs of who found it.")


def overview(
    gateways: Sequence[GatewayItem],
    workers: Sequence[WorkerItem],
    alerts: Iterable[AlertItem],
    standing: VerificationItem,
    quotas: Iterable[QuotaUse],
) -> Overview:
    """Everything that the page shows."""
    rows = [EngineRow(worker.id, engine) for worker in workers for engine in worker.engines]
    told = [row.engine.figures for row in rows if row.engine.figures is not None]
    shown = sorted(rows, key=_urgency)[:MAX_ENGINES]
    return Overview(
        findings=[
            *_of_gateways(gateways),
            *_of_workers(workers, rows),
            *(_of_alert(alert) for alert in alerts),
            *_of_audit(standing),
            *_of_quotas(quotas),
        ],
        gateways=list(gateways),
        workers=list(workers),
        engines=shown,
        further=len(rows) - len(shown),
        ready=sum(row.engine.state == "ready" for row in rows),
        cold=sum(row.engine.state == "cold" for row in rows),
        restarts=sum(one.restarts for one in told),
        requests_per_s=sum(one.requests_per_s for one in gateways),
        memory_bytes=sum(one.memory_bytes or 0 for one in told),
    )


def _urgency(row: EngineRow) -> tuple[int, float, str, int, int]:
    engine, figures = row.engine, row.engine.figures
    order = {"failed": 0, "starting": 1, "ready": 2, "cold": 3}
    load = 0.0 if figures is None else figures.busy + figures.queued
    return order.get(engine.state, 1), -load, engine.model, engine.version, engine.slot


def _of_gateways(gateways: Sequence[GatewayItem]) -> list[Finding]:
    if not gateways:
        return [
            Finding(
                "bad",
                "No gateway is alive",
                "Nobody can call a model.",
                "Start one: tollwayd gateway, with this installation's cluster token.",
            )
        ]
    found = [
        Finding(
            "warn",
            f"Gateway {one.id} lags behind",
            f"It follows {one.lag} changes late: keys that were revoked may still work there.",
            "Look at its log: its connection to control, or its disk, is slow.",
        )
        for one in gateways
        if one.lag > MAX_LAG
    ]
    versions = sorted({one.version for one in gateways})
    if len(versions) > 1:
        found.append(
            Finding(
                "warn",
                "Gateways run different software",
                f"Versions {', '.join(versions)} answer beside one another.",
                "Fine during an upgrade; finish it.",
            )
        )
    return found


def _of_workers(workers: Sequence[WorkerItem], rows: Sequence[EngineRow]) -> list[Finding]:
    found = []
    if not workers:
        found.append(
            Finding(
                "bad",
                "No worker is alive",
                "No model of this installation can answer; remote models can.",
                "Start one: tollwayd worker, with this installation's cluster token.",
            )
        )
    for row in rows:
        engine, figures = row.engine, row.engine.figures
        name = f"{engine.model} v{engine.version}"
        link = f"/portal/publish/models/{engine.model}"
        if engine.state == "failed":
            found.append(
                Finding(
                    "bad",
                    f"{name} does not load on {row.worker}",
                    engine.error or "The engine gave no reason.",
                    "Publish a version that loads, or take this one out of use.",
                    link,
                )
            )
        elif figures is not None and figures.queued >= QUEUED and figures.busy >= BUSY:
            found.append(
                Finding(
                    "warn",
                    f"{name} is overloaded on {row.worker}",
                    f"{figures.queued} requests wait, and it ran {figures.busy:.0%} of the time.",
                    "Let it have more engines (TOLLWAY_ENGINES_MAX), or start another worker.",
                    link,
                )
            )
    return found


def _of_alert(alert: AlertItem) -> Finding:
    by = alert.worker or alert.gateway
    return Finding(
        "bad",
        f"{alert.model} v{alert.version}: {alert.kind.replace('_', ' ')}",
        alert.message + (f" (found by {by})" if by else ""),
        advice(alert.kind),
        f"/portal/publish/models/{alert.model}",
        alert.since,
    )


def _of_audit(standing: VerificationItem) -> list[Finding]:
    if standing.ok is not False:
        return []
    return [
        Finding(
            "bad",
            "The audit log is damaged",
            standing.findings[0].detail,
            "Keep the database as it is, and compare it with a backup.",
            "/portal/operate/audit",
            standing.verified_at,
        )
    ]


def _of_quotas(quotas: Iterable[QuotaUse]) -> list[Finding]:
    return [
        Finding(
            "warn",
            f"{one.application} has used up its quota for {one.model}",
            f"{one.used:,} of {one.limit:,} in {one.period}: its calls are refused until then.",
            "Offer it another plan, or wait.",
            "/portal/operate/limits",
            None,
        )
        for one in quotas
        if one.left == 0
    ][:5]
