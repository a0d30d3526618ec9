"""Columns of latency: each request is in one of them, whatever the range."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from control import histogram
from control.latency_report import EDGES_MS, MAX_COLUMNS, WIDTHS, cut, reading, report
from control.usage_report import Sums, UsageQuery
from protocol.errors import TollwayError


@given(
    st.integers(0, 30_000_000),
    st.integers(0, 200_000),
    st.integers(2, MAX_COLUMNS),
    st.sampled_from([1, 5, 60, 1440]),
)
def test_columns_cover_the_range_and_are_as_few_as_asked_for(
    start: int, length: int, columns: int, grain: int
) -> None:
    assume(length <= WIDTHS[-1] * (columns - 1))
    span = cut(start, start + length, columns, grain)
    count = len(range(span.start, max(span.end, 1), span.width))
    assert span.start <= start
    assert count <= columns
    assert span.width >= grain
    assert span.width % reading(UsageQuery(0, 0, (), None, {}), span).step_minutes == 0


def test_a_range_of_ages_is_refused() -> None:
    with pytest.raises(TollwayError, match="too long"):
        cut(0, 2_000_000_000, 10, 1)


@given(st.lists(st.tuples(st.integers(0, 599), st.integers(0, 40_000_000)), max_size=60))
def test_every_request_is_in_one_column_and_one_bucket(found: list[tuple[int, int]]) -> None:
    span = cut(0, 600, 30, 1)
    groups = [
        ((minute, ()), Sums([1, 1, 0, 0, 0, 0, 0], [histogram.encode(histogram.of([micros]))]))
        for minute, micros in found
    ]
    columns = report(span, groups).items
    assert sum(sum(one.counts) for one in columns) == len(found)
    assert sum(one.requests for one in columns) == len(found)
    for at, column in enumerate(columns):
        inside = [m for minute, m in found if minute // span.width == at]
        assert sum(column.counts) == column.requests == len(inside)
        for micros in inside:
            # A bucket of the stored histogram is at most 1.6 % off.
            near = [micros / 1000 * (1 - 1 / 32), micros / 1000 * (1 + 1 / 32)]
            places = [
                next((i for i, e in enumerate(EDGES_MS) if v <= e), len(EDGES_MS)) for v in near
            ]
            assert any(column.counts[places[0] : places[1] + 1])
