"""The roll-ups of the usage benchmark are what taking usage in would leave: every tier agrees."""

from pathlib import Path

import sqlalchemy as sa

from benchmarks.usage.generate import Scale, fill
from control.store import schema
from control.store.usage_rollups import TIERS
from control.store.usage_tables import usage_blocks, usage_summaries
from control.usage_tiers import BLOCKS, CUBES, DAY, HOUR
from registry.store.database import Database


def test_every_tier_that_is_made_has_the_same_requests(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'usage.db'}")
    schema.upgrade(database)
    list(fill(database, Scale(requests=3000, days=20), 20_000 * DAY))
    summary, block = usage_summaries.c, usage_blocks.c
    with database.read() as connection:
        counted = {
            grain: connection.execute(sa.select(sa.func.sum(TIERS[grain].c.requests))).scalar_one()
            for grain in (HOUR, DAY)
        }
        blocks = connection.execute(
            sa.select(block.grain, sa.func.sum(block.requests)).group_by(block.grain)
        ).all()
        summaries = connection.execute(
            sa.select(summary.cube, summary.grain, sa.func.sum(summary.requests))
            .where(summary.grain >= HOUR)
            .group_by(summary.cube, summary.grain)
        ).all()
    database.close()
    assert [grain for grain, _ in blocks] == list(BLOCKS)
    assert len(summaries) == sum(len([g for g in cube.grains if g >= HOUR]) for cube in CUBES)
    found = {*counted.values(), *(row[1] for row in blocks), *(row[2] for row in summaries)}
    assert found == {counted[DAY]}
