"""Every tier counts every request once, and any report is the sum of what it covers."""

import random
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from control.reach import Reach
from control.store.tables import applications, consumers
from control.store.usage import UsageStore
from control.store.usage_reading import UsageReports
from control.store.usage_rollups import read_marks, set_mark
from control.store.usage_tables import (
    usage_blocks,
    usage_days,
    usage_hours,
    usage_minutes,
    usage_summaries,
)
from control.store.usage_tiers import Retention, UsageTiers
from control.usage_report import UsageQuery, continued
from control.usage_tiers import BLOCKS, CUBES, DAY, HOUR, MINUTE, Marks, in_blocks, segments
from protocol.usage import UsageRecord
from registry.store.database import Database
from tests.control.running import START_MS, FakeClock
from tests.control.test_usage import lines, record

START = START_MS // 60_000
ADMIN = Reach()
KEEP_ALL = Retention(10_000, 10_000, 10_000)


class Installation:
    """The stores of usage over one database, and every record that was taken in."""

    def __init__(self, database: Database, retention: Retention = KEEP_ALL) -> None:
        self.clock = FakeClock()
        self.database = database
        self.store = UsageStore(database, self.clock)
        self.tiers = UsageTiers(database, self.clock, retention)
        self.reports = UsageReports(database)
        self.records: list[UsageRecord] = []

    def take_in(self, records: list[UsageRecord]) -> None:
        body = lines(records)
        segment = f"s{len(self.records)}"
        assert self.store.ingest("g", segment, 0, body).next == len(body)
        self.records += records

    def sums(self) -> dict[str, int]:
        """Requests in each tier, completed by the minutes that it does not hold yet."""
        with self.database.read() as connection:
            folded = read_marks(connection).get("folded", 0)

            def total(table: sa.Table, *where: sa.ColumnElement[bool]) -> int:
                query = sa.select(sa.func.coalesce(sa.func.sum(table.c.requests), 0))
                return int(connection.execute(query.where(*where)).scalar_one())

            rest = total(usage_minutes, usage_minutes.c.minute >= folded)
            found = {"minutes": total(usage_minutes)}
            found["hours"] = total(usage_hours) + rest
            found["days"] = total(usage_days) + rest
            for grain in BLOCKS:
                of_grain = usage_blocks.c.grain == grain
                found[f"blocks of {grain}"] = total(usage_blocks, of_grain) + rest
            summary = usage_summaries.c
            for cube in CUBES:
                for grain in cube.grains:
                    of_cube = (summary.cube == cube.name, summary.grain == grain)
                    found[f"{cube.name} {grain}"] = total(usage_summaries, *of_cube) + rest
        return found


