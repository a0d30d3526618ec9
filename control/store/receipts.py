"""Epochs in SQL: taken in once each, found by a prediction id."""

from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from control.store.failures import repeated
from control.store.gateway_tables import gateways
from control.store.receipt_tables import prediction_epochs
from protocol.receipts import NOTHING, EngineRuntime, EpochRecord, PredictionId
from registry.clock import Clock
from registry.store.database import Database

DAY_MS: Final = 86_400_000
_epoch: Final = prediction_epochs.c


class Epochs:
    """Reads and writes epochs. Thread-safe; calls block."""

    def __init__(self, database: Database, clock: Clock, kept_days: int) -> None:
        """``kept_days``: how long ids resolve after their epoch has ended."""
        self._database = database
        self._clock = clock
        self._kept_ms = kept_days * DAY_MS

    @repeated
    def ingest(self, records: list[EpochRecord]) -> None:
        """Keep what is not there yet. An epoch never changes: of two lines that name the same one,
        the first counts."""
        if not records:
            return
        kind = sqlite.insert if self._database.is_sqlite else postgresql.insert
        statement = kind(prediction_epochs).on_conflict_do_nothing()
        with self._database.write() as connection:
            connection.execute(statement, [_row(record) for record in records])

    def get(self, id: PredictionId) -> EpochRecord | None:
        """The epoch of an id; None where no gateway has told of it."""
        query = sa.select(prediction_epochs).where(
            _epoch.process == id.process, _epoch.epoch == id.epoch
        )
        with self._database.read() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        runtime = None if row.runtime is None else _runtime(row.runtime)
        return EpochRecord(
            process=row.process,
            epoch=row.epoch,
            gateway=row.gateway,
            begun_ms=row.begun_ms,
            by=row.answerer,
            model=row.model,
            version=row.version,
            digest=row.digest,
            runtime=runtime,
            revision=row.revision,
        )

    def retain(self) -> int:
        """Remove epochs that ended too long ago; how many.

        When one ended nobody tells. Those that running gateways may still name are marked twice a
        day; one ended less than a day after its mark, so that it is kept for a day more.
        """
        now = self._clock()
        with self._database.write() as connection:
            for process in _running(connection):
                connection.execute(
                    sa.update(prediction_epochs)
                    .where(
                        _epoch.process == process, _epoch.used_ms <= now - DAY_MS // 2, _is_newest()
                    )
                    .values(used_ms=now)
                )
            old = sa.delete(prediction_epochs).where(_epoch.used_ms < now - self._kept_ms - DAY_MS)
            return connection.execute(old).rowcount


def _running(connection: Connection) -> list[str]:
    """The newest run of each gateway that there is."""
    begun = (
        sa.select(_epoch.gateway, _epoch.process)
        .join(gateways, gateways.c.id == _epoch.gateway)
        .where(_epoch.epoch == NOTHING)
        .order_by(_epoch.begun_ms)
    )
    newest = {row.gateway: str(row.process) for row in connection.execute(begun)}
    return sorted(newest.values())


def _is_newest() -> sa.ColumnElement[bool]:
    """The condition that the run has no epoch of a later configuration of the same model."""
    later = prediction_epochs.alias()
    return ~sa.exists().where(
        later.c.process == _epoch.process,
        later.c.model == _epoch.model,
        later.c.revision > _epoch.revision,
    )


def _row(record: EpochRecord) -> dict[str, str | int | None]:
    runtime = record.runtime
    return {
        "process": record.process,
        "epoch": record.epoch,
        "gateway": record.gateway,
        "begun_ms": record.begun_ms,
        "answerer": record.by,
        "model": record.model,
        "version": record.version,
        "digest": record.digest,
        "runtime": None if runtime is None else msgspec.json.encode(runtime).decode(),
        "revision": record.revision,
        "used_ms": record.begun_ms,
    }


def _runtime(text: str) -> EngineRuntime:
    return msgspec.json.decode(text, type=EngineRuntime)
