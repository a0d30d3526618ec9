"""Disagreements of shadow versions in SQL: each taken in once, by hour and by minute."""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.store.capture_removals import find_removals
from control.store.disagreement_tables import (
    disagreement_examples,
    disagreement_minutes,
    disagreement_sources,
    disagreements,
    mirrored_hours,
)
from control.store.failures import repeated
from control.store.summaries import is_new, lock_summaries
from control.store.usage_rollups import inserting
from protocol.keys import holds_credential, holds_token
from protocol.shadowing import Disagreements, Example, Tally
from registry.clock import Clock
from registry.store import audit
from registry.store.database import Database
from registry.store.tables import models

EXAMPLES_AN_HOUR: Final = 20
MINUTE_MS: Final = 60_000
HOUR_MINUTES: Final = 60
HOUR_MS: Final = HOUR_MINUTES * MINUTE_MS
DAY_HOURS: Final = 24
_REMOVED_ROWS: Final = 5_000
_NAME: Final = 63
_COUNTS: Final = (
    "requests",
    "failed",
    "rows",
    "labelled",
    "flips",
    "measured",
    "missing",
    "labelled_requests",
    "measured_requests",
)
_NUMBERS: Final = (
    "shift",
    "shift_squares",
    "flip_shares",
    "request_shifts",
    "request_shift_squares",
)
_SUMS: Final = (*_COUNTS, *_NUMBERS)

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Tally).decode

Dimensions = tuple[int, str, str]
"""Version that answered, application, segment."""


class PairedCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What a shadow was found to answer otherwise than one version, over all applications. See
    :class:`protocol.shadowing.Tally`; none of the sums falls while ``moment_ms`` stays, but for
    those of shifts, which are signed."""

    requests: int = 0
    failed: int = 0
    rows: int = 0
    labelled: int = 0
    flips: int = 0
    measured: int = 0
    missing: int = 0
    shift: float = 0.0
    shift_squares: float = 0.0
    labelled_requests: int = 0
    flip_shares: float = 0.0
    measured_requests: int = 0
    request_shifts: float = 0.0
    request_shift_squares: float = 0.0
    largest: float = 0.0


class DisagreementStore:
    """Takes summaries in, and gives sums. Thread-safe; calls block."""

    def __init__(self, database: Database, clock: Clock, kept_days: int) -> None:
        self._database = database
        self._clock = clock
        self._kept_hours = kept_days * DAY_HOURS

    @repeated
    def take(self, summary: Disagreements) -> bool:
        """Count a summary, unless it was counted before. Returns whether it was new.

        Number and sums commit together: what is sent again, however often, counts once.
        """
        minute_now = self._clock() // MINUTE_MS
        with self._database.write() as connection:
            lock_summaries(connection, self._database)
            hour = minute_now // HOUR_MINUTES
            if not is_new(connection, self._database, summary.instance, summary.sequence, hour):
                return False
            self._add_hours(connection, summary, minute_now)
            self._add_minutes(connection, summary, minute_now)
            self._add_examples(connection, summary, hour)
        return True

    def tallies(
        self,
        model: str,
        version: int,
        start_hour: int,
        end_hour: int,
        against: int | None = None,
        applications: Sequence[str] | None = None,
    ) -> dict[Dimensions, Tally]:
        """Sums from one hour up to, not including, another; beside one version and of some
        applications, if named."""
        table = disagreements.c
        shadow = sa.and_(table.model == model, table.version == version)
        of_span = sa.and_(shadow, table.hour >= start_hour, table.hour < end_hour)
        query = sa.select(table.against, table.application, table.segment, table.tally)
        query = query.where(shadow)
        if against is not None:
            query = query.where(table.against == against)
        found: dict[Dimensions, Tally] = {}
        with self._database.read() as connection:
            if applications is None:
                query = query.where(of_span)
            else:
                # Each hour by its number: the key finds the rows then, and nobody else's are read.
                hours = _hours(connection, of_span)
                query = query.where(table.hour.in_(hours), table.application.in_(applications))
            for of_version, application, segment, tally in connection.execute(query):
                found.setdefault((of_version, application, segment), Tally()).add(_decode(tally))
        return found

    def examples(
        self,
        model: str,
        version: int,
        start_hour: int,
        end_hour: int,
        limit: int,
        application: str | None = None,
        against: int | None = None,
    ) -> list[Example]:
        """The rows that differ most, of one application and beside one version if named: flips
        first, then by the difference of their numbers."""
        table = disagreement_examples.c
        query = sa.select(table.document).where(
            table.model == model,
            table.version == version,
            table.hour >= start_hour,
            table.hour < end_hour,
        )
        if application is not None:
            query = query.where(table.application == application)
        if against is not None:
            query = query.where(table.against == against)
        query = query.order_by(table.flipped.desc(), table.difference.desc(), table.id.desc())
        with self._database.read() as connection:
            rows = connection.execute(query.limit(limit)).scalars()
            return [msgspec.json.decode(document, type=Example) for document in rows]

    @repeated
    def read_examples(
        self,
        model: str,
        version: int,
        start_hour: int,
        end_hour: int,
        limit: int,
        application: str | None = None,
        against: int | None = None,
    ) -> list[Example]:
        """:meth:`examples` for somebody: that they were read is in the audit log, as of
        captures."""
        found = self.examples(model, version, start_hour, end_hour, limit, application, against)
        if found:
            now = self._clock()
            with self._database.write() as connection:
                for id in dict.fromkeys(example.prediction_id for example in found):
                    audit.record(connection, "capture.read", "capture", id, at_ms=now)
        return found

    def since(self, model: str, version: int, against: int, moment_ms: int) -> PairedCounts:
        """What was compared in the minute of ``moment_ms`` (UNIX) and later."""
        table = disagreement_minutes.c
        with self._database.read() as connection:
            row = connection.execute(
                sa.select(
                    *(sa.func.sum(table[name]).label(name) for name in _SUMS),
                    sa.func.max(table.largest).label("largest"),
                ).where(
                    table.model == model,
                    table.version == version,
                    table.against == against,
                    table.minute >= moment_ms // MINUTE_MS,
                )
            ).one()
        if row.requests is None:
            return PairedCounts()
        # PostgreSQL sums big integers to decimals.
        counts = {name: int(getattr(row, name)) for name in _COUNTS}
        numbers = {name: getattr(row, name) for name in _NUMBERS}
        return PairedCounts(**counts, **numbers, largest=row.largest)

    def retain(self) -> int:
        """Remove what is kept no longer. Returns how many rows went."""
        until = self._clock() // HOUR_MS - self._kept_hours
        removed = 0
        for table, moment, edge in (
            (disagreements, disagreements.c.hour, until),
            (disagreement_examples, disagreement_examples.c.hour, until),
            (disagreement_sources, disagreement_sources.c.hour, until),
            (disagreement_minutes, disagreement_minutes.c.minute, until * HOUR_MINUTES),
            (mirrored_hours, mirrored_hours.c.hour, until),
        ):
            removed += self._remove(table, moment, edge)
        return removed + self._remove_captured()

    def forget_examples(self, model: str, application: str | None = None) -> int:
        """Remove a model's examples for good, or those of one application; how many. Engines may
        have yet to send some: which of these are kept is decided by the removal of captures, which
        is recorded before."""
        table = disagreement_examples
        gone = sa.delete(table).where(table.c.model == model)
        if application is not None:
            gone = gone.where(table.c.application == application)
        with self._database.write() as connection:
            # What is being taken in has not seen the removal.
            lock_summaries(connection, self._database)
            return connection.execute(gone).rowcount

    def _remove_captured(self) -> int:
        """Examples are payload: they end when the model's captures do."""
        removed = 0
        table = disagreement_examples
        with self._database.read() as connection:
            kept = connection.execute(sa.select(models.c.name, models.c.capture_days)).all()
        for name, days in kept:
            old = table.c.hour < self._clock() // HOUR_MS - days * DAY_HOURS
            with self._database.write() as connection:
                gone = sa.delete(table).where(table.c.model == name, old)
                removed += connection.execute(gone).rowcount
        return removed

    # taking in

    def _add_hours(self, connection: Connection, summary: Disagreements, minute_now: int) -> None:
        added: dict[tuple[int, int, str, str], Tally] = {}
        for place, tally in summary.tallies:
            hour = min(place.minute, minute_now) // HOUR_MINUTES
            key = (hour, place.against, place.application[:_NAME], place.segment[:_NAME])
            added.setdefault(key, Tally()).add(tally)
        table = disagreements
        present = connection.execute(
            sa.select(
                table.c.hour, table.c.against, table.c.application, table.c.segment, table.c.tally
            ).where(
                table.c.model == summary.model,
                table.c.version == summary.version,
                table.c.hour.in_(sorted({key[0] for key in added})),
            )
        )
        for hour, against, application, segment, tally in present:
            found = added.get((hour, against, application, segment))
            if found is not None:
                found.add(_decode(tally))
        self._put(
            connection,
            table,
            [
                {
                    "model": summary.model,
                    "version": summary.version,
                    "hour": hour,
                    "against": against,
                    "application": application,
                    "segment": segment,
                    "tally": _encode(tally),
                }
                for (hour, against, application, segment), tally in added.items()
            ],
        )

    def _add_minutes(self, connection: Connection, summary: Disagreements, minute_now: int) -> None:
        added: dict[tuple[int, int], Tally] = {}
        for place, tally in summary.tallies:
            if not place.segment:
                key = (place.against, min(place.minute, minute_now))
                added.setdefault(key, Tally()).add(tally)
        table = disagreement_minutes
        insert = inserting(self._database)(table)
        statement = insert.on_conflict_do_update(
            index_elements=list(table.primary_key),
            set_={
                **{name: table.c[name] + insert.excluded[name] for name in _SUMS},
                "largest": sa.case(
                    (table.c.largest > insert.excluded.largest, table.c.largest),
                    else_=insert.excluded.largest,
                ),
            },
        )
        rows = [
            {
                "model": summary.model,
                "version": summary.version,
                "against": against,
                "minute": minute,
                "largest": tally.largest,
                **{name: getattr(tally, name) for name in _SUMS},
            }
            for (against, minute), tally in added.items()
        ]
        if rows:
            connection.execute(statement, rows)

    def _add_examples(self, connection: Connection, summary: Disagreements, hour: int) -> None:
        removals = find_removals(connection, summary.model)
        written = [
            (example, msgspec.json.encode(example))
            for example in summary.examples
            if not removals.covers(example.application, example.at_ms)
        ]
        table = disagreement_examples
        rows = [
            {
                "model": summary.model,
                "version": summary.version,
                "hour": hour,
                "flipped": example.flipped,
                "difference": example.difference,
                "application": example.application[:_NAME],
                "against": example.against,
                "document": text.decode(),
            }
            for example, text in written
            if not (holds_credential(text) or holds_token(text))
        ]
        if not rows:
            return
        connection.execute(sa.insert(table), rows)
        of_hour = sa.and_(
            table.c.model == summary.model,
            table.c.version == summary.version,
            table.c.hour == hour,
        )
        most = (
            sa.select(table.c.id)
            .where(of_hour)
            .order_by(table.c.flipped.desc(), table.c.difference.desc(), table.c.id.desc())
            .limit(EXAMPLES_AN_HOUR)
        )
        kept = list(connection.execute(most).scalars())
        connection.execute(sa.delete(table).where(of_hour, table.c.id.not_in(kept)))

    def _put(
        self, connection: Connection, table: sa.Table, rows: Iterable[dict[str, object]]
    ) -> None:
        """Write rows, those that are there included."""
        listed = list(rows)
        if not listed:
            return
        insert = inserting(self._database)(table)
        keys = list(table.primary_key)
        values = {c.name: insert.excluded[c.name] for c in table.columns if c not in keys}
        connection.execute(insert.on_conflict_do_update(index_elements=keys, set_=values), listed)

    def _remove(self, table: sa.Table, moment: sa.ColumnElement[int], edge: int) -> int:
        """Remove rows from before ``edge``, some thousand in each transaction."""
        removed = 0
        while True:
            with self._database.write() as connection:
                last = connection.execute(
                    sa.select(moment)
                    .where(moment < edge)
                    .order_by(moment)
                    .offset(_REMOVED_ROWS)
                    .limit(1)
                ).scalar()
                gone = sa.delete(table).where(moment < edge)
                if last is not None:
                    gone = gone.where(moment <= last)
                removed += connection.execute(gone).rowcount
            if last is None:
                return removed


def _hours(connection: Connection, of_span: sa.ColumnElement[bool]) -> list[int]:
    """From the first hour to the last."""
    ends = (
        sa.select(pick(disagreements.c.hour)).where(of_span) for pick in (sa.func.min, sa.func.max)
    )
    first, last = connection.execute(sa.select(*(end.scalar_subquery() for end in ends))).one()
    return [] if first is None else list(range(first, last + 1))
