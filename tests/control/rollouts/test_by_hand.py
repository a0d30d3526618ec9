"""Canaries that somebody changes, pauses or ends by hand while they are guarded."""

from pathlib import Path
from typing import Any

import pytest

from registry.store.database import Database
from tests.control.rollouts.rollouts import STEPS, Guarded, told
from tests.registry.conftest import Bench, make_bench


@pytest.fixture
def bench(sqlite_database: Database, tmp_path: Path) -> Bench:
    """A registry on SQLite, for what has nothing to do with SQL."""
    return make_bench(sqlite_database, tmp_path)


def test_the_same_plan_again_goes_on_and_another_begins_anew(bench: Bench) -> None:
    guarded = Guarded(bench)
    guarded.traffic(120, 2280)
    guarded.pass_time(60)
    guarded.put(canary={"version": 2, "steps": STEPS})
    guarded.look()
    assert guarded.state.step == 2
    guarded.put(canary={"version": 2, "steps": STEPS, "promote": True})
    guarded.look()
    state = guarded.state
    assert (state.step, state.percent, state.canary.requests) == (1, 5, 0)
    assert told(guarded)[-2:] == ["ended", "started"]


def test_another_version_as_canary_ends_the_run_and_begins_its_own(bench: Bench) -> None:
    guarded = Guarded(bench)
    guarded.put(canary={"version": 3, "steps": STEPS})
    guarded.look()
    assert (guarded.state.version, guarded.state.state) == (3, "running")
    assert told(guarded) == ["started", "ended", "started"]


@pytest.mark.parametrize(
    "canary", [{"version": 2, "percent": 20.0}, None], ids=["share by hand", "ended by hand"]
)
def test_a_change_by_hand_ends_the_run(bench: Bench, canary: dict[str, Any] | None) -> None:
    guarded = Guarded(bench)
    guarded.put(canary=canary)
    present = guarded.rollout.canary
    guarded.look()
    assert guarded.state.state == "ended"
    guarded.traffic(50, 950, canary_errors=50)
    guarded.look()
    assert guarded.rollout.canary == present
    assert told(guarded) == ["started", "ended"]


def test_a_version_that_is_taken_out_of_service_meanwhile_ends_the_run(bench: Bench) -> None:
    guarded = Guarded(bench)
    guarded.put(canary=None)
    bench.registry.lifecycle.transition("credit", 2, "deprecated", actor="ann")
    bench.registry.lifecycle.transition("credit", 2, "retired", actor="ann")
    guarded.look()
    assert guarded.state.state == "ended"


def test_a_promotion_by_hand_ends_the_run_as_promoted(bench: Bench) -> None:
    guarded = Guarded(bench)
    guarded.put(stable=2)
    guarded.look()
    assert (guarded.state.state, guarded.state.reason) == ("promoted", "promoted by hand")


def test_a_canary_without_steps_is_watched_at_its_share(bench: Bench) -> None:
    guarded = Guarded(bench, steps=None, percent=20.0, guard={})
    assert guarded.state.percent == 20
    assert [step.percent for step in guarded.state.steps] == [20]


def test_a_guard_alone_goes_the_default_steps(bench: Bench) -> None:
    guarded = Guarded(bench, steps=None, guard={})
    assert [step.percent for step in guarded.state.steps] == [1, 5, 25, 50, 100]
    # A tenth of alpha is kept for what is said of stable at 100 %.
    assert guarded.state.threshold == pytest.approx(1 / 0.009)


def test_a_paused_canary_waits_and_is_guarded_still(bench: Bench) -> None:
    guarded = Guarded(bench)
    guarded.canaries.pause("credit", actor="ann", reason="lunch")
    guarded.traffic(120, 2280)
    guarded.pass_time(65)
    assert guarded.state.step == 1
    guarded.traffic(50, 950, canary_errors=25)
    guarded.look()
    assert guarded.state.state == "rolled_back"


def test_the_last_step_by_hand_promotes_where_the_plan_says_so(bench: Bench) -> None:
    guarded = Guarded(bench, steps=STEPS[:1], promote=True)
    guarded.canaries.advance("credit", actor="ann", reason="seen enough")
    assert guarded.state.state == "promoted"
    assert guarded.rollout.stable == 2


def test_a_canary_that_was_set_just_now_is_shown_and_changed_though_nobody_has_looked_yet(
    bench: Bench,
) -> None:
    guarded = Guarded(bench)
    guarded.canaries.abort("credit", actor="ann", reason="another try")
    guarded.put(canary={"version": 3, "steps": STEPS})

    assert (guarded.state.version, guarded.state.state) == (3, "running")
    guarded.canaries.pause("credit", actor="ann", reason="a moment")
    guarded.put(canary={"version": 2, "steps": STEPS})
    assert guarded.canaries.pause("credit", actor="ann", reason="again").version == 2
