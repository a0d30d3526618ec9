"""Captured payloads in SQL: taken in once each, within a budget of each model, read, let go."""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.store.capture_removals import find_removals, forget_removals, record_removal
from control.store.capture_tables import capture_payloads, capture_totals, captures
from control.store.failures import repeated
from control.store.tables import applications
from control.store.usage_rollups import inserting
from protocol.captures import Captured
from registry.clock import Clock
from registry.store import audit
from registry.store.database import Database
from registry.store.tables import models

ROWS: Final = 500
"""Rows that are removed at a time."""
DAY_MS: Final = 24 * 3_600_000
_capture: Final = captures.c
_FACTS: Final = tuple(name for name in captures.columns.keys() if name != "bytes")  # noqa: SIM118 -- a collection of columns


class CaptureRow(NamedTuple):
    """A capture without its payload."""

    id: str
    model: str
    at_ms: int
    bytes: int
    application: str
    version: int
    variant: str
    operation: int
    rows: int
    shared: bool
    request_header: int
    request_coding: str
    answer_header: int
    answer_coding: str


class Sought(NamedTuple):
    """Which captures of a model are meant; None: whatever it is. Times in milliseconds."""

    model: str
    application: str | None = None
    version: int | None = None
    start_ms: int | None = None
    end_ms: int | None = None

    def conditions(self) -> Iterator[sa.ColumnElement[bool]]:
        """As SQL."""
        yield _capture.model == self.model
        if self.application is not None:
            yield _capture.application == self.application
        if self.version is not None:
            yield _capture.version == self.version
        if self.start_ms is not None:
            yield _capture.at_ms >= self.start_ms
        if self.end_ms is not None:
            yield _capture.at_ms < self.end_ms


class Captures:
    """Reads and writes captures. Thread-safe; calls block."""

    def __init__(self, database: Database, clock: Clock, budget_bytes: int) -> None:
        """``budget_bytes``: what the payloads of one model may take; the oldest go first."""
        self._database = database
        self._clock = clock
        self._budget_bytes = budget_bytes

    @repeated
    def ingest(self, found: list[Captured]) -> int:
        """Keep what is not there yet and was not removed, of models that there are. Returns how
        many were new."""
        kept = 0
        with self._database.write() as connection:
            for model in sorted({one.model for one in found}):
                if _exists(connection, model):
                    kept += self._keep(connection, model, [c for c in found if c.model == model])
        return kept

    def page(self, sought: Sought, limit: int, before: tuple[int, str] | None) -> list[CaptureRow]:
        """The newest first, from the one that follows ``before`` (time and id)."""
        query = sa.select(*(_capture[name] for name in CaptureRow._fields)).where(
            *sought.conditions()
        )
        if before is not None:
            query = query.where(sa.tuple_(_capture.at_ms, _capture.id) < sa.tuple_(*before))
        query = query.order_by(_capture.at_ms.desc(), _capture.id.desc()).limit(limit)
        with self._database.read() as connection:
            return [CaptureRow(*row) for row in connection.execute(query)]

    def find(self, id: str) -> tuple[CaptureRow, str | None] | None:
        """The capture of a prediction, and the consumer whose application asked for it (None for a
        management token, and for an application that is gone); None where there is none."""
        query = (
            sa.select(*(_capture[name] for name in CaptureRow._fields), applications.c.consumer)
            .join(applications, applications.c.name == _capture.application, isouter=True)
            .where(_capture.id == id)
        )
        with self._database.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else (CaptureRow(*row[:-1]), row.consumer)

    @repeated
    def read(self, id: str) -> tuple[bytes, bytes] | None:
        """Request and answer; that they were read is in the audit log with it."""
        table = capture_payloads.c
        query = sa.select(table.request, table.answer).where(table.id == id)
        with self._database.write() as connection:
            row = connection.execute(query).first()
            if row is None:
                return None
            audit.record(connection, "capture.read", "capture", id, at_ms=self._clock())
            return bytes(row.request), bytes(row.answer)

    @repeated
    def remove(self, model: str, application: str | None = None) -> int:
        """Remove a model's captures for good, or those of one application; how many. Those that
        gateways have yet to send are not kept when they come. It is in the audit log."""
        with self._database.write() as connection:
            self._hold(connection, model)
            record_removal(connection, self._database, model, application, self._clock())
        removed = 0
        while True:
            with self._database.write() as connection:
                _lock(connection, model)
                gone = Sought(model, application).conditions()
                count = _remove(connection, model, _ids(connection, gone))
                removed += count
                if count < ROWS:
                    state = {"application": application, "removed": removed}
                    audit.record(
                        connection,
                        "captures.removed",
                        "model",
                        model,
                        at_ms=self._clock(),
                        after={name: value for name, value in state.items() if value is not None},
                    )
                    return removed

    def expire(self) -> int:
        """Remove what is older than its model keeps it; how many."""
        removed = 0
        with self._database.write() as connection:
            forget_removals(connection, self._clock())
        with self._database.read() as connection:
            kept = connection.execute(sa.select(models.c.name, models.c.capture_days)).all()
            present = set(connection.execute(sa.select(capture_totals.c.model)).scalars())
        for name, days in kept:
            count = ROWS if name in present else 0
            while count == ROWS:
                with self._database.write() as connection:
                    _lock(connection, name)
                    ended = self._clock() - days * DAY_MS
                    old = Sought(name, end_ms=ended).conditions()
                    count = _remove(connection, name, _ids(connection, old))
                    removed += count
        return removed

    def _keep(self, connection: Connection, model: str, found: list[Captured]) -> int:
        total = self._hold(connection, model)
        removals = find_removals(connection, model)
        there = set(
            connection.execute(
                sa.select(_capture.id).where(_capture.id.in_([one.id for one in found]))
            ).scalars()
        )
        fresh = {
            one.id: one
            for one in found
            if one.id not in there
            and _size(one) <= self._budget_bytes
            and not removals.covers(one.application, one.at_ms)
        }
        if not fresh:
            return 0
        new = list(fresh.values())
        connection.execute(sa.insert(captures), [_row(one) for one in new])
        payloads = [{"id": one.id, "request": one.request, "answer": one.answer} for one in new]
        connection.execute(sa.insert(capture_payloads), payloads)
        total += sum(map(_size, new))
        _set_total(connection, model, total)
        while total > self._budget_bytes:
            total -= _remove_oldest(connection, model, total - self._budget_bytes)
        return len(new)

    def _hold(self, connection: Connection, model: str) -> int:
        """:func:`_lock`, where the model may have had no captures yet."""
        empty = inserting(self._database)(capture_totals).values(model=model, bytes=0)
        connection.execute(empty.on_conflict_do_nothing())
        return _lock(connection, model)


