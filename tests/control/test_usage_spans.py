"""A report over any range reads few spans, and an older database gets them from what it has."""

import random
from collections import Counter

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from control import histogram
from control.store import schema
from control.store.usage_tables import usage_blocks, usage_summaries
from control.usage_tiers import CUBES, DAY, HOUR, MINUTE, QUARTER, Marks, cube_for, segments
from registry.store.database import Database
from tests.control.test_usage_tiers import Installation, some_records

Row = tuple[object, ...]


def rows(connection: sa.Connection, table: sa.Table) -> list[Row]:
    """Every row, with histograms as counts."""
    return sorted(
        tuple(
            tuple(sorted(histogram.decode(bytes(value)).items()))
            if isinstance(value, bytes | memoryview)
            else value
            for value in row
        )
        for row in connection.execute(sa.select(table))
    )


def test_migrating_sums_what_an_older_database_holds_as_folding_would(database: Database) -> None:
    from alembic import command
    from alembic.config import Config

    installation = Installation(database)
    installation.take_in(some_records(random.Random(3), 150, 9 * DAY))
    installation.clock.advance(60 * 10 * DAY)
    installation.tiers.fold()
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    with database.write() as connection:
        before = [rows(connection, table) for table in (usage_blocks, usage_summaries)]
        config.attributes["connection"] = connection
        command.downgrade(config, "0011")
        grains = sa.text("SELECT DISTINCT grain FROM usage_summaries")
        assert QUARTER not in set(connection.execute(grains).scalars())
        schema.migrate(connection)
        assert [rows(connection, table) for table in (usage_blocks, usage_summaries)] == before
    assert set(installation.sums().values()) == {150}


ends = st.integers(min_value=0, max_value=400 * DAY)


@given(ends, ends)
def test_beside_whole_days_a_range_has_few_quarters_hours_and_minutes(
    first: int, second: int
) -> None:
    start, end = sorted((first, second))
    spans: Counter[int] = Counter()
    for one in segments(start, end, 0, Marks(folded=500 * DAY)):
        spans[one.grain] += (one.end - one.start) // one.grain
    assert spans[QUARTER] <= 2 * 3
    assert spans[HOUR] <= 2 * 5
    assert spans[MINUTE] <= 2 * 59


@pytest.mark.parametrize("step", [MINUTE, HOUR])
def test_no_quarter_is_in_a_report_by_shorter_steps(step: int) -> None:
    found = segments(7, 3 * DAY, step, Marks(folded=500 * DAY))
    assert {one.grain for one in found} <= {MINUTE, step}


def test_reports_over_everybody_read_the_smallest_summary_that_tells_enough_apart() -> None:
    def name(*dimensions: str, filtered: bool = False, grain: int = DAY) -> str | None:
        cube = cube_for(dimensions, grain, filtered=filtered)  # type: ignore[arg-type]
        return cube.name if cube is not None else None

    assert name() == "total"
    assert name("application") == name("application", filtered=True) == "application"
    assert name("version", "variant") == "model"
    assert name("key", "variant") == "caller"
    assert name("key", "status") is None


def test_of_one_caller_the_tiers_read_less_by_their_indexes() -> None:
    assert cube_for(["key"], DAY, filtered=True) is None
    assert cube_for(["key"], HOUR) is None
    assert [cube.name for cube in CUBES if cube.unfiltered] == ["caller"]
