"""Quantile sketches: their error is bounded, and merging is exact."""

from hypothesis import example, given
from hypothesis import strategies as st

from protocol import sketch

MAGNITUDES = st.lists(
    st.one_of(st.just(0.0), st.floats(1e-8, 1e14, allow_subnormal=False)), min_size=1, max_size=60
)
SHARES = st.floats(0, 1)


def sketch_of(values: list[float]) -> sketch.Sketch:
    found: sketch.Sketch = {}
    for value in values:
        sketch.merge(found, {sketch.bucket(value): 1})
    return found


@given(MAGNITUDES, SHARES)
def test_a_quantile_is_within_its_relative_error_of_the_exact_one(
    values: list[float], share: float
) -> None:
    exact = sorted(values)[max(1, -int(-share * len(values) // 1)) - 1]
    found = sketch.quantile(sketch_of(values), share)
    assert found is not None
    assert abs(found - exact) <= exact * (sketch.RELATIVE_ERROR + 1e-9)


@given(MAGNITUDES, MAGNITUDES)
def test_the_sketch_of_a_union_is_the_merged_sketch(one: list[float], other: list[float]) -> None:
    merged = sketch_of(one)
    sketch.merge(merged, sketch_of(other))
    assert merged == sketch_of(one + other)


def test_an_empty_sketch_has_no_quantile() -> None:
    assert sketch.quantile({}, 0.5) is None


@given(st.floats(0, allow_nan=False))
@example(float("inf"))
def test_every_magnitude_has_one_of_a_bounded_number_of_buckets(value: float) -> None:
    assert 0 <= sketch.bucket(value) <= sketch.MOST