def some_records(dice: random.Random, count: int, span_minutes: int) -> list[UsageRecord]:
    return [
        record(
            60 * dice.randrange(span_minutes),
            application=dice.choice(["shop", "desk"]),
            model=dice.choice(["risk", "churn"]),
            status=dice.choice([200, 400, 503]),
            total_us=dice.randrange(100_000),
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("seed", range(2))
def test_every_tier_adds_up_to_every_request_whatever_is_late(
    database: Database, seed: int
) -> None:
    dice = random.Random(seed)
    installation = Installation(database)
    for _ in range(6):
        installation.take_in(some_records(dice, 25, 3000))
        installation.clock.advance(60 * dice.randrange(1500))
        if dice.random() < 0.7:
            installation.tiers.fold()
        assert set(installation.sums().values()) == {len(installation.records)}


def test_folding_again_changes_nothing(database: Database) -> None:
    installation = Installation(database)
    installation.take_in(some_records(random.Random(1), 40, 500))
    installation.clock.advance(86_400)
    assert installation.tiers.fold() > 0
    assert installation.tiers.fold() == 0
    assert set(installation.sums().values()) == {40}


def expected(
    records: list[UsageRecord], query: UsageQuery, keep: Callable[[UsageRecord], bool]
) -> Counter[tuple[object, ...]]:
    counts: Counter[tuple[object, ...]] = Counter()
    for one in records:
        minute = one.at_ms // 60_000
        if query.start <= minute < query.end and keep(one):
            step = query.step_minutes
            time = minute // step * step if step else 0
            counts[time, *(getattr(one, name) for name in query.by)] += 1
    return counts


def test_who_reaches_a_part_reads_of_one_model_or_application_what_is_theirs(
    database: Database,
) -> None:
    with database.write() as connection:
        stamps = {"created_ms": 0, "updated_ms": 0}
        for name in ("mine", "other"):
            connection.execute(sa.insert(consumers).values(name=name, title="", **stamps))
        for name, consumer in (("shop", "mine"), ("desk", "other")):
            values = {"name": name, "consumer": consumer, "title": "", **stamps}
            connection.execute(sa.insert(applications).values(values))
    installation = Installation(database)
    installation.take_in(some_records(random.Random(5), 80, 3 * DAY))
    installation.clock.advance(60 * 4 * DAY)
    installation.tiers.fold()
    both = Reach("mine", frozenset({"risk"}))
    for only in ({"model": "risk"}, {"model": "churn"}, {"application": "shop"}, {}):
        for step in (None, "hour"):
            query = UsageQuery(START, START + 3 * DAY, ("version",), step, only)  # type: ignore[arg-type]
            for reach in (both, Reach("mine", frozenset()), Reach("", frozenset({"risk"}))):
                seen = sum(
                    one.requests for one in installation.reports.page(reach, query, 1000).items
                )
                assert seen == sum(
                    all(getattr(one, name) == value for name, value in only.items())
                    and (
                        (one.application == "shop" and reach.consumer == "mine")
                        or (reach.models is not None and one.model in reach.models)
                    )
                    for one in installation.records
                ), (only, reach)


@pytest.mark.parametrize("seed", range(2))
def test_a_report_over_any_range_is_the_sum_of_the_records_in_it(
    database: Database, seed: int
) -> None:
    dice = random.Random(seed)
    installation = Installation(database)
    installation.take_in(some_records(dice, 120, 4 * DAY))
    installation.clock.advance(60 * 3 * DAY)
    installation.tiers.fold()
    installation.take_in(some_records(dice, 40, 4 * DAY))
    for _ in range(12):
        first, end = sorted(START + dice.randrange(-100, 4 * DAY + 100) for _ in range(2))
        by = tuple(
            name for name in ("application", "key", "model", "status") if dice.random() < 0.5
        )
        step = dice.choice([None, "minute", "hour", "day"])
        only = dice.choice([{}, {"model": "risk"}, {"status": 200}, {"application": "desk"}])
        query = UsageQuery(first, end, by, step, only)
        wanted = expected(
            installation.records,
            query,
            lambda one, only=only: all(getattr(one, n) == v for n, v in only.items()),
        )
        found: Counter[tuple[object, ...]] = Counter()
        with_time = []
        for item in installation.reports.items(ADMIN, query):
            place = tuple(getattr(item, name) for name in by)
            found[place] += item.requests
            with_time.append((item.time or "", place))
        ignoring_time: Counter[tuple[object, ...]] = Counter()
        for key, count in wanted.items():
            ignoring_time[key[1:]] += count
        assert found == ignoring_time, query
        assert len(with_time) == len(wanted), query
        assert with_time == sorted(with_time)


def test_pages_of_any_size_are_the_report_whole(database: Database) -> None:
    dice = random.Random(7)
    installation = Installation(database)
    installation.take_in(some_records(dice, 60, 2 * DAY))
    for step in (None, "minute", "day"):
        query = UsageQuery(START, START + 2 * DAY, ("application", "status"), step, {})
        whole = list(installation.reports.items(ADMIN, query))
        pages, more = [], query
        while True:
            page = installation.reports.page(ADMIN, more, 3)
            assert len(page.items) <= 3
            pages += page.items
            if page.next is None:
                break
            more = continued(query, page.next)
        assert pages == whole


def test_what_is_kept_no_longer_is_told_by_the_coarser_tier(database: Database) -> None:
    installation = Installation(database, Retention(2, 5, 200))
    installation.take_in([record(n * 3600) for n in range(24 * 10)])
    installation.clock.advance(86_400 * 10)
    installation.tiers.fold()

    assert installation.tiers.retain() > 0
    with database.read() as connection:
        kept = [
            connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for table in (usage_minutes, usage_hours, usage_days)
        ]
    everything = UsageQuery(START - 5, START + 10 * DAY + 5, (), None, {})
    page = installation.reports.page(ADMIN, everything, 10)
    assert page.items[0].requests == 240
    assert page.resolution == "day"
    recent = UsageQuery(START + 9 * DAY, START + 10 * DAY, (), "minute", {})
    assert installation.reports.page(ADMIN, recent, 10).resolution == "minute"
    assert kept[0] < kept[1] < 240
    assert kept[2] == 11
    # Late usage of a time whose minutes are gone is counted where it still can be told.
    installation.take_in([record(30)])
    assert installation.reports.page(ADMIN, everything, 10).items[0].requests == 241


def test_removing_goes_on_in_small_transactions(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control.store.usage_tiers.REMOVED_ROWS", 7)
    installation = Installation(database, Retention(1, 1, 62))
    installation.take_in([record(60 * n) for n in range(100)])
    installation.clock.advance(86_400 * 3)
    installation.tiers.fold()
    installation.tiers.retain()
    with database.read() as connection:
        assert connection.execute(sa.select(usage_minutes)).all() == []


def test_nothing_is_removed_that_is_not_folded_yet(database: Database) -> None:
    installation = Installation(database, Retention(1, 1, 62))
    installation.take_in([record(60 * n) for n in range(30)])
    installation.clock.advance(86_400 * 30)
    installation.tiers.retain()
    assert installation.sums()["minutes"] == 30


spans = st.integers(min_value=0, max_value=6 * DAY)


@given(spans, spans, st.sampled_from([0, MINUTE, HOUR, DAY]), st.integers(0, 600))
def test_segments_hold_every_minute_once_and_none_is_longer_than_the_step(
    first: int, second: int, step: int, folded: int
) -> None:
    start, end = sorted((first, second))
    found = segments(start, end, step, Marks(folded=folded * 10))
    position = start
    for one in found:
        assert one.start == position
        assert one.end > one.start
        assert one.start % one.grain == one.end % one.grain == 0
        assert one.grain <= (step or DAY)
        assert one.grain == MINUTE or one.end <= folded * 10
        position = one.end
    assert position == max(start, end) or start == end


@given(spans, spans, st.integers(0, 5), st.integers(0, 5))
def test_where_a_tier_is_gone_the_ends_are_widened_and_nothing_is_counted_twice(
    first: int, second: int, hours: int, more: int
) -> None:
    start, end = sorted((first, second))
    marks = Marks(6 * DAY, minutes=(hours + more) * DAY, hours=hours * DAY)
    found = segments(start, end, 0, marks)
    for earlier, later in pairwise(found):
        assert earlier.end == later.start
    for one in found:
        assert one.grain >= marks.grain_at(one.start)
    if found:
        assert found[0].start <= start
        assert found[-1].end >= end
        assert found[-1].end - end < DAY


long_spans = st.integers(min_value=0, max_value=900 * DAY)


@given(long_spans, long_spans, st.integers(0, 90_000), st.integers(0, 40), st.integers(0, 40))
def test_in_blocks_every_minute_is_there_once_and_long_ranges_have_few_parts(
    first: int, second: int, folded: int, hours: int, days: int
) -> None:
    start, end = sorted((first, second))
    marks = Marks(900 * DAY - folded * 10, (hours + days) * DAY, (hours + days) * DAY, days * DAY)
    plain = segments(start, end, 0, marks)
    found = in_blocks(plain, marks)
    assert [one.start for one in found[:1]] == [one.start for one in plain[:1]]
    assert [one.end for one in found[-1:]] == [one.end for one in plain[-1:]]
    for earlier, later in pairwise(found):
        assert earlier.end == later.start
    spans = Counter(dict.fromkeys((DAY, *BLOCKS), 0))
    for one in found:
        assert one.start % one.grain == one.end % one.grain == 0
        if one.grain in BLOCKS:
            assert one.folded
            assert one.end <= marks.folded
            assert one.start >= marks.days
        if one.folded and one.start >= marks.days:
            spans[one.grain] += (one.end - one.start) // one.grain
    assert spans[DAY] <= 12
    assert all(spans[grain] <= 6 for grain in BLOCKS[:-1])


def test_a_report_over_a_long_range_is_the_sum_of_its_records_page_by_page(
    database: Database,
) -> None:
    dice = random.Random(5)
    installation = Installation(database)
    installation.take_in(some_records(dice, 150, 250 * DAY))
    installation.clock.advance(60 * 252 * DAY)
    installation.tiers.fold()
    installation.take_in(some_records(dice, 30, 250 * DAY))
    for _ in range(4):
        first, end = sorted(START + dice.randrange(250 * DAY) for _ in range(2))
        query = UsageQuery(first, end, ("application", "key", "model", "status"), None, {})
        wanted = expected(installation.records, query, lambda _: True)
        found: Counter[tuple[object, ...]] = Counter()
        order = []
        more: UsageQuery | None = query
        while more is not None:
            page = installation.reports.page(ADMIN, more, 2)
            for item in page.items:
                order.append((item.application, item.key, item.model, item.status))
                found[0, *order[-1]] += item.requests
            more = continued(query, page.next) if page.next is not None else None
        assert found == wanted
        assert order == sorted(set(order), key=lambda place: tuple(map(str, place)))


def test_blocks_that_begin_before_the_oldest_day_that_is_kept_tell_nothing(
    database: Database,
) -> None:
    installation = Installation(database, Retention(1, 1, 62))
    installation.take_in([record(n * 86_400) for n in range(100)])
    installation.clock.advance(86_400 * 101)
    installation.tiers.fold()
    installation.tiers.retain()
    for by in ((), ("application",), ("application", "key")):
        query = UsageQuery(START - DAY, START + 102 * DAY, by, None, {})
        assert installation.reports.page(ADMIN, query, 10).items[0].requests == 61
    with database.read() as connection:
        ends = connection.execute(
            sa.select(usage_blocks.c.minute + usage_blocks.c.grain).order_by(sa.literal(1))
        ).scalars()
        assert min(ends) > START + 38 * DAY


def test_marks_move_on_both_databases(database: Database) -> None:
    with database.write() as connection:
        set_mark(connection, database, "folded", 5)
        set_mark(connection, database, "folded", 9)
    with database.read() as connection:
        assert read_marks(connection) == {"folded": 9}
