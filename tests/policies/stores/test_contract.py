"""What both stores guarantee. Every test here runs over memory and over a real Redis."""

import asyncio
import itertools
import math
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies.limits import SECOND_US, Limits
from policies.stores.base import ADMITTED, NOTHING, Used, Verdict
from protocol.configuration import PlanDoc, QuotaDoc, RateDoc
from tests.policies.stores.conftest import NOON, ONE, SHOP, MemoryStore, Store, admitted

FAR = time.monotonic() + 10_000
"""A deadline that no test lives to see."""


def plan(
    *rates: tuple[int, int] | tuple[int, int, int],
    quota: QuotaDoc | None = None,
    concurrency: int | None = None,
    max_rows: int | None = None,
) -> Limits:
    documents = tuple(
        RateDoc(
            name=f"rate{number}",
            requests=rate[0],
            window_s=rate[1],
            burst=rate[2] if len(rate) > 2 else None,  # type: ignore[misc]
        )
        for number, rate in enumerate(rates)
    )
    return Limits(
        PlanDoc(
            name="test", rates=documents, quota=quota, concurrency=concurrency, max_rows=max_rows
        )
    )


async def take(store: Store, limits: Limits, *, charge: bool = True) -> Verdict:
    return await admitted(store.counters.take(SHOP, limits, FAR, charge))


async def call(store: Store, limits: Limits, used: Used = ONE) -> Verdict:
    """A call that is answered at once."""
    verdict = await take(store, limits)
    if verdict.refused == ADMITTED:
        store.counters.settle(verdict, used)
    return verdict


async def test_the_whole_window_may_come_at_once_and_then_nothing_until_it_has_passed(
    store: Store,
) -> None:
    limits = plan((5, 60))
    assert [(await call(store, limits)).refused for _ in range(7)] == [ADMITTED] * 5 + [0, 0]
    await store.advance(59.9)
    refused = await call(store, limits)
    assert (refused.refused, refused.retry_us) == (0, pytest.approx(100_000, abs=2))
    await store.advance(0.1)
    assert [(await call(store, limits)).refused for _ in range(6)] == [ADMITTED] * 5 + [0]


async def test_a_burst_comes_at_once_and_the_rest_at_an_even_pace(store: Store) -> None:
    limits = plan((60, 60, 3))
    assert [(await call(store, limits)).refused for _ in range(4)] == [ADMITTED] * 3 + [0]
    await store.advance(1.001)
    assert [(await call(store, limits)).refused for _ in range(2)] == [ADMITTED, 0]


async def test_no_limit_is_charged_when_one_refuses(store: Store) -> None:
    limits = plan((100, 60), (1, 1), quota=QuotaDoc(limit=50), concurrency=10)
    await call(store, limits)
    for _ in range(5):
        refused = await call(store, limits)
        assert refused.refused == 1
    assert refused.numbers == (99, 60, 0, 1, 49, refused.numbers[5], 10)


async def test_of_several_refusals_the_longest_is_told(store: Store) -> None:
    limits = plan((1, 60), (1, 3600), quota=QuotaDoc(limit=1))
    await call(store, limits)
    refused = await call(store, limits)
    assert refused.refused == 2
    assert refused.retry_us > 20 * 86_400 * SECOND_US


async def test_the_numbers_tell_what_is_left_and_when_there_is_more(store: Store) -> None:
    limits = plan((10, 60), quota=QuotaDoc(limit=1000, period="day"), concurrency=4)
    first = await take(store, limits)
    assert first.numbers == (9, 60, 999, 12 * 3600 + 1, 3)
    await store.advance(20.5)
    second = await take(store, limits)
    assert second.numbers == (8, 40, 998, 12 * 3600 - 20, 2)
    store.counters.settle(first, ONE)
    store.counters.settle(second, ONE)
    assert (await take(store, limits, charge=False)).numbers == (8, 40, 998, 12 * 3600 - 20, 4)


async def test_looking_takes_nothing(store: Store) -> None:
    limits = plan((1, 60), quota=QuotaDoc(limit=1), concurrency=1)
    for _ in range(3):
        assert (await take(store, limits, charge=False)).refused == ADMITTED
    assert (await take(store, limits)).refused == ADMITTED


async def test_no_more_calls_are_under_way_at_once_than_allowed(store: Store) -> None:
    limits = plan(concurrency=2)
    first, second = await take(store, limits), await take(store, limits)
    assert (await take(store, limits)).refused == 0
    store.counters.settle(first, NOTHING)
    third = await take(store, limits)
    assert third.refused == ADMITTED
    assert (await take(store, limits)).refused == 0
    store.counters.settle(second, ONE)
    store.counters.settle(third, ONE)
    assert (await take(store, limits)).numbers == (1,)


async def test_a_quota_begins_anew_with_its_day_and_its_month(store: Store) -> None:
    daily = plan(quota=QuotaDoc(limit=2, period="day"))
    monthly = plan(quota=QuotaDoc(limit=3))
    assert [(await call(store, daily)).refused for _ in range(3)] == [ADMITTED, ADMITTED, 0]
    refused = await call(store, daily)
    await store.advance(refused.retry_us / 1e6 + 0.001)
    assert (await call(store, daily)).refused == ADMITTED
    # Three so far this month, whatever plan it was.
    refused = await call(store, monthly)
    assert refused.refused == 0
    await store.advance(refused.retry_us / 1e6 - 1)
    assert (await call(store, monthly)).refused == 0
    await store.advance(1.001)
    assert store.now > NOON + 22 * 86_400
    assert (await call(store, monthly)).refused == ADMITTED


