"""Who calls a version: sums that the database makes from the roll-ups of usage."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.caller_pages import Looked, Place
from control.reach import EVERYTHING
from control.store.call_times import Key, Told, Window, first_days, last_minutes, spread
from control.store.pin_rows import pins
from control.store.tables import applications, ended_applications
from control.store.usage_rollups import read_marks
from control.store.usage_sources import Source, by_code, sources_of, to_marks
from control.usage_report import MINUTE_MS, UsageQuery
from control.usage_tiers import DAY, Marks, floor, segments
from registry.store.database import Database

DAY_MS: Final = 86_400_000
WEEK_DAYS: Final = 7
_MANY: Final = 5_000
"""Callers that are read at once where all are wanted."""
_NAMED: Final[sa.BindParameter[list[str]]] = sa.bindparam("named", expanding=True)


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
    variants: dict[str, int] = {}
    """Variant -> requests."""
    last_week: int = 0
    """Requests of the last seven days, today included."""
    week_before: int = 0
    first_ms: int = 0
    """Exact to the day."""
    last_ms: int = 0
    """Exact to the minute, later to the hour or the day, as usage is kept."""

    @property
    def place(self) -> Place:
        """Where it stands."""
        return Place(self.requests, self.application)


class CallersPage(NamedTuple):
    """Some callers, and what all of them add up to."""

    callers: list[Caller]
    more: bool
    """Whether others follow."""
    applications: int
    requests: int


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """What the callers of a version add up to."""

    requests: int = 0
    errors: int = 0
    callers: int = 0
    compute_ms: float = 0.0
    last_ms: int | None = None
    """As of :class:`Caller`; None: nobody called."""


NOBODY_CALLED: Final = Traffic()


class Callers:
    """Reads who calls. Holders of management tokens, who call without an application, are nobody
    here. Thread-safe; calls block."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(
        self, model: str, version: int, looked: Looked, limit: int, after: Place | None
    ) -> CallersPage:
        """The applications that called the version, from the one that follows ``after``."""
        query = UsageQuery(
            start=looked.start,
            end=looked.end,
            by=("application", "variant"),
            step=None,
            only={"model": model, "version": version},
        )
        with self._database.read() as connection:
            marks = to_marks(read_marks(connection))
            ranked = _ranked(connection, _sources(query, looked.start, looked.end, marks))
            count, requests, found = _busiest(connection, ranked, limit + 1, after)
            callers = {
                name: Caller(application=name, requests=requests_of, variants={})
                for name, requests_of in found[:limit]
            }
            if callers:
                _add_details(connection, query, looked, marks, callers)
                _name_consumers(connection, callers)
        return CallersPage(list(callers.values()), len(found) > limit, count, requests)

    def every(self, model: str, version: int, looked: Looked) -> Iterator[Caller]:
        """All of them. Read page by page: who is slow holds no transaction open."""
        after: Place | None = None
        while True:
            page = self.page(model, version, looked, _MANY, after)
            yield from page.callers
            if not page.more:
                return
            after = page.callers[-1].place

    def traffic(self, model: str, looked: Looked) -> dict[int, Traffic]:
        """What the callers of each version add up to; nothing of one that nobody called."""
        query = UsageQuery(
            looked.start, looked.end, ("application", "version"), None, {"model": model}
        )
        with self._database.read() as connection:
            marks = to_marks(read_marks(connection))
            names = ("version", "application", "requests", "errors", "infer_us", "minute")
            every = spread(_sources(query, looked.start, looked.end, marks), *names).c
            columns: list[sa.ColumnElement[Any]] = [
                every.version,
                *(sa.func.sum(every[name]) for name in ("requests", "errors", "infer_us")),
                sa.func.count(every.application.distinct()),
                sa.func.max(every.minute),
                sa.func.max(every.end),
            ]
            rows = connection.execute(sa.select(*columns).group_by(every.version)).all()
            windows: dict[Key, Window] = {row[0]: Window(row[5], row[6]) for row in rows}
            last = last_minutes(connection, Told(query, "version"), windows, marks)
        return {
            version: Traffic(
                requests=int(requests),
                errors=int(errors),
                callers=callers,
                compute_ms=int(infer_us) / 1000,
                last_ms=last[version] * MINUTE_MS,
            )
            for version, requests, errors, infer_us, callers, _, _ in rows
        }

    def pinned_to(self, model: str, version: int, named: Sequence[str]) -> frozenset[str]:
        """Those of the applications whose calls are pinned to the version now."""
        query = sa.select(pins.c.application).where(
            pins.c.model == model,
            pins.c.version == version,
            pins.c.application.in_(_NAMED),
        )
        with self._database.read() as connection:
            return frozenset(connection.execute(query, {"named": named}).scalars())


def _sources(query: UsageQuery, start: int, end: int, marks: Marks) -> list[Source]:
    return sources_of(EVERYTHING, query, segments(start, end, 0, marks), marks)


