"""Who calls a version is what its records add up to, page by page, however usage is kept."""

import random
from collections import Counter

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from control.caller_pages import Looked, Place, asked, cursor
from control.store.callers import NOBODY_CALLED, Caller, Callers, Traffic
from control.store.usage_rollups import read_marks
from control.store.usage_sources import by_code, to_marks
from control.store.usage_tables import usage_blocks
from control.store.usage_tiers import Retention
from control.usage_tiers import DAY, Marks, floor
from protocol.errors import Code, TollwayError
from protocol.usage import UsageRecord
from registry.store.database import Database
from tests.control.running import START_MS
from tests.control.test_usage import record
from tests.control.test_usage_tiers import KEEP_ALL, Installation

MINUTE_MS = 60_000
APPLICATIONS = ("", "a-b", "ab", "B", "Z9", "shop", "shop-2", "sh_op", "desk")
"""In an order that languages and code points do not agree on."""


def some_calls(dice: random.Random, count: int, first_day: int, last_day: int) -> list[UsageRecord]:
    """Calls within days, half of them of the last two; some applications call rarely."""
    return [
        record(
            60 * dice.randrange(first_day * DAY if n % 2 else (last_day - 2) * DAY, last_day * DAY),
            application=dice.choice(APPLICATIONS[: dice.randrange(1, len(APPLICATIONS) + 1)]),
            key=dice.choice(["k1", "k2"]),
            model=dice.choice(["risk", "risk", "churn"]),
            version=dice.choice([1, 1, 2]),
            variant=dice.choice(["stable", "canary", "pinned"]),
            status=dice.choice([200, 410]),
            rows=dice.randrange(5),
            infer_us=dice.randrange(10_000),
        )
        for n in range(count)
    ]


def within(one: UsageRecord, looked: Looked, marks: Marks) -> bool:
    start = floor(looked.start, marks.grain_at(looked.start))
    return start <= one.at_ms // MINUTE_MS < looked.end and one.application != ""