async def test_a_call_that_is_not_its_callers_to_pay_for_gives_its_quota_back(store: Store) -> None:
    limits = plan(quota=QuotaDoc(limit=1))
    for _ in range(3):
        assert (await call(store, limits, NOTHING)).refused == ADMITTED
    assert (await call(store, limits)).refused == ADMITTED
    assert (await call(store, limits)).refused == 0


async def test_a_row_quota_is_never_overrun_where_rows_are_bounded(store: Store) -> None:
    limits = plan(quota=QuotaDoc(limit=100, unit="rows"), max_rows=40)
    first, second = await take(store, limits), await take(store, limits)
    held = await take(store, limits)
    assert (held.refused, held.retry_us) == (0, SECOND_US)  # others hold it: soon
    store.counters.settle(first, (1, 5, 100))
    store.counters.settle(second, (1, 40, 100))
    third = await take(store, limits)
    assert third.refused == ADMITTED
    store.counters.settle(third, (1, 40, 100))
    last = await take(store, limits)
    assert last.refused == 0
    assert last.retry_us > 86_400 * SECOND_US  # 15 rows are left, and a call may need 40
    assert last.numbers[0] == 15


async def test_compute_is_counted_in_microseconds_and_shown_in_milliseconds(store: Store) -> None:
    limits = plan(quota=QuotaDoc(limit=10, unit="compute_ms", period="day"))
    await call(store, limits, (1, 1, 7_600))
    assert (await call(store, limits, (1, 1, 1_500))).numbers[0] == 1
    assert (await call(store, limits)).refused == 0


async def test_a_call_over_midnight_counts_in_the_day_of_its_answer(store: Store) -> None:
    limits = plan(quota=QuotaDoc(limit=100, unit="rows", period="day"), max_rows=60)
    await store.advance(12 * 3600 - 1)
    verdict = await take(store, limits)
    await store.advance(2)
    store.counters.settle(verdict, (1, 30, 10))
    assert (await take(store, limits, charge=False)).numbers[0] == 70


async def test_another_plan_lifts_a_throttle_at_once_and_keeps_what_was_counted(
    store: Store,
) -> None:
    small, large = plan((3, 60)), plan((10, 60))
    for _ in range(3):
        await call(store, small)
    assert (await call(store, small)).refused == 0
    upgraded = await call(store, large)
    assert (upgraded.refused, upgraded.numbers[0]) == (ADMITTED, 6)
    downgraded = await call(store, small)
    assert downgraded.refused == 0
    # Only when enough of them have left the window, not when the first has.
    await store.advance(downgraded.retry_us / 1e6)
    assert (await call(store, small)).refused == ADMITTED


async def test_other_window_lengths_in_between_do_not_empty_a_window(store: Store) -> None:
    minute, hour = plan((2, 60)), plan((100, 3600))
    for _ in range(2):
        await call(store, minute)
    await call(store, hour)
    assert (await call(store, minute)).refused == 0


async def test_subscriptions_count_apart(store: Store) -> None:
    limits = plan((1, 60))
    for subscription in itertools.product(("shop", "bank"), ("iris", "wine")):
        verdict = await admitted(store.counters.take(subscription, limits, FAR))
        assert verdict.refused == ADMITTED
        verdict = await admitted(store.counters.take(subscription, limits, FAR))
        assert verdict.refused == 0


async def test_two_rates_over_one_window_count_each_call_once(store: Store) -> None:
    limits = plan((4, 60), (2, 60))
    await call(store, limits)
    assert (await call(store, limits)).numbers == (2, 60, 0, 60)
    assert (await call(store, limits)).refused == 1


async def test_calls_of_one_tick_are_all_counted(store: Store) -> None:
    limits = plan((10, 60), concurrency=100)
    found = [store.counters.take(SHOP, limits, FAR) for _ in range(30)]
    verdicts = [await admitted(verdict) for verdict in found]
    assert sum(verdict.refused == ADMITTED for verdict in verdicts) == 10


async def test_who_waits_as_long_as_told_is_admitted(store: Store) -> None:
    limits = plan((3, 2), (7, 11, 2), quota=QuotaDoc(limit=40, period="day"))
    waits = 0
    for _ in range(60):
        verdict = await call(store, limits)
        if verdict.refused != ADMITTED:
            waits += 1
            await store.advance(math.ceil(verdict.retry_us / 1e6))
            assert (await call(store, limits)).refused == ADMITTED
        else:
            await store.advance(0.3)
    assert waits > 5


steps = st.lists(
    st.tuples(st.floats(0, 3, allow_nan=False), st.integers(1, 4)), min_size=1, max_size=40
)


@pytest.mark.parametrize(("requests", "window_s", "burst"), [(3, 2, None), (20, 5, 4), (5, 1, 2)])
@given(steps=steps)
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
async def test_no_window_ever_holds_more_than_the_limit_whatever_comes(
    store: Store, requests: int, window_s: int, burst: int | None, steps: list[tuple[float, int]]
) -> None:
    await store.advance(window_s * 3)  # what an earlier example has left
    rate = RateDoc(name="r", requests=requests, window_s=window_s, burst=burst)
    limits = Limits(PlanDoc(name="p", rates=(rate,)))
    times: list[float] = []
    for pause, calls in steps:
        if pause:
            await store.advance(pause)
        verdicts = [await call(store, limits) for _ in range(calls)]
        admissions = sum(verdict.refused == ADMITTED for verdict in verdicts)
        times += [round(store.now * 1e6)] * admissions
    for start in range(len(times) - requests):
        assert times[start + requests] - times[start] >= window_s * SECOND_US
    if burst is not None:
        interval = window_s * SECOND_US / requests
        for start in range(len(times) - burst):
            assert times[start + burst] - times[start] >= interval - 2


async def test_memory_never_waits() -> None:
    store = MemoryStore()
    assert not isinstance(store.counters.take(SHOP, plan((1, 1)), 1.0), asyncio.Future)
