"""Who calls a version: from the roll-ups of usage."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.reach import EVERYTHING
from control.store.pin_rows import pins
from control.store.tables import applications, ended_applications
from control.store.usage_reading import UsageReports
from control.store.usage_rollups import TIERS
from control.usage_report import MINUTE_MS, UsageQuery
from control.usage_resources import UsageItem
from registry.clock import Clock
from registry.store.database import Database

DAY_MS: Final = 86_400_000
WEEK_DAYS: Final = 7
_CHUNK: Final = 400


class Caller(msgspec.Struct, kw_only=True):
    """An application that calls a version. Times are UNIX milliseconds."""

    application: str
    consumer: str | None = None
    """None: nothing is known of the application any more."""
    ended: bool = False
    """Whether the application was deleted since."""
    requests: int = 0
    errors: int = 0
    rows: int = 0
    compute_ms: float = 0.0
    variants: dict[str, int] = {}
    """Variant -> requests."""
    last_week: int = 0
    """Requests of the last seven days, today included."""
    week_before: int = 0
    first_ms: int = 0
    """Exact to the day."""
    last_ms: int = 0
    """Exact to the minute, later to the hour or the day, as usage is kept."""


class Callers:
    """Reads who calls. Thread-safe; calls block."""

    def __init__(self, database: Database, reports: UsageReports, clock: Clock) -> None:
        self._database = database
        self._reports = reports
        self._clock = clock

    def of(self, model: str, version: int, days: int) -> list[Caller]:
        """The applications that called the version within the last ``days``, the busiest first.
        Holders of management tokens, who call without an application, are none of them."""
        now = self._clock()
        found: dict[str, Caller] = {}
        for item in self._usage(model, version, days, now):
            if not item.application:
                continue
            caller = found.setdefault(item.application, Caller(application=item.application))
            _add(caller, item, now)
        with self._database.read() as connection:
            _name_consumers(connection, found)
            for application, (first, last) in _spans(connection, model, version).items():
                if application in found:
                    found[application].first_ms, found[application].last_ms = first, last
        return sorted(found.values(), key=lambda one: (-one.requests, one.application))

    def pinned_to(self, model: str, version: int) -> frozenset[str]:
        """The applications whose calls are pinned to the version now."""
        query = sa.select(pins.c.application).where(
            pins.c.model == model, pins.c.version == version
        )
        with self._database.read() as connection:
            return frozenset(connection.execute(query).scalars())

    def _usage(self, model: str, version: int, days: int, now: int) -> Iterable[UsageItem]:
        end = now // MINUTE_MS + 1
        query = UsageQuery(
            start=max(end - days * DAY_MS // MINUTE_MS, 0),
            end=end,
            by=("application", "variant"),
            step="day",
            only={"model": model, "version": version},
        )
        return self._reports.items(EVERYTHING, query)


def _add(caller: Caller, item: UsageItem, now: int) -> None:
    caller.requests += item.requests
    caller.errors += item.errors
    caller.rows += item.rows
    caller.compute_ms += item.compute_ms
    variant = item.variant or ""
    caller.variants[variant] = caller.variants.get(variant, 0) + item.requests
    assert item.time is not None
    age = now // DAY_MS - _day(item.time)
    if age < WEEK_DAYS:
        caller.last_week += item.requests
    elif age < 2 * WEEK_DAYS:
        caller.week_before += item.requests


def _day(time: str) -> int:
    return int(datetime.fromisoformat(time).timestamp() * 1000) // DAY_MS


def _spans(connection: Connection, model: str, version: int) -> dict[str, tuple[int, int]]:
    """Application -> beginning of its first span with calls and end of its last, in any tier."""
    found: dict[str, tuple[int, int]] = {}
    for table in TIERS.values():
        rows = connection.execute(
            sa.select(table.c.application, sa.func.min(table.c.minute), sa.func.max(table.c.minute))
            .where(table.c.model == model, table.c.version == version)
            .group_by(table.c.application)
        )
        for application, first, last in rows:
            begin, end = first * MINUTE_MS, last * MINUTE_MS
            known = found.get(application, (begin, end))
            found[application] = min(known[0], begin), max(known[1], end)
    return found


def _name_consumers(connection: Connection, callers: dict[str, Caller]) -> None:
    names = sorted(callers)
    for start in range(0, len(names), _CHUNK):
        some = names[start : start + _CHUNK]
        gone = sa.select(ended_applications).where(ended_applications.c.name.in_(some))
        for row in connection.execute(gone):
            callers[row.name].consumer, callers[row.name].ended = row.consumer, True
        here = sa.select(applications.c.name, applications.c.consumer)
        for row in connection.execute(here.where(applications.c.name.in_(some))):
            callers[row.name].consumer, callers[row.name].ended = row.consumer, False
