"""Epochs in SQL: taken in once each, found by a prediction id."""

from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from control.store.failures import repeated
from control.store.receipt_tables import prediction_epochs
from protocol.receipts import EngineRuntime, EpochRecord, PredictionId
from registry.store.database import Database

_epoch: Final = prediction_epochs.c


class Epochs:
    """Reads and writes epochs. Thread-safe; calls block."""

    def __init__(self, database: Database) -> None:
        self._database = database

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

    def knows_process(self, process: str) -> bool:
        """Whether a gateway has told of this run."""
        query = sa.select(sa.literal(1)).where(_epoch.process == process).limit(1)
        with self._database.read() as connection:
            return connection.execute(query).first() is not None


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
    }


def _runtime(text: str) -> EngineRuntime:
    return msgspec.json.decode(text, type=EngineRuntime)
