"""The roll-ups of the usage benchmark are what taking its requests in would leave."""

import numpy as np
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.usage.generate import TAKEN_IN, fill, take_in
from benchmarks.usage.summing import buckets
from benchmarks.usage.traffic import Scale, Traffic, joined, records
from control import histogram
from control.store.usage_tables import (
    usage_blocks,
    usage_days,
    usage_hours,
    usage_marks,
    usage_minutes,
    usage_summaries,
)
from control.store.usage_tiers import SETTLE_MINUTES
from control.usage import MINUTE_MS
from control.usage_tiers import DAY, HOUR
from registry.store.database import Database
from tests.fixtures.postgres import prepared

END = 20_000 * DAY + 3 * HOUR
SCALE = Scale(requests=700, days=1)
TABLES = (usage_minutes, usage_hours, usage_days, usage_blocks, usage_summaries, usage_marks)


def rows(database: Database, table: sa.Table) -> list[tuple[object, ...]]:
    """Every row, with histograms as counts."""
    with database.read() as connection:
        found = connection.execute(sa.select(table)).all()
    return sorted(
        tuple(
            tuple(sorted(histogram.decode(value).items())) if isinstance(value, bytes) else value
            for value in row
        )
        for row in found
    )


def test_every_row_is_what_taking_in_and_folding_the_same_requests_makes(
    database: Database, tmp_path: object
) -> None:
    list(fill(database, SCALE, END))
    product = prepared(f"sqlite:///{tmp_path}/product.db")
    taken = records(joined(Traffic(SCALE, END).days()))
    take_in(product, taken, (END + SETTLE_MINUTES) * MINUTE_MS)
    assert len(taken) > SCALE.requests
    assert any(record.at_ms // MINUTE_MS >= END - TAKEN_IN for record in taken)
    for table in TABLES[:-1]:
        assert rows(database, table) == rows(product, table), table.name
    product.close()


@given(st.lists(st.integers(0, 2**31), min_size=1, max_size=50))
def test_buckets_are_those_of_the_histogram(values: list[int]) -> None:
    assert buckets(np.array(values)).tolist() == [histogram.bucket(value) for value in values]
