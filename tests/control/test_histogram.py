"""The histogram's two promises: merging is union, and quantiles have a bounded error."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from control import histogram

durations = st.lists(st.integers(min_value=0, max_value=2**50), max_size=200)


@given(durations, durations)
def test_merging_gives_the_histogram_of_the_union(left: list[int], right: list[int]) -> None:
    merged = histogram.of(left)
    histogram.merge(merged, histogram.of(right))

    assert merged == histogram.of(left + right)


@given(st.integers(min_value=0, max_value=2**60))
def test_every_value_lies_within_the_bounds_of_its_bucket(value: int) -> None:
    low, high = histogram.bounds(histogram.bucket(value))

    assert low <= value <= high
    assert (high - low) <= max(0, low) / histogram.PARTS


@given(st.integers(min_value=0, max_value=2**60))
def test_buckets_leave_no_gap_and_do_not_overlap(value: int) -> None:
    index = histogram.bucket(value)

    assert histogram.bounds(index)[1] + 1 == histogram.bounds(index + 1)[0]


@given(
    durations.filter(bool),
    st.floats(min_value=0.0, max_value=1.0, allow_nan=False),
)
def test_a_quantile_is_as_near_as_documented(values: list[int], share: float) -> None:
    exact = sorted(values)[max(1, math.ceil(share * len(values))) - 1]

    answered = histogram.quantile(histogram.of(values), share)

    assert answered is not None
    assert abs(answered - exact) <= histogram.RELATIVE_ERROR * exact


@given(durations)
def test_encoding_and_decoding_is_the_identity(values: list[int]) -> None:
    one = histogram.of(values)

    assert histogram.decode(histogram.encode(one)) == one


@settings(deadline=None)  # the first example loads NumPy
@given(durations, durations, st.integers(min_value=1, max_value=500))
def test_stored_histograms_merge_by_standing_one_behind_the_other(
    left: list[int], right: list[int], times: int
) -> None:
    """Few of them and many: the two ways to add them up agree."""
    stored = histogram.encode(histogram.of(left)) + histogram.encode(histogram.of(right))
    merged = {index: count * times for index, count in histogram.of(left + right).items()}

    shares = (0.0, 0.5, 0.99, 1.0)
    alone = histogram.of(left)
    found = histogram.quantiles([stored * times, b"", histogram.encode(alone)], shares)
    assert found == [
        [histogram.quantile(one, share) for share in shares] for one in (merged, {}, alone)
    ]


def test_a_count_that_an_entry_cannot_hold_is_kept() -> None:
    huge = {7: 2**34 + 5, 9: 1}

    assert histogram.decode(histogram.encode(huge)) == huge


def test_an_empty_histogram_has_no_quantile() -> None:
    assert histogram.quantile({}, 0.5) is None
