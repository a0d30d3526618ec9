"""SQL of guarded canaries: their runs and the decisions about them."""

from collections.abc import Mapping, Sequence
from typing import cast

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control import histogram
from control.rollouts.progress import ACTIVE, Progress, RunState
from control.store.canary_tables import canary_decisions, canary_runs
from control.store.usage_tables import usage_minutes
from registry.canary_plan import CanaryPlan
from registry.store.pages import from_there

_active: sa.ColumnElement[bool] = canary_runs.c.state.in_(sorted(ACTIVE))


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A canary on its way, or as it ended."""

    id: int
    model: str
    version: int
    stable: int
    state: RunState
    plan: CanaryPlan
    progress: Progress
    over_p99_us: int | None
    over_limit_us: int | None
    reason: str
    """Of the last decision."""
    alerting: bool
    began_ms: int
    ended_ms: int | None

    @property
    def permille(self) -> int:
        """The share that its step says; 0 when it is over."""
        return self.plan.steps[self.progress.step].permille if self.state in ACTIVE else 0


class DecisionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A decision that was taken."""

    id: int
    run: int
    version: int
    action: str
    permille: int
    actor: str
    reason: str
    evidence: dict[str, object]
    at_ms: int


def insert(
    connection: Connection,
    *,
    model: str,
    version: int,
    stable: int,
    plan: CanaryPlan,
    progress: Progress,
    over_limit_us: int | None,
    at: int,
) -> Run:
    """Add a run that begins now. The caller holds the model's lock, and there is no active one."""
    row = {
        "model": model,
        "version": version,
        "stable": stable,
        "state": "running",
        "plan": _text(plan),
        "progress": _text(progress),
        "over_p99_us": None,
        "over_limit_us": over_limit_us,
        "reason": "",
        "alerting": False,
        "began_ms": at,
        "ended_ms": None,
    }
    statement = sa.insert(canary_runs).values(row).returning(canary_runs.c.id)
    id = int(connection.execute(statement).scalar_one())
    found = newest(connection, model)
    assert found is not None
    assert found.id == id
    return found


def save(connection: Connection, run: Run) -> None:
    """Write what may change of a run. The caller holds the model's lock."""
    values = {
        "stable": run.stable,
        "state": run.state,
        "progress": _text(run.progress),
        "over_p99_us": run.over_p99_us,
        "reason": run.reason,
        "alerting": run.alerting,
        "ended_ms": run.ended_ms,
    }
    connection.execute(sa.update(canary_runs).where(canary_runs.c.id == run.id).values(values))


def active(connection: Connection, model: str) -> Run | None:
    """The model's run that is under way; there is one at most."""
    query = sa.select(canary_runs).where(canary_runs.c.model == model, _active)
    return _one(connection, query)


def newest(connection: Connection, model: str) -> Run | None:
    """The model's last run, under way or not."""
    return _one(connection, sa.select(canary_runs).where(canary_runs.c.model == model))


def all_active(connection: Connection) -> list[Run]:
    """Every run that is under way, by model."""
    query = sa.select(canary_runs).where(_active).order_by(canary_runs.c.model)
    return [_run(row) for row in connection.execute(query)]


def all_alerting(connection: Connection) -> list[Run]:
    """Every run whose alert stands, by model."""
    query = sa.select(canary_runs).where(canary_runs.c.alerting).order_by(canary_runs.c.model)
    return [_run(row) for row in connection.execute(query)]


def add_decision(
    connection: Connection,
    run: Run,
    action: str,
    *,
    actor: str,
    reason: str,
    evidence: Mapping[str, object],
    at: int,
) -> None:
    """Keep a decision, which left the run as it is given."""
    row = {
        "run": run.id,
        "model": run.model,
        "version": run.version,
        "action": action,
        "permille": run.permille,
        "actor": actor,
        "reason": reason,
        "evidence": msgspec.json.encode(evidence).decode(),
        "at_ms": at,
    }
    connection.execute(sa.insert(canary_decisions).values(row))


def decisions(
    connection: Connection, model: str, after: int, limit: int, *, newest: bool = False
) -> list[DecisionRecord]:
    """At most ``limit`` decisions about the model's canaries, oldest first, or with ``newest``
    newest first, from the one following ``after`` (0: from the beginning)."""
    query = sa.select(canary_decisions).where(canary_decisions.c.model == model)
    query = from_there(query, canary_decisions.c.id, after, newest=newest).limit(limit)
    return [
        DecisionRecord(
            id=row.id,
            run=row.run,
            version=row.version,
            action=row.action,
            permille=row.permille,
            actor=row.actor,
            reason=row.reason,
            evidence=msgspec.json.decode(row.evidence, type=dict[str, object]),
            at_ms=row.at_ms,
        )
        for row in connection.execute(query)
    ]


def latency(
    connection: Connection, model: str, version: int, since_minute: int
) -> histogram.Histogram:
    """Times of the answers that the version gave as the stable one, in microseconds, since that
    minute."""
    table = usage_minutes.c
    query = sa.select(table.latency).where(
        table.model == model,
        table.minute >= since_minute,
        table.version == version,
        table.variant == "stable",
    )
    return histogram.decode(b"".join(connection.execute(query).scalars()))


def _one(connection: Connection, query: sa.Select[tuple[object, ...]]) -> Run | None:
    rows: Sequence[sa.Row[tuple[object, ...]]] = connection.execute(
        query.order_by(canary_runs.c.id.desc()).limit(1)
    ).all()
    return _run(rows[0]) if rows else None


def _run(row: sa.Row[tuple[object, ...]]) -> Run:
    return Run(
        id=row.id,
        model=row.model,
        version=row.version,
        stable=row.stable,
        state=cast("RunState", row.state),
        plan=msgspec.json.decode(row.plan, type=CanaryPlan),
        progress=msgspec.json.decode(row.progress, type=Progress),
        over_p99_us=row.over_p99_us,
        over_limit_us=row.over_limit_us,
        reason=row.reason,
        alerting=row.alerting,
        began_ms=row.began_ms,
        ended_ms=row.ended_ms,
    )


def _text(value: msgspec.Struct) -> str:
    return msgspec.json.encode(value).decode()