def _size(one: Captured) -> int:
    return len(one.request) + len(one.answer)


def _row(one: Captured) -> dict[str, object]:
    facts = msgspec.structs.asdict(one)
    return {**{name: facts[name] for name in _FACTS}, "bytes": _size(one)}


def _exists(connection: Connection, model: str) -> bool:
    query = sa.select(sa.literal(1)).where(models.c.name == model)
    return connection.execute(query).first() is not None


def _lock(connection: Connection, model: str) -> int:
    """Hold the model's captures until the transaction ends; bytes of them."""
    query = sa.select(capture_totals.c.bytes).where(capture_totals.c.model == model)
    return int(connection.execute(query.with_for_update()).scalar() or 0)


def _set_total(connection: Connection, model: str, total: int) -> None:
    connection.execute(
        sa.update(capture_totals).where(capture_totals.c.model == model).values(bytes=total)
    )


def _ids(
    connection: Connection, conditions: Iterable[sa.ColumnElement[bool]]
) -> list[tuple[str, int]]:
    query = sa.select(_capture.id, _capture.bytes).where(*conditions)
    oldest = query.order_by(_capture.at_ms, _capture.id).limit(ROWS)
    return [(row.id, row.bytes) for row in connection.execute(oldest)]


def _remove(connection: Connection, model: str, found: list[tuple[str, int]]) -> int:
    """Remove these; how many. The caller holds :func:`_lock`."""
    if not found:
        return 0
    names = [id for id, _ in found]
    connection.execute(sa.delete(capture_payloads).where(capture_payloads.c.id.in_(names)))
    connection.execute(sa.delete(captures).where(_capture.id.in_(names)))
    freed = sum(size for _, size in found)
    connection.execute(
        sa.update(capture_totals)
        .where(capture_totals.c.model == model)
        .values(bytes=capture_totals.c.bytes - freed)
    )
    return len(found)


def _remove_oldest(connection: Connection, model: str, needed: int) -> int:
    """Remove the oldest until ``needed`` bytes are free, some hundred at most; bytes freed."""
    going: list[tuple[str, int]] = []
    freed = 0
    for id, size in _ids(connection, [_capture.model == model]):
        if freed >= needed:
            break
        going.append((id, size))
        freed += size
    _remove(connection, model, going)
    return freed
