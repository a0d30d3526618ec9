"""The trace of a canary's evidence: bounded, and true to its shape."""

from hypothesis import given
from hypothesis import strategies as st

from control.rollouts import evidence
from control.rollouts.callers import canary_from
from control.rollouts.progress import Progress, Seen, Tally
from control.rollouts.trace import MAX_POINTS, traced
from protocol.buckets import bucket


def look(progress: Progress, requests: int, e_value: float, step: int = 0) -> Progress:
    """The progress after a look at so many requests."""
    report = evidence.TestReport(
        test="error_rate",
        e_value=e_value,
        threshold=100,
        allowed=0,
        canary=0,
        stable=0,
        requests=requests,
    )
    verdict = evidence.Verdict(e_value=e_value, threshold=100, tests=(report,))
    seen = Seen(canary=Tally(requests=requests))
    return traced(Progress(step=step, taken=seen, trace=progress.trace), verdict)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=600))
def test_however_long_a_run_is_its_trace_is_bounded_and_ends_now(grown: list[int]) -> None:
    progress, requests = Progress(), 0
    for by in grown:
        requests += by
        progress = look(progress, requests, 1.0)
    points = progress.trace
    assert len(points) <= MAX_POINTS
    assert points[-1].requests == requests
    assert [one.requests for one in points] == sorted({one.requests for one in points})


def test_a_peak_is_never_thinned_away() -> None:
    progress = Progress()
    for at in range(1, 3000):
        progress = look(progress, at * 7, 90.0 if at == 1234 else 1.0)
    assert max(point.e_value for point in progress.trace) == 90.0


def test_a_look_without_new_requests_moves_the_last_point() -> None:
    progress = look(look(Progress(), 10, 1.0), 10, 2.0)
    assert [(point.requests, point.e_value) for point in progress.trace] == [(10, 2.0)]


def test_a_canary_answers_an_application_from_the_share_that_is_told() -> None:
    for name in ("shop", "desk", "till"):
        permille = round(canary_from("credit", name) * 10)
        assert bucket("credit", name) < permille
        assert bucket("credit", name) >= permille - 1
