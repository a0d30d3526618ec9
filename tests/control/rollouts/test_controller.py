"""Guarded canaries, from usage that is ingested to decisions that are kept."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from control.rollouts import turn
from control.rollouts.progress import Compared
from control.store.alerts import alert_of
from control.webhooks.events import AuditRow, event_of
from protocol.configuration import ModelDoc, ShadowDoc
from protocol.errors import Code, TollwayError
from registry.status import ServingStatus
from registry.store import changes
from registry.store.database import Database
from tests.control.rollouts.rollouts import STEPS, Guarded, told
from tests.registry.conftest import Bench, make_bench


@pytest.fixture
def everywhere(database: Database, tmp_path: Path) -> Bench:
    """A registry on SQLite, and again on PostgreSQL."""
    return make_bench(database, tmp_path)


@pytest.fixture
def bench(sqlite_database: Database, tmp_path: Path) -> Bench:
    """A registry on SQLite, for what has nothing to do with SQL."""
    return make_bench(sqlite_database, tmp_path)


def test_a_good_version_goes_through_its_steps_and_is_promoted(everywhere: Bench) -> None:
    guarded = Guarded(everywhere, promote=True)
    assert guarded.state.percent == 5
    guarded.traffic(120, 2280, canary_errors=1, stable_errors=20)
    guarded.pass_time(60)
    assert (guarded.state.step, guarded.state.percent) == (2, 50)
    guarded.traffic(500, 500, canary_errors=5, stable_errors=5)
    guarded.pass_time(60)
    assert (guarded.rollout.stable, guarded.rollout.canary) == (2, None)
    assert guarded.state.state == "promoted"
    assert told(guarded) == ["started", "advanced", "promoted"]


def test_without_promotion_the_last_step_is_where_it_stays_guarded(bench: Bench) -> None:
    guarded = Guarded(bench, steps=STEPS[:1])
    guarded.traffic(120, 2280)
    guarded.pass_time(60)
    assert (guarded.state.state, guarded.state.percent) == ("completed", 5)
    guarded.traffic(100, 1900, canary_errors=60)
    guarded.look()
    assert guarded.state.state == "rolled_back"


def test_a_bad_version_is_rolled_back_by_itself_and_the_numbers_are_kept(
    everywhere: Bench,
) -> None:
    guarded = Guarded(everywhere)
    guarded.traffic(50, 950, canary_errors=20, stable_errors=5)
    [done] = guarded.look()
    assert "roll_back: error_rate" in done
    assert (guarded.rollout.stable, guarded.rollout.canary) == (1, None)
    entry = guarded.audited("canary")[-1]
    assert (entry.action, entry.key, entry.actor) == ("canary.rolled_back", "credit/2", "system")
    after = msgspec.json.decode(entry.after)
    assert after["counts"]["canary"] == {"requests": 50, "errors": 20}
    assert after["counts"]["stable"] == {"requests": 950, "errors": 5}
    # A tenth of alpha is kept for steps without stable's traffic, and here there is none.
    assert after["e_value"] >= after["threshold"] == 100
    assert {test["test"] for test in after["tests"]} == {"error_rate", "p99_ratio"}
    assert "0.4 beside 0.005263 of stable" in entry.reason
    decision = guarded.decisions[-1]
    assert (decision.action, decision.percent, decision.evidence) == ("rolled_back", 0, after)


def test_gateways_are_told_of_the_end_at_once(bench: Bench) -> None:
    guarded = Guarded(bench)

    def document() -> ModelDoc:
        with guarded.database.read() as connection:
            text = changes.newest(connection, "model", "credit")
        assert text is not None
        return msgspec.json.decode(text, type=ModelDoc)

    before = document().canary
    assert before is not None
    assert before.permille == 50
    guarded.traffic(50, 950, canary_errors=25)
    guarded.look()
    assert document().canary is None


def test_a_roll_back_is_an_event_and_an_alert_until_the_next_canary(bench: Bench) -> None:
    guarded = Guarded(bench)
    guarded.traffic(50, 950, canary_errors=25)
    guarded.look()
    [run] = guarded.canaries.alerting()
    alert = alert_of(run)
    assert (alert.kind, alert.model, alert.version) == ("canary_rolled_back", "credit", 2)
    assert alert.message.startswith("error_rate: 0.5 beside 0 of stable")
    entry = guarded.audited("canary")[-1]
    row = AuditRow(**{name: entry._mapping[name] for name in AuditRow.__struct_fields__})
    event = event_of(row)
    assert event is not None
    assert (event.type, event.model, event.offered) == ("canary.rolled_back", "credit", False)
    assert '"e_value"' in event.body
    guarded.put(canary={"version": 2, "steps": STEPS})
    guarded.look()
    assert guarded.canaries.alerting() == []
    assert [e.action for e in guarded.audited("alert")] == ["alert.raised", "alert.ended"]


def test_an_alert_that_nobody_ends_is_over_after_a_week(bench: Bench) -> None:
    guarded = Guarded(bench)
    guarded.traffic(50, 950, canary_errors=25)
    guarded.look()
    bench.clock.advance(7 * 24 * 3600 + 1)
    guarded.look()
    guarded.look()
    assert [e.action for e in guarded.audited("alert")] == ["alert.raised", "alert.ended"]


def test_a_hold_is_told_when_its_reason_changes_and_not_at_each_look(bench: Bench) -> None:
    guarded = Guarded(bench)
    guarded.pass_time(25)
    assert guarded.actions == ["started", "held"]
    assert guarded.state.reason.startswith("the canary has answered nobody")
    for _ in range(3):
        guarded.traffic(10, 190)
        guarded.look()
    assert guarded.actions == ["started", "held", "held"]
    assert guarded.state.reason == "70 more requests of 100"


def test_what_callers_get_wrong_and_what_they_name_themselves_is_not_the_canarys(
    bench: Bench,
) -> None:
    guarded = Guarded(bench)
    guarded.traffic(100, 1900, canary_errors=50, status=422)
    pinned = [guarded.record(2, "pinned", 500)] * 50
    other = [guarded.record(1, "canary", 500), guarded.record(2, "stable", 500)] * 50
    guarded.ingest([*pinned, *other])
    guarded.look()
    assert guarded.state.state == "running"
    assert guarded.state.canary.model_dump() == {"requests": 100, "errors": 0}
    assert guarded.state.stable_counts.model_dump() == {"requests": 1900, "errors": 0}


def test_a_run_that_failed_is_the_canarys_fault_whatever_its_status(bench: Bench) -> None:
    guarded = Guarded(bench)
    failed = msgspec.structs.replace(guarded.record(2, "canary", 400), failed=True)
    guarded.ingest([failed] * 20 + [guarded.record(1, "stable")] * 380)
    guarded.look()
    assert guarded.state.canary.errors == 20
    assert guarded.state.state == "rolled_back"


def test_what_was_answered_long_before_it_began_is_not_the_canarys(bench: Bench) -> None:
    guarded = Guarded(bench)
    bench.clock.advance(-3600)
    late = [guarded.record(2, "canary", 500)] * 50
    bench.clock.advance(3600)
    guarded.ingest(late)
    guarded.traffic(10, 190)
    guarded.look()
    assert guarded.state.canary.model_dump() == {"requests": 10, "errors": 0}


def test_a_batch_that_is_sent_twice_is_counted_once(everywhere: Bench) -> None:
    guarded = Guarded(everywhere)
    records = [guarded.record(2, "canary", 500), *[guarded.record(1, "stable")] * 9]
    guarded.ingest(records)
    guarded.ingest(records, again=True)
    guarded.look()
    assert guarded.state.canary.model_dump() == {"requests": 1, "errors": 1}
    assert guarded.state.stable_counts.requests == 9


def test_an_engine_that_dies_is_the_canarys_fault(bench: Bench) -> None:
    guarded = Guarded(bench)
    bench.serving["credit", 2] = ServingStatus(state="failed", error="no memory")
    guarded.traffic(40, 760, canary_errors=40, status=503)
    guarded.look()
    assert guarded.state.state == "rolled_back"


def test_no_step_is_taken_while_no_engine_answers_for_the_canary(bench: Bench) -> None:
    guarded = Guarded(bench)
    guarded.traffic(120, 2280)
    bench.serving["credit", 2] = ServingStatus(state="failed", error="no memory")
    guarded.pass_time(65)
    assert (guarded.state.state, guarded.state.percent) == ("running", 5)
    assert guarded.state.reason.startswith("no engine answers for it")
    assert "no memory" in guarded.state.reason
    bench.serving["credit", 2] = ServingStatus(state="ready")
    guarded.pass_time(5)
    assert guarded.state.percent == 50


def test_nothing_is_promoted_while_no_engine_answers_for_it(bench: Bench) -> None:
    guarded = Guarded(bench, steps=STEPS[:1], promote=True)
    guarded.traffic(120, 2280)
    bench.serving["credit", 2] = ServingStatus(state="loading")
    guarded.pass_time(65)
    assert guarded.rollout.stable == 1
    assert guarded.state.reason.startswith("no engine answers for it")
    bench.serving["credit", 2] = ServingStatus(state="ready")
    guarded.pass_time(5)
    assert guarded.rollout.stable == 2


def test_a_step_that_the_rollout_refuses_waits_and_says_why(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded = Guarded(bench)
    guarded.traffic(120, 2280)

    def refuse(*_given: object, **_named: object) -> None:
        raise TollwayError(Code.CONFLICT, "its approval is void")

    with monkeypatch.context() as refusing:
        refusing.setattr(turn, "change", refuse)
        guarded.pass_time(65)
    assert guarded.state.reason == "refused: its approval is void"
    guarded.pass_time(5)
    assert guarded.state.step == 2


def test_slow_answers_are_counted_once_stables_99th_percentile_is_known(bench: Bench) -> None:
    guarded = Guarded(bench)
    guarded.traffic(20, 380, us=10_000, canary_us=50_000)
    guarded.look()
    assert guarded.state.tests[1].requests == 0
    guarded.traffic(100, 1900, us=10_000, canary_us=50_000)
    guarded.look()
    assert guarded.state.state == "rolled_back"
    assert guarded.state.reason.startswith("p99_ratio: 1 beside 0 of stable")


def test_a_limit_in_milliseconds_is_counted_from_the_first_answer(bench: Bench) -> None:
    guarded = Guarded(bench, guard={"max_p99_ms": 20.0, "p99_ratio": None})
    guarded.traffic(100, 1900, us=10_000, canary_us=21_000)
    guarded.look()
    assert guarded.state.reason.startswith("p99_ms")


COMPARING = {"max_disagreement": 0.02, "max_score_shift": 0.05}


def test_answers_that_differ_from_stables_roll_back(bench: Bench) -> None:
    guarded = Guarded(bench, guard=COMPARING)
    guarded.put(shadow=[2])
    assert guarded.rollout.shadows == (ShadowDoc(version=2),)
    guarded.traffic(120, 2280)
    guarded.pass_time(60)
    assert guarded.state.reason.startswith("100 more requests of 100 to be compared")
    guarded.compared = Compared(requests=300, labelled_requests=300, flip_shares=30)
    bench.clock.advance(2)
    guarded.look()
    assert guarded.state.reason.startswith("disagreement: 0.1, allowed 0.02")


def test_scores_beyond_their_scale_prove_nothing(bench: Bench) -> None:
    guarded = Guarded(bench, guard=COMPARING)
    guarded.traffic(120, 2280)
    guarded.compared = Compared(
        requests=300,
        labelled_requests=300,
        measured_requests=300,
        request_shifts=3000,
        request_shift_squares=30000,
        largest=10,
    )
    guarded.pass_time(65)
    assert guarded.state.reason.startswith("scores differ by up to 10, more than score_scale")


def test_a_stable_version_that_moves_is_compared_with_from_then_on(bench: Bench) -> None:
    guarded = Guarded(bench)
    guarded.traffic(50, 950)
    guarded.look()
    guarded.put(stable=3)
    guarded.look()
    assert guarded.state.stable == 3
    assert guarded.state.reason == "stable is version 3 now: compared with that from here on"
    guarded.ingest([guarded.record(3, "stable")] * 100 + [guarded.record(1, "stable", 500)] * 100)
    guarded.look()
    assert guarded.state.stable_counts.model_dump() == {"requests": 950, "errors": 0}
    guarded.traffic(10, 0)
    guarded.look()
    assert guarded.state.stable_counts.model_dump() == {"requests": 1050, "errors": 0}


def test_a_clock_that_jumps_ahead_makes_no_step_shorter(bench: Bench) -> None:
    guarded = Guarded(bench)
    guarded.traffic(120, 2280)
    guarded.look()
    bench.clock.advance(3600)
    guarded.look()
    assert guarded.state.step == 1
    guarded.pass_time(60)
    assert guarded.state.step == 2


def test_a_clock_that_jumps_back_keeps_what_was_watched(bench: Bench) -> None:
    guarded = Guarded(bench)
    guarded.traffic(120, 2280)
    guarded.pass_time(30)
    bench.clock.advance(-3600)
    guarded.look()
    assert guarded.state.step_watched_s == 30
    guarded.pass_time(30)
    assert guarded.state.step == 2


def test_a_control_that_was_away_goes_on_where_the_last_one_was(bench: Bench) -> None:
    guarded = Guarded(bench)
    guarded.traffic(60, 1140)
    guarded.pass_time(30)
    before = guarded.state
    bench.clock.advance(1800)
    guarded.controller = guarded.new_controller()
    guarded.look()
    assert guarded.state.canary == before.canary
    assert guarded.state.step_watched_s == 30
    # What gateways answered meanwhile comes all at once.
    guarded.traffic(60, 1140)
    guarded.pass_time(30)
    assert guarded.state.step == 2


def test_a_control_that_dies_within_a_decision_has_not_taken_it(
    everywhere: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded = Guarded(everywhere)
    guarded.traffic(50, 950, canary_errors=25)
    with monkeypatch.context() as dying:

        def die(*_given: object, **_named: object) -> None:
            raise SystemError

        dying.setattr(turn.audit, "record", die)
        with pytest.raises(SystemError):
            guarded.look()
    assert guarded.rollout.canary is not None
    assert guarded.state.canary.requests == 0
    assert "rolled_back" not in guarded.actions
    guarded.look()
    assert guarded.actions.count("rolled_back") == 1
    assert guarded.rollout.canary is None


def test_two_controls_that_look_at_once_decide_once(everywhere: Bench) -> None:
    guarded = Guarded(everywhere)
    guarded.traffic(120, 2280)
    guarded.pass_time(55)
    controllers = [guarded.new_controller() for _ in range(4)]
    everywhere.clock.advance(5)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda one: one.run(), controllers))
    assert guarded.actions.count("advanced") == 1
    guarded.traffic(50, 50, canary_errors=40)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda one: one.run(), controllers))
    assert guarded.actions.count("rolled_back") == 1
    assert [e.action for e in guarded.audited("canary")].count("canary.rolled_back") == 1
