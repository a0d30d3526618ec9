"""When somebody called first and last: looked for in long spans, then in shorter ones within those.

A history of years has more roll-ups than a page may read. Of each caller some blocks, the days of
one block, the hours of one day and the minutes of one hour are enough.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.reach import EVERYTHING
from control.store.usage_sources import Source, source_of
from control.usage_report import UsageQuery
from control.usage_tiers import DAY, DAY_BLOCKS, HOUR, MINUTE, Marks, Segment

Key = str | int
"""An application's name, or a version's number."""
_Pick = Callable[[sa.ColumnElement[int]], sa.ColumnElement[int]]
_GRAINS: Final = (*reversed(DAY_BLOCKS), DAY, HOUR, MINUTE)


class Window(NamedTuple):
    """Minutes of UNIX time, ``end`` not included: a roll-up's span."""

    start: int
    end: int


class Told(NamedTuple):
    """What tells callers apart in a report."""

    query: UsageQuery
    """Has ``application`` among its dimensions: who calls without one is no caller."""
    key: Literal["application", "version"]


def spread(sources: Sequence[Source], *names: str) -> sa.Subquery:
    """Columns of all the sources' roll-ups of applications, and ``end``, where their spans do."""
    return sa.union_all(
        *(
            sa.select(
                *(source.table.c[name] for name in names),
                (source.table.c.minute + source.part.grain).label("end"),
            ).where(source.condition(), source.table.c.application != "")
            for source in sources
        )
    ).subquery()


def last_minutes(
    connection: Connection, told: Told, windows: Mapping[Key, Window], marks: Marks
) -> dict[Key, int]:
    """The beginning of the shortest span that is kept of each one's last call. ``windows``: spans
    that the last calls are in."""
    return _within(connection, told, windows, marks, MINUTE, sa.func.max)


def first_days(
    connection: Connection, told: Told, windows: Mapping[Key, Window], marks: Marks
) -> dict[Key, int]:
    """The beginning of the day of each one's first call, or, in ``windows`` of less than a day, of
    the window."""
    return _within(connection, told, windows, marks, DAY, sa.func.min)


def _within(
    connection: Connection,
    told: Told,
    windows: Mapping[Key, Window],
    marks: Marks,
    shortest: int,
    pick: _Pick,
) -> dict[Key, int]:
    """Beginnings of the spans that ``pick`` chooses: of ``shortest`` minutes, where they are
    kept."""
    found = {key: window.start for key, window in windows.items()}
    waiting: dict[Window, list[Key]] = {}
    for key, window in windows.items():
        waiting.setdefault(window, []).append(key)
    for grain in _GRAINS:
        picked = _picked(told, grain, pick)
        for window in list(waiting):
            if _longest_within(window, max(shortest, marks.grain_at(window.start))) != grain:
                continue
            asked = {"start": window.start, "end": window.end, "keys": waiting.pop(window)}
            for key, minute in connection.execute(picked, asked).all():
                found[key] = minute
                waiting.setdefault(Window(minute, minute + grain), []).append(key)
    return found


def _longest_within(window: Window, shortest: int) -> int | None:
    """Minutes in the longest spans within the window."""
    length = window.end - window.start
    return next((grain for grain in _GRAINS if shortest <= grain < length), None)


def _picked(told: Told, grain: int, pick: _Pick) -> sa.Select[Any]:
    """One statement for all windows: to make it takes longer than to read."""
    source = source_of(EVERYTHING, told.query, Segment(grain, 0, grain, folded=True))
    table = source.table.c
    return (
        sa.select(table[told.key], pick(table.minute))
        .where(
            source.rows,
            table.application != "",
            table.minute >= sa.bindparam("start"),
            table.minute < sa.bindparam("end"),
            table[told.key].in_(sa.bindparam("keys", expanding=True)),
        )
        .group_by(table[told.key])
    )
