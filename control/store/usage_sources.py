"""Where the roll-ups are that add up to a report, and which of them."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from control.reach import Reach
from control.store.reach import is_restricted, reaches
from control.store.usage_rollups import FOLDED, TIERS
from control.store.usage_tables import usage_blocks, usage_summaries
from control.usage_report import UsageQuery
from control.usage_tiers import BLOCKS, Dimension, Marks, Segment, cube_for, in_blocks

_NAMED_SPANS: Final = 128
"""So many spans are named one by one: an index then finds the callers in each of them."""
_INDEXED: Final[frozenset[Dimension]] = frozenset({"application", "key", "model"})
"""Dimensions that indexes of the tiers begin with."""


def to_marks(marks: Mapping[str, int]) -> Marks:
    """The marks of the tiers."""
    return Marks(marks.get(FOLDED, 0), *(marks.get(name, 0) for name in Marks._fields[1:]))


class Source(NamedTuple):
    """Roll-ups of one grain that follow on one another."""

    table: sa.Table
    part: Segment
    rows: sa.ColumnElement[bool]
    """Which of the table's rows, whatever their minute."""

    def spans(self) -> range:
        """The minutes at which the roll-ups begin."""
        return range(self.part.start, self.part.end, self.part.grain)

    def condition(self) -> sa.ColumnElement[bool]:
        """Which of the table's rows."""
        minute, spans = self.table.c.minute, self.spans()
        if len(spans) <= _NAMED_SPANS:
            # As one parameter: to look at each of a list takes longer than to ask the database.
            named: sa.BindParameter[list[int]] = sa.bindparam(
                "spans", list(spans), unique=True, expanding=True
            )
            return sa.and_(self.rows, minute.in_(named))
        return sa.and_(self.rows, minute >= self.part.start, minute < self.part.end)


def sources_of(reach: Reach, query: UsageQuery, parts: list[Segment], marks: Marks) -> list[Source]:
    """Where the roll-ups of ``parts`` are, and which of them. Where the report has no steps, days
    are read in blocks."""
    if query.step is None:
        parts = in_blocks(parts, marks)
    return [source_of(reach, query, part) for part in parts]


def source_of(reach: Reach, query: UsageQuery, part: Segment) -> Source:
    """The roll-ups of one part, as long as it says."""
    needed: set[Dimension] = {*query.by, *query.only}
    restricted = is_restricted(reach)
    if restricted:
        needed |= {"application", "model"}
    filtered = restricted or not _INDEXED.isdisjoint(query.only)
    cube = cube_for(needed, part.grain, filtered=filtered) if part.folded else None
    if cube is not None:
        table = usage_summaries
        conditions = [table.c.cube == cube.name, table.c.grain == part.grain]
        # Where they are none of its dimensions they are empty, and stand before others in its key.
        between: tuple[Dimension, ...] = ("application", "key")
        conditions += [table.c[name] == "" for name in between if name not in cube.dimensions]
    elif part.grain in BLOCKS:
        table = usage_blocks
        conditions = [table.c.grain == part.grain]
    else:
        table = TIERS[part.grain]
        conditions = []
    conditions += [table.c[name] == value for name, value in query.only.items()]
    if restricted:
        conditions.append(reaches(reach, table.c.application, table.c.model))
    return Source(table, part, sa.and_(sa.true(), *conditions))


def by_code(dialect: sa.Dialect, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """The column in the order that Python sorts by, whatever the database's language is."""
    # SQLite does so by itself, and uses no index where it is told to.
    if dialect.name == "sqlite" or not isinstance(column.type, sa.String):
        return column
    return column.collate("C")
