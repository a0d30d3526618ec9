"""Rates of engines, for control."""

from hypothesis import given
from hypothesis import strategies as st

from protocol.frames import EngineStats
from serving.figures import rates


def test_rates_are_differences_by_the_second() -> None:
    before = EngineStats(success_count=10, inference_count=20, run_ns=10**9)
    after = EngineStats(success_count=60, inference_count=220, run_ns=3 * 10**9)
    assert rates(before, after, 5.0) == {"requests_per_s": 10.0, "rows_per_s": 40.0, "busy": 0.4}


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.floats(-1, 1e6, allow_nan=False))
def test_rates_are_never_negative_and_never_busier_than_always(
    earlier: int, later: int, seconds: float
) -> None:
    found = rates(EngineStats(run_ns=earlier), EngineStats(run_ns=later), seconds)
    assert all(value >= 0 for value in found.values())
    assert found.get("busy", 0.0) <= 1.0
