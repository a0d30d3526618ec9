"""What gateways have mirrored to shadows and shed, in SQL: by hour, each summary once."""

from collections import Counter
from typing import Final

import sqlalchemy as sa

from control.store.disagreement_tables import mirrored_hours
from control.store.failures import repeated
from control.store.summaries import is_new, lock_summaries
from control.store.usage_rollups import inserting
from protocol.errors import Code, TollwayError
from protocol.names import check_name
from protocol.shadowing import MirrorCounts
from registry.clock import Clock
from registry.store.database import Database

COMPARED: Final = "compared"
MAX_INSTANCE: Final = 64
MAX_NUMBER: Final = 1 << 53
_HOUR_MS: Final = 3_600_000
_table = mirrored_hours.c


class MirroredStore:
    """Takes summaries in, and gives sums. Thread-safe; calls block."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    @repeated
    def take(self, summary: MirrorCounts) -> bool:
        """Count a summary in the hour of now, unless it was counted before. Returns whether it was
        new. Raises ``INVALID`` for what no gateway says."""
        hour = self._clock() // _HOUR_MS
        rows = _rows(summary, hour)
        with self._database.write() as connection:
            lock_summaries(connection, self._database)
            if not is_new(connection, self._database, summary.instance, summary.sequence, hour):
                return False
            if rows:
                insert = inserting(self._database)(mirrored_hours)
                more = {"requests": _table.requests + insert.excluded["requests"]}
                keys = list(mirrored_hours.primary_key)
                statement = insert.on_conflict_do_update(index_elements=keys, set_=more)
                connection.execute(statement, rows)
        return True

    def outcomes(self, model: str, version: int, start_hour: int, end_hour: int) -> dict[str, int]:
        """Requests by what became of them, from one hour up to, not including, another."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(_table.outcome, sa.func.sum(_table.requests))
                .where(
                    _table.model == model,
                    _table.version == version,
                    _table.hour >= start_hour,
                    _table.hour < end_hour,
                )
                .group_by(_table.outcome)
            )
            return {outcome: int(requests) for outcome, requests in rows}


def _rows(summary: MirrorCounts, hour: int) -> list[dict[str, object]]:
    if not 0 < len(summary.instance) <= MAX_INSTANCE or not 0 < summary.sequence < MAX_NUMBER:
        raise TollwayError(Code.INVALID, "the summary's instance or sequence is none")
    found: Counter[tuple[str, int, str]] = Counter()
    for one in summary.counts:
        check_name(one.model, "model")
        for outcome, requests in ((COMPARED, one.compared), *one.shed.items()):
            if not (0 <= requests < MAX_NUMBER and 0 < one.version < 1 << 31):
                raise TollwayError(Code.INVALID, "the summary counts what cannot be")
            found[one.model, one.version, outcome] += requests
    return [
        {"model": model, "version": version, "hour": hour, "outcome": outcome, "requests": requests}
        for (model, version, outcome), requests in found.items()
        if requests
    ]