def _ranked(connection: Connection, sources: Sequence[Source]) -> sa.CTE:
    """Application -> requests. ``name`` is the application in the order of its code points."""
    every = spread(sources, "application", "requests").c
    return (
        sa.select(
            every.application,
            by_code(connection.dialect, every.application).label("name"),
            sa.func.sum(every.requests).label("requests"),
        )
        .group_by(every.application)
        .cte("ranked")
    )


def _busiest(
    connection: Connection, ranked: sa.CTE, limit: int, after: Place | None
) -> tuple[int, int, list[tuple[str, int]]]:
    """How many applications there are, their requests, and some of them with theirs."""
    page = sa.select(ranked)
    if after is not None:
        page = page.where(
            sa.or_(
                ranked.c.requests < after.requests,
                sa.and_(ranked.c.requests == after.requests, ranked.c.name > after.application),
            )
        )
    some = page.order_by(ranked.c.requests.desc(), ranked.c.name).limit(limit).subquery()
    whole = sa.select(
        sa.func.count().label("count"),
        sa.func.coalesce(sa.func.sum(ranked.c.requests), 0).label("sum"),
    ).select_from(ranked)
    # In one statement, so that the callers are summed once.
    total = whole.subquery()
    rows = connection.execute(
        sa.select(total.c.count, total.c.sum, some.c.application, some.c.requests)
        .select_from(total.outerjoin(some, sa.true()))
        .order_by(some.c.requests.desc(), some.c.name)
    ).all()
    found = [(row[2], int(row[3])) for row in rows if row[2] is not None]
    return int(rows[0][0]), int(rows[0][1]), found


def _add_details(
    connection: Connection,
    query: UsageQuery,
    looked: Looked,
    marks: Marks,
    callers: dict[str, Caller],
) -> None:
    """Everything but requests and consumer."""
    told = Told(query, "application")
    week = floor(looked.minute, DAY) - (WEEK_DAYS - 1) * DAY
    before = week - WEEK_DAYS * DAY
    every = spread(
        _cut(query, looked, (before, week), marks),
        "application", "variant", "requests", "errors", "rows", "minute",
    ).c  # fmt: skip
    is_last, is_before = every.minute >= week, every.minute >= before
    columns: list[sa.ColumnElement[Any]] = [
        every.application,
        every.variant,
        *(sa.func.sum(every[name]) for name in ("requests", "errors", "rows")),
        sa.func.sum(sa.case((is_last, every.requests), else_=0)),
        sa.func.sum(sa.case((is_last, 0), (is_before, every.requests), else_=0)),
        sa.func.max(every.minute),
        sa.func.max(every.end),
    ]
    rows = connection.execute(
        sa.select(*columns)
        .where(every.application.in_(_NAMED))
        .group_by(every.application, every.variant),
        {"named": list(callers)},
    )
    windows: dict[Key, Window] = {}
    for name, variant, requests, errors, of_rows, last_week, week_before, last, end in rows:
        caller = callers[name]
        caller.variants[variant] = int(requests)
        caller.errors += int(errors)
        caller.rows += int(of_rows)
        caller.last_week += int(last_week)
        caller.week_before += int(week_before)
        # Spans do not overlap: the one that begins last is the one that ends last.
        window = Window(last, end)
        windows[name] = max(windows.get(name, window), window)
    for key, minute in last_minutes(connection, told, windows, marks).items():
        callers[str(key)].last_ms = minute * MINUTE_MS
    for key, minute in _first_minutes(connection, told, looked, marks, list(callers)).items():
        callers[str(key)].first_ms = minute * MINUTE_MS


def _cut(query: UsageQuery, looked: Looked, cuts: Sequence[int], marks: Marks) -> list[Source]:
    """Sources none of which lies across a cut."""
    ends = [looked.start, *(cut for cut in cuts if looked.start < cut < looked.end), looked.end]
    return [
        source for start, end in pairwise(ends) for source in _sources(query, start, end, marks)
    ]


def _first_minutes(
    connection: Connection, told: Told, looked: Looked, marks: Marks, named: Sequence[str]
) -> dict[Key, int]:
    """The day of each one's first call of all that are kept; of a call that is not folded yet, the
    minute."""
    every = spread(_sources(told.query, 0, looked.end, marks), "application", "minute").c
    rows = connection.execute(
        sa.select(every.application, sa.func.min(every.minute), sa.func.min(every.end))
        .where(every.application.in_(_NAMED))
        .group_by(every.application),
        {"named": named},
    )
    windows: dict[Key, Window] = {row[0]: Window(row[1], row[2]) for row in rows}
    return {
        name: floor(minute, DAY) if minute < marks.folded else minute
        for name, minute in first_days(connection, told, windows, marks).items()
    }


def _name_consumers(connection: Connection, callers: dict[str, Caller]) -> None:
    named = {"named": list(callers)}
    gone = sa.select(ended_applications).where(ended_applications.c.name.in_(_NAMED))
    for row in connection.execute(gone, named):
        callers[row.name].consumer, callers[row.name].ended = row.consumer, True
    here = sa.select(applications.c.name, applications.c.consumer)
    for row in connection.execute(here.where(applications.c.name.in_(_NAMED)), named):
        callers[row.name].consumer, callers[row.name].ended = row.consumer, False
