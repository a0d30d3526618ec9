"""Usage by quarters of days, a summary by caller, and the summary by model tells variants apart."""

import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

DIMENSIONS = ("application", "key", "model", "version", "variant", "status")
SUMS = (
    "requests",
    "rows",
    "errors",
    "queue_us",
    "infer_us",
    "total_us",
    "bytes_in",
    "bytes_out",
)
TYPES: dict[str, sa.types.TypeEngine[Any]] = {
    "application": sa.String(length=63),
    "key": sa.String(length=32),
    "model": sa.String(length=63),
    "version": sa.Integer(),
    "variant": sa.String(length=16),
    "status": sa.Integer(),
}
HOUR, QUARTER, DAY = 60, 360, 1440
BLOCKS = (7 * DAY, 28 * DAY, 112 * DAY)
CUBES = {
    "total": ("variant", "status"),
    "application": ("application",),
    "model": ("model", "version", "variant", "status"),
    "caller": ("application", "key", "model", "version", "variant"),
}
ADDED = {
    "total": (QUARTER,),
    "application": (QUARTER,),
    "model": (HOUR, QUARTER, DAY, *BLOCKS),
    "caller": (QUARTER, DAY, *BLOCKS),
}
CHUNK = 5000
MOST = 2**32 - 1
COPIED = ("total", "application")
"""Summaries of the dimensions that they have had before."""
_entry = struct.Struct("<HI")


def upgrade() -> None:
    """Apply. What is kept of hours, days and blocks is summed again."""
    _renew_summaries(DIMENSIONS)
    hours, blocks = _table("usage_hours"), _table("usage_blocks", "grain")
    for minute in _begins(hours, sa.true(), QUARTER):
        span = sa.and_(hours.c.minute >= minute, hours.c.minute < minute + QUARTER)
        _sum(hours, span, blocks, {"grain": QUARTER, "minute": minute}, DIMENSIONS)
    for cube, grains in ADDED.items():
        for grain in grains:
            _summarise(cube, grain, CUBES[cube], DIMENSIONS)


def downgrade() -> None:
    """Undo. The summary by model loses its variants; nothing else is lost."""
    without_key = tuple(name for name in DIMENSIONS if name != "key")
    _renew_summaries(without_key)
    for grain in (HOUR, DAY, *BLOCKS):
        _summarise("model", grain, ("model", "version", "status"), without_key)
    blocks = _table("usage_blocks", "grain")
    op.execute(sa.delete(blocks).where(blocks.c.grain == QUARTER))


def _table(name: str, *first: str, dimensions: tuple[str, ...] = DIMENSIONS) -> sa.TableClause:
    return sa.table(name, *map(sa.column, (*first, "minute", *dimensions, *SUMS, "latency")))


def _renew_summaries(dimensions: tuple[str, ...]) -> None:
    """The table anew with those rows that stay as they are: SQLite cannot change a primary key."""
    op.execute(sa.text("CREATE TABLE usage_summaries_before AS SELECT * FROM usage_summaries"))
    op.drop_table("usage_summaries")
    op.create_table(
        "usage_summaries",
        sa.Column("cube", sa.String(length=16), nullable=False),
        sa.Column("grain", sa.Integer(), nullable=False),
        sa.Column("minute", sa.BigInteger(), nullable=False),
        *[sa.Column(name, TYPES[name], nullable=False) for name in dimensions],
        *[sa.Column(name, sa.BigInteger(), nullable=False) for name in SUMS],
        sa.Column("latency", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint(
            "cube", "grain", "minute", *dimensions, name=op.f("pk_usage_summaries")
        ),
        sqlite_with_rowid=False,
    )
    before = _table("usage_summaries_before", "cube", "grain")
    after = _table("usage_summaries", "cube", "grain", dimensions=dimensions)
    names = [column.name for column in after.columns]
    # None of these tells keys apart.
    values: list[sa.ColumnElement[Any]] = [
        sa.literal("", sa.String) if name == "key" else before.c[name] for name in names
    ]
    stays = sa.and_(before.c.cube.in_(COPIED), before.c.grain != QUARTER)
    op.execute(sa.insert(after).from_select(names, sa.select(*values).where(stays)))
    op.drop_table("usage_summaries_before")


def _summarise(cube: str, grain: int, kept: tuple[str, ...], dimensions: tuple[str, ...]) -> None:
    """Make the rows of a summary by ``grain`` minutes, from the table of all dimensions."""
    of_grain: sa.ColumnElement[bool] = sa.true()
    if grain in {HOUR, DAY}:
        source = _table("usage_hours" if grain == HOUR else "usage_days")
    else:
        source = _table("usage_blocks", "grain")
        of_grain = source.c.grain == grain
    target = _table("usage_summaries", "cube", "grain", dimensions=dimensions)
    for minute in _begins(source, of_grain, grain):
        given = {"cube": cube, "grain": grain, "minute": minute}
        _sum(source, sa.and_(of_grain, source.c.minute == minute), target, given, kept)


def _begins(source: sa.TableClause, condition: sa.ColumnElement[bool], grain: int) -> list[int]:
    """Where the spans of ``grain`` minutes begin that ``source`` has rows of."""
    found = op.get_bind().execute(sa.select(source.c.minute).where(condition).distinct())
    return sorted({int(minute) // grain * grain for minute in found.scalars()})


def _sum(
    source: sa.TableClause,
    condition: sa.ColumnElement[bool],
    target: sa.TableClause,
    given: Mapping[str, object],
    kept: tuple[str, ...],
) -> None:
    """Sum rows of ``source`` into ``target``, told apart by the dimensions ``kept`` only."""
    connection = op.get_bind()
    is_sqlite = connection.dialect.name == "sqlite"
    latency = source.c.latency
    joined: sa.ColumnElement[Any] = sa.func.string_agg(latency, sa.cast(b"", sa.LargeBinary))
    if is_sqlite:  # which joins text only
        joined = sa.func.group_concat(sa.func.hex(latency), "")
    columns = [source.c[name] for name in kept]
    found = connection.execute(
        sa.select(*columns, *(sa.func.sum(source.c[name]) for name in SUMS), joined)
        .where(condition)
        .group_by(*columns)
    )
    others = {
        name: 0 if name in {"version", "status"} else ""
        for name in DIMENSIONS
        if name in target.c and name not in kept
    }
    width = len(kept)
    while rows := found.fetchmany(CHUNK):
        connection.execute(
            sa.insert(target),
            [
                {
                    **given,
                    **others,
                    **dict(zip(kept, row[:width], strict=True)),
                    **dict(zip(SUMS, map(int, row[width:-1]), strict=True)),
                    "latency": _merged(bytes.fromhex(row[-1]) if is_sqlite else bytes(row[-1])),
                }
                for row in rows
            ],
        )


def _merged(latency: bytes) -> bytes:
    """Histograms that stand one behind the other as one."""
    counts: Counter[int] = Counter()
    for index, count in _entry.iter_unpack(latency):
        counts[index] += count
    return b"".join(_entry.pack(*entry) for entry in _entries(counts))


def _entries(counts: Counter[int]) -> Iterator[tuple[int, int]]:
    for index, count in counts.items():
        rest = count
        while rest > MOST:  # a count that an entry cannot hold stands in several
            yield index, MOST
            rest -= MOST
        yield index, rest