def last_call(records: list[UsageRecord], marks: Marks) -> int:
    minute = max(one.at_ms // MINUTE_MS for one in records)
    return floor(minute, marks.grain_at(minute)) * MINUTE_MS


def summed(records: list[UsageRecord], version: int, looked: Looked, marks: Marks) -> list[Caller]:
    """The callers by the records themselves, one after another."""
    found: dict[str, list[UsageRecord]] = {}
    for one in records:
        if (one.model, one.version) == ("risk", version) and within(one, looked, marks):
            found.setdefault(one.application, []).append(one)
    made = []
    for name, calls in found.items():
        ages = [looked.minute // DAY - one.at_ms // MINUTE_MS // DAY for one in calls]
        first = min(
            one.at_ms // MINUTE_MS
            for one in records
            if (one.model, one.version, one.application) == ("risk", version, name)
        )
        made.append(
            Caller(
                application=name,
                requests=len(calls),
                errors=sum(one.status >= 400 for one in calls),
                rows=sum(one.rows for one in calls),
                variants=dict(Counter(one.variant for one in calls)),
                last_week=sum(age < 7 for age in ages),
                week_before=sum(7 <= age < 14 for age in ages),
                first_ms=(floor(first, DAY) if first < marks.folded else first) * MINUTE_MS,
                last_ms=last_call(calls, marks),
            )
        )
    return sorted(made, key=lambda one: (-one.requests, one.application))


def weighed(records: list[UsageRecord], version: int, looked: Looked, marks: Marks) -> Traffic:
    calls = [
        one
        for one in records
        if (one.model, one.version) == ("risk", version) and within(one, looked, marks)
    ]
    if not calls:
        return NOBODY_CALLED
    return Traffic(
        requests=len(calls),
        errors=sum(one.status >= 400 for one in calls),
        callers=len({one.application for one in calls}),
        compute_ms=sum(one.infer_us for one in calls) / 1000,
        last_ms=last_call(calls, marks),
    )


def in_pages(callers: Callers, version: int, looked: Looked, limit: int) -> list[Caller]:
    """All of them, so many at a time."""
    found: list[Caller] = []
    after: Place | None = None
    while True:
        page = callers.page("risk", version, looked, limit, after)
        found += page.callers
        assert len(page.callers) == limit or not page.more
        if not page.more:
            assert page.applications == len(found)
            assert page.requests == sum(one.requests for one in found)
            return found
        after = page.callers[-1].place


@pytest.mark.parametrize(
    ("seed", "retention"), [(1, KEEP_ALL), (2, KEEP_ALL), (3, Retention(3, 20, 10_000))]
)
def test_callers_and_traffic_are_what_the_records_add_up_to(
    database: Database, seed: int, retention: Retention
) -> None:
    dice = random.Random(seed)
    installation = Installation(database, retention)
    callers = Callers(database)
    installation.take_in(some_calls(dice, 150, 0, 150))
    installation.clock.now_ms = START_MS + 150 * DAY * MINUTE_MS
    installation.tiers.fold()
    installation.tiers.retain()
    installation.clock.advance(dice.randrange(86_400))
    installation.take_in(some_calls(dice, 40, 149, 151))
    with database.read() as connection:
        marks = to_marks(read_marks(connection))
    assert marks.folded > marks.minutes
    for days in dice.sample((1, 7, 13, 30, 90, 160), 3):
        looked = Looked.back(days, installation.clock())
        traffic = callers.traffic("risk", looked)
        for version in (1, 2, 3):
            assert traffic.get(version, NOBODY_CALLED) == weighed(
                installation.records, version, looked, marks
            )
        expected = summed(installation.records, 1, looked, marks)
        assert in_pages(callers, 1, looked, dice.randrange(3, 6)) == expected
        assert list(callers.every("risk", 1, looked)) == expected


def test_postgresql_is_told_to_sort_callers_by_code_points() -> None:
    dialect = sa.make_url("postgresql+psycopg://").get_dialect()()
    said = by_code(dialect, usage_blocks.c.application)
    assert str(said.compile(dialect=dialect)) == ('usage_blocks.application COLLATE "C"')


def test_pages_stay_on_the_time_that_the_first_looked_at(database: Database) -> None:
    installation = Installation(database)
    callers = Callers(database)
    names = ("a", "b", "c")
    installation.take_in([record(application=name) for name in names])
    looked, nowhere = asked(30, "", installation.clock())
    first = callers.page("risk", 1, looked, 1, nowhere)
    following = cursor(looked, first.callers[-1].place)

    installation.clock.advance(86_400)
    late = [record(number, application="c", at_ms=installation.clock()) for number in (7, 8)]
    installation.take_in(late)
    rest = callers.page("risk", 1, *_page_behind(following, installation.clock()))
    anew = callers.page("risk", 1, Looked.back(30, installation.clock()), 9, None)

    assert [one.application for one in (*first.callers, *rest.callers)] == list(names)
    assert [one.application for one in anew.callers] == ["c", "a", "b"]


def _page_behind(following: str, now_ms: int) -> tuple[Looked, int, Place | None]:
    looked, after = asked(30, following, now_ms)
    return looked, 9, after


@given(
    st.integers(1, 366),
    st.integers(0, 4 * START_MS // MINUTE_MS),
    st.integers(0, (1 << 63) - 1),
    st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=63),
)
def test_a_cursor_says_what_it_was_made_of(
    days: int, minute: int, requests: int, application: str
) -> None:
    looked, place = Looked(days, minute), Place(requests, application)
    assert asked(days, cursor(looked, place), 0) == (looked, place)


@pytest.mark.parametrize(
    "after",
    [
        "x",
        "no cursor!",
        cursor(Looked(29, 1), Place(1, "a")),
        cursor(Looked(30, -1), Place(1, "a")),
        cursor(Looked(30, 1 << 60), Place(1, "a")),
        cursor(Looked(30, 1), Place(-1, "a")),
        cursor(Looked(30, 1), Place((1 << 64) - 1, "a")),
        cursor(Looked(30, 1), Place(1, "a\0")),
        cursor(Looked(30, 1), Place(1, "a\n\0")),
        cursor(Looked(30, 1), Place(1, "a" * 64)),
    ],
)
def test_what_is_no_cursor_of_the_report_is_refused(after: str) -> None:
    with pytest.raises(TollwayError, match=r"query\.after") as refused:
        asked(30, after, START_MS)
    assert refused.value.code is Code.INVALID
