"""What is decided about a guarded canary, from counts alone."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control.rollouts.decide import Decision, decide
from control.rollouts.evidence import take, verdict
from control.rollouts.progress import Compared, Progress, RunState, Seen, Tally
from registry.canary_plan import CanaryGuard, CanaryPlan, CanaryStep

STEPS = (
    CanaryStep(permille=50, min_duration_s=60, min_requests=100),
    CanaryStep(permille=500, min_duration_s=60, min_requests=100),
)
PLAN = CanaryPlan(steps=STEPS)
COMPARING = CanaryPlan(steps=STEPS, guard=CanaryGuard(max_disagreement=0.01, max_score_shift=0.05))
WATCHED = Progress(watched_ms=60_000)


def tally(requests: int, errors: int = 0, slow: int = 0) -> Tally:
    return Tally(requests=requests, errors=errors, timed=requests, over_p99=slow, over_limit=slow)


def decided(
    seen: Seen,
    *,
    plan: CanaryPlan = PLAN,
    progress: Progress = WATCHED,
    state: RunState = "running",
) -> Decision:
    after = take(progress, plan, seen)
    return decide(state, after, plan, verdict(after, plan))


def plan(**guard: float | None) -> CanaryPlan:
    return CanaryPlan(steps=STEPS, guard=CanaryGuard(**guard))  # type: ignore[arg-type]


GOOD = Seen(canary=tally(200, 2), stable=tally(4000, 40))


def test_a_step_that_was_seen_long_enough_advances() -> None:
    assert decided(GOOD).action == "advance"


def test_a_step_waits_for_its_requests_and_for_its_time() -> None:
    few = Seen(canary=tally(99), stable=tally(2000))
    assert decided(few).code == "requests"
    early = decided(GOOD, progress=Progress(watched_ms=59_001))
    assert (early.code, early.reason) == ("duration", "1 s more of 60 s")


def test_only_the_requests_of_the_step_count_for_it() -> None:
    second = msgspec.structs.replace(WATCHED, step=1, step_from=150)
    assert decided(GOOD, progress=second).code == "requests"


def test_a_canary_without_traffic_is_held_for_that_reason() -> None:
    assert decided(Seen(stable=tally(5000))).code == "no_traffic"


def test_the_last_step_is_followed_by_promotion_where_the_plan_says_so() -> None:
    last = msgspec.structs.replace(WATCHED, step=1)
    assert decided(GOOD, progress=last).action == "complete"
    promoting = msgspec.structs.replace(PLAN, promote=True)
    assert decided(GOOD, progress=last, plan=promoting).action == "promote"


@pytest.mark.parametrize("state", ["running", "paused", "completed"])
def test_evidence_of_harm_rolls_back_whatever_the_state(state: RunState) -> None:
    bad = Seen(canary=tally(200, 60), stable=tally(4000, 40))
    found = decided(bad, state=state)
    assert (found.action, found.code) == ("roll_back", "error_rate")
    assert "0.3" in found.reason
    assert "0.01" in found.reason


def test_a_paused_canary_does_not_advance_and_a_completed_one_stays() -> None:
    assert decided(GOOD, state="paused").code == "paused"
    assert decided(GOOD, state="completed").code == "completed"


def test_nothing_is_rolled_back_before_the_guard_has_seen_its_requests() -> None:
    broken = Seen(canary=tally(19, 19), stable=tally(400))
    assert decided(broken).code == "few_requests"
    assert decided(broken, plan=plan(min_requests=19)).action == "roll_back"


def test_evidence_on_its_way_holds_a_step_that_would_be_done() -> None:
    doubtful = Seen(canary=tally(200, 9), stable=tally(4000, 40))
    assert decided(doubtful).code == "evidence"


@pytest.mark.parametrize(
    ("limits", "seen"),
    [
        ({"p99_ratio": 1.5}, Seen(canary=tally(200, slow=40), stable=tally(4000, slow=30))),
        ({"max_p99_ms": 20}, Seen(canary=tally(200, slow=40), stable=tally(4000))),
    ],
)
def test_answers_that_are_too_slow_roll_back(limits: dict[str, float], seen: Seen) -> None:
    guard = {"max_error_rate_increase": None, "p99_ratio": None} | limits
    found = decided(seen, plan=plan(**guard))
    assert found.action == "roll_back"
    assert found.code in ("p99_ratio", "p99_ms")


def test_answers_that_differ_and_scores_that_shift_roll_back() -> None:
    same = tally(200), tally(4000)
    flips = Compared(requests=400, labelled_requests=400, flip_shares=30)
    differing = Seen(canary=same[0], stable=same[1], compared=flips)
    assert decided(differing, plan=COMPARING).code == "disagreement"
    shifts = Compared(
        requests=4000, measured_requests=4000, request_shifts=-800, request_shift_squares=200
    )
    moved = Seen(canary=same[0], stable=same[1], compared=shifts)
    assert decided(moved, plan=COMPARING).code == "score_shift"


def test_what_is_told_of_comparisons_is_the_mean_over_requests() -> None:
    compared = Compared(
        requests=100,
        labelled_requests=80,
        flip_shares=0.4,
        measured_requests=50,
        request_shifts=-1.0,
        request_shift_squares=0.1,
    )
    after = take(WATCHED, COMPARING, msgspec.structs.replace(GOOD, compared=compared))
    tests = {one.test: (one.canary, one.requests) for one in verdict(after, COMPARING).tests}
    assert tests["disagreement"] == (0.005, 80)
    assert tests["score_shift"] == (-0.02, 50)


def test_a_guard_that_compares_waits_for_comparisons() -> None:
    assert decided(GOOD, plan=COMPARING).code == "comparisons"
    compared = Compared(
        requests=100,
        labelled_requests=100,
        measured_requests=100,
        request_shifts=0.1,
        request_shift_squares=0.01,
    )
    enough = msgspec.structs.replace(GOOD, compared=compared)
    assert decided(enough, plan=COMPARING).action == "advance"


def test_a_guard_does_not_take_comparisons_for_what_they_do_not_hold() -> None:
    """A regressor has no classes: a guard that counts other classes would never see any."""
    for missing, code in (("labelled_requests", "classes"), ("measured_requests", "scores")):
        all_but_one = {"requests": 100, "labelled_requests": 100, "measured_requests": 100}
        compared = Compared(**all_but_one | {missing: 0})
        held = decided(msgspec.structs.replace(GOOD, compared=compared), plan=COMPARING)
        assert (held.action, held.code) == ("hold", code)


def test_at_the_whole_traffic_the_canary_is_held_against_what_stable_was() -> None:
    whole = CanaryPlan(steps=(STEPS[0], CanaryStep(permille=1000)))
    before = take(WATCHED, whole, Seen(canary=tally(500, 5), stable=tally(9500, 95)))
    last = msgspec.structs.replace(before, step=1, step_from=500)
    good = Seen(canary=tally(10_500, 105), stable=tally(9500, 95))
    assert decided(good, plan=whole, progress=last).action == "complete"
    bad = Seen(canary=tally(2500, 105), stable=tally(9500, 95))
    assert decided(bad, plan=whole, progress=last).action == "roll_back"


def test_what_comes_before_both_versions_have_answered_waits_for_its_batch() -> None:
    alone = take(WATCHED, PLAN, Seen(canary=tally(50, 50)))
    assert alone.taken == Seen()
    both = take(alone, PLAN, Seen(canary=tally(50, 50), stable=tally(1)))
    assert both.taken.canary.requests == 50


def test_looks_without_new_counts_change_nothing() -> None:
    once = take(WATCHED, PLAN, GOOD)
    assert take(once, PLAN, GOOD) == once


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 400), min_size=1, max_size=10), st.integers(0, 5))
def test_versions_that_do_the_same_are_never_rolled_back(requests: list[int], errors: int) -> None:
    progress, canary, stable = WATCHED, Tally(), Tally()
    for count in requests:
        more = tally(count, min(errors, count))
        canary = Tally(**{f: getattr(canary, f) + getattr(more, f) for f in FIELDS})
        stable = canary
        progress = take(progress, PLAN, Seen(canary=canary, stable=stable))
        assert not verdict(progress, PLAN).doubtful


FIELDS = Tally.__struct_fields__


def test_progress_survives_its_way_through_the_database() -> None:
    after = take(WATCHED, COMPARING, msgspec.structs.replace(GOOD, compared=Compared(requests=3)))
    assert msgspec.json.decode(msgspec.json.encode(after), type=Progress) == after
