"""Usage by hour and day, summaries, charges, statements and quota thresholds."""

import struct
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

KEY = ("minute", "application", "key", "model", "version", "variant", "status")
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
CHUNK = 5000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_entry = struct.Struct("<HI")


def upgrade() -> None:
    """Apply. Hours, days and summaries are filled by the job that folds minutes."""
    op.execute(sa.text("CREATE TABLE usage_minutes_before AS SELECT * FROM usage_minutes"))
    op.drop_table("usage_minutes")
    for name in ("usage_minutes", "usage_hours", "usage_days"):
        _create_rollups(name)
    op.create_table(
        "usage_blocks",
        sa.Column("grain", sa.Integer(), autoincrement=False, nullable=False),
        *_dimensions(),
        *_measures(),
        sa.PrimaryKeyConstraint("grain", *KEY, name=op.f("pk_usage_blocks")),
        sqlite_with_rowid=False,
    )
    for column in ("application", "model"):
        name = f"ix_usage_blocks_{column}_grain_minute"
        op.create_index(name, "usage_blocks", [column, "grain", "minute"], unique=False)
    op.create_table(
        "usage_summaries",
        sa.Column("cube", sa.String(length=16), nullable=False),
        sa.Column("grain", sa.Integer(), nullable=False),
        *[column for column in _dimensions() if column.name != "key"],
        *_measures(),
        sa.PrimaryKeyConstraint(
            "cube",
            "grain",
            *(name for name in KEY if name != "key"),
            name=op.f("pk_usage_summaries"),
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "usage_marks",
        sa.Column("name", sa.String(length=16), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_usage_marks")),
    )
    _create_charges()
    op.create_table(
        "usage_statements",
        sa.Column("application", sa.String(length=63), nullable=False),
        sa.Column("month", sa.Integer(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("closed_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("application", "month", name=op.f("pk_usage_statements")),
    )
    op.create_table(
        "usage_thresholds",
        sa.Column("application", sa.String(length=63), nullable=False),
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("period", sa.String(length=10), nullable=False),
        sa.Column("unit", sa.String(length=16), nullable=False),
        sa.Column("limit", sa.BigInteger(), nullable=False),
        sa.Column("percent", sa.Integer(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "application",
            "model",
            "period",
            "unit",
            "limit",
            "percent",
            name=op.f("pk_usage_thresholds"),
        ),
    )
    _copy_minutes("usage_minutes_before", "usage_minutes", _entries)
    op.drop_table("usage_minutes_before")
    _charge_what_is_there()


def downgrade() -> None:
    """Undo. Usage by minute stays, as far as it has not been removed by then."""
    for name in (
        "usage_thresholds",
        "usage_statements",
        "usage_charges",
        "usage_marks",
        "usage_summaries",
        "usage_blocks",
        "usage_days",
        "usage_hours",
    ):
        op.drop_table(name)
    op.execute(sa.text("CREATE TABLE usage_minutes_after AS SELECT * FROM usage_minutes"))
    op.drop_table("usage_minutes")
    op.create_table(
        "usage_minutes",
        *_dimensions(),
        *_measures(),
        sa.PrimaryKeyConstraint(*KEY, name=op.f("pk_usage_minutes")),
    )
    _copy_minutes("usage_minutes_after", "usage_minutes", _map)
    op.drop_table("usage_minutes_after")


def _dimensions() -> list[sa.Column[Any]]:
    return [
        sa.Column("minute", sa.BigInteger(), nullable=False),
        sa.Column("application", sa.String(length=63), nullable=False),
        sa.Column("key", sa.String(length=32), nullable=False),
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("variant", sa.String(length=16), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
    ]


def _measures() -> list[sa.Column[Any]]:
    sums = [sa.Column(name, sa.BigInteger(), nullable=False) for name in SUMS]
    return [*sums, sa.Column("latency", sa.LargeBinary(), nullable=False)]


def _create_rollups(name: str) -> None:
    op.create_table(
        name,
        *_dimensions(),
        *_measures(),
        sa.PrimaryKeyConstraint(*KEY, name=op.f(f"pk_{name}")),
        sqlite_with_rowid=False,
    )
    for column in ("application", "model"):
        op.create_index(f"ix_{name}_{column}_minute", name, [column, "minute"], unique=False)


def _create_charges() -> None:
    key = ("application", "model", "day", "plan", "price", "currency", "month")
    op.create_table(
        "usage_charges",
        sa.Column("application", sa.String(length=63), nullable=False),
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("plan", sa.String(length=63), nullable=False),
        sa.Column("price", sa.String(length=32), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("month", sa.Integer(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("infer_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(*key, name=op.f("pk_usage_charges")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_usage_charges_month_application", "usage_charges", ["month", "application"])


def _copy_minutes(source: str, target: str, recode: object) -> None:
    assert callable(recode)
    connection = op.get_bind()
    old = sa.table(source, *[sa.column(name) for name in (*KEY, *SUMS, "latency")])
    new = sa.table(target, *[sa.column(name) for name in (*KEY, *SUMS, "latency")])
    found = connection.execute(sa.select(old)).mappings()
    while rows := found.fetchmany(CHUNK):
        connection.execute(
            sa.insert(new), [{**row, "latency": recode(row["latency"])} for row in rows]
        )


def _entries(latency: bytes) -> bytes:
    """A histogram that was a MessagePack map, in entries."""
    counts = msgspec.msgpack.decode(latency, type=dict[int, int])
    return b"".join(_entry.pack(index, count) for index, count in counts.items())


def _map(latency: bytes) -> bytes:
    counts: dict[int, int] = {}
    for index, count in _entry.iter_unpack(latency):
        counts[index] = counts.get(index, 0) + count
    return msgspec.msgpack.encode(counts)


def _charge_what_is_there() -> None:
    """Usage that was counted before plans had prices goes to its subscription, free of charge."""
    connection = op.get_bind()
    found = connection.execute(
        sa.text(
            "SELECT u.application, u.model, u.minute / 1440, COALESCE(s.plan, ''),"
            " SUM(CASE WHEN u.status < 500 THEN u.requests ELSE 0 END),"
            " SUM(CASE WHEN u.status < 500 THEN 0 ELSE u.requests END),"
            " SUM(CASE WHEN u.status < 500 THEN u.rows ELSE 0 END),"
            " SUM(CASE WHEN u.status < 500 THEN u.infer_us ELSE 0 END)"
            " FROM usage_minutes AS u LEFT JOIN subscriptions AS s"
            " ON s.application = u.application AND s.model = u.model"
            " WHERE u.application <> '' AND u.model <> ''"
            " AND (u.status IN (200, 400, 422) OR u.status >= 500)"
            " GROUP BY u.application, u.model, u.minute / 1440, s.plan"
        )
    ).all()
    names = ("application", "model", "day", "plan", "requests", "failed", "rows", "infer_us")
    charges = sa.table(
        "usage_charges", *[sa.column(name) for name in (*names, "price", "currency", "month")]
    )
    for start in range(0, len(found), CHUNK):
        connection.execute(
            sa.insert(charges),
            [
                {
                    **dict(zip(names, row, strict=True)),
                    "price": "",
                    "currency": "",
                    "month": _month(row[2]),
                }
                for row in found[start : start + CHUNK]
            ],
        )


def _month(day: int) -> int:
    date = EPOCH + timedelta(days=day)
    return date.year * 100 + date.month
