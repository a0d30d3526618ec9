"""Evaluations that control processes run, in SQL: what one of them runs, all can show and end."""

from typing import Final

import sqlalchemy as sa

from control.evaluations.resources import EvaluationFailure, EvaluationRun
from control.store.evaluation_tables import evaluation_runs
from registry.clock import Clock, rfc3339
from registry.store.database import Database, Transaction

KEPT: Final = 200
"""That have ended: the newest."""
LOST_MS: Final = 30_000
"""Silence after which the process that ran it is taken to be gone."""
_LOST: Final = EvaluationFailure(
    about="", detail="the control process that ran it has stopped: begin it again"
)
_table = evaluation_runs.c


class EvaluationRunStore:
    """Keeps what is told of evaluations. Thread-safe; calls block."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def begin(self, run: EvaluationRun) -> None:
        """Keep one that begins, and forget the oldest of those that have ended."""
        now = self._clock()
        with self._database.write() as connection:
            row = {"id": run.id, "model": run.model, "version": run.version, "cancelled": False}
            connection.execute(sa.insert(evaluation_runs).values(**row, **_told(run, now)))
            _forget(connection, now)

    def tell(self, run: EvaluationRun) -> bool:
        """Keep how far it is; one that has ended stays as it was told to be. Returns whether
        somebody wants it to end."""
        with self._database.write() as connection:
            connection.execute(
                sa.update(evaluation_runs)
                .where(_table.id == run.id, _table.state == "running")
                .values(_told(run, self._clock()))
            )
            asked = sa.select(_table.cancelled).where(_table.id == run.id)
            return bool(connection.execute(asked).scalar())

    def of(self, model: str, version: int) -> list[EvaluationRun]:
        """Those of a version, the newest first."""
        query = sa.select(evaluation_runs).where(_of(model, version))
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(_table.number.desc())).all()
        now = self._clock()
        return [_shown(row.document, row.seen_ms, now) for row in rows]

    def get(self, model: str, version: int, id: str) -> EvaluationRun | None:
        """One of a version."""
        query = sa.select(evaluation_runs).where(_of(model, version), _table.id == id)
        with self._database.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else _shown(row.document, row.seen_ms, self._clock())

    def cancel(self, model: str, version: int, id: str) -> bool:
        """Have the process that runs it end it. Returns whether there is such an evaluation."""
        with self._database.write() as connection:
            asked = connection.execute(
                sa.update(evaluation_runs)
                .where(_of(model, version), _table.id == id)
                .values(cancelled=True)
            )
            return asked.rowcount > 0


def _of(model: str, version: int) -> sa.ColumnElement[bool]:
    return sa.and_(_table.model == model, _table.version == version)


def _told(run: EvaluationRun, now: int) -> dict[str, object]:
    return {"state": run.state, "document": run.model_dump_json(), "seen_ms": now}


def _shown(document: str, seen_ms: int, now: int) -> EvaluationRun:
    run = EvaluationRun.model_validate_json(document)
    if run.state != "running" or now - seen_ms <= LOST_MS:
        return run
    return run.model_copy(
        update={"state": "failed", "ended_at": rfc3339(seen_ms), "failure": _LOST}
    )


def _forget(connection: Transaction, now: int) -> None:
    numbers = sa.select(_table.number).order_by(_table.number.desc()).offset(KEPT).limit(1)
    newest = connection.execute(numbers).scalar()
    if newest is None:
        return
    over = sa.or_(_table.state != "running", _table.seen_ms < now - LOST_MS)
    connection.execute(sa.delete(evaluation_runs).where(_table.number <= newest, over))
