"""The states of a version: only legal steps, each recorded, none of them under an alias's feet."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.configuration import CALLABLE_STATES, FINAL_STATES, LEGAL, VersionState
from protocol.errors import Code, TollwayError
from registry.lifecycle import check_legal
from registry.status import EngineStatus, ServingStatus
from tests.registry.conftest import Bench, Crowd

STATES: tuple[VersionState, ...] = get_args(VersionState)


def test_the_table_knows_every_state() -> None:
    assert set(LEGAL) == set(STATES)
    assert {state for state in STATES if not LEGAL[state]} == FINAL_STATES


@given(st.lists(st.sampled_from(STATES), max_size=20))
def test_only_legal_walks_are_possible(steps: list[VersionState]) -> None:
    order = ("registered", "validated", "approved", "published", "deprecated", "retired")
    state: VersionState = "registered"
    for to in steps:
        forward = state in order and to in order and order.index(to) == order.index(state) + 1
        rejected = to == "rejected" and state in order[:3]
        if forward or rejected:
            check_legal(state, to)
            state = to
            continue
        with pytest.raises(TollwayError) as refused:
            check_legal(state, to)
        assert refused.value.code is Code.ILLEGAL_TRANSITION


def test_every_callable_state_lies_behind_published() -> None:
    before = [state for state in STATES if "published" in LEGAL[state]]
    assert before == ["approved"]
    assert {"published", *LEGAL["published"]} == CALLABLE_STATES


def test_each_step_is_recorded_with_who_when_why_and_which_digest(bench: Bench) -> None:
    version = bench.publish()
    bench.serving["credit", 1] = ServingStatus(state="ready")
    bench.clock.advance(5)
    bench.registry.lifecycle.transition("credit", 1, "validated", actor="bob", reason="it loads")
    steps = bench.registry.versions.history("credit", 1, 0, 10)
    assert [(step.from_state, step.to_state) for step in steps] == [
        (None, "registered"),
        ("registered", "validated"),
    ]
    last = steps[1]
    assert (last.actor, last.reason, last.digest) == ("bob", "it loads", version.digest)
    assert last.at == version.created_at + 5000
    assert bench.registry.versions.history("credit", 1, steps[0].id, 10) == [last]


def test_a_version_that_no_engine_has_loaded_is_not_validated(small_bench: Bench) -> None:
    small_bench.publish()
    failing = EngineStatus(worker="w1", slot=0, state="failed", error="golden row 3 differs")
    for status, reason in (
        (ServingStatus(), "no engine"),
        (ServingStatus(state="loading"), "no engine"),
        (ServingStatus(state="failed", engines=(failing,), error=failing.error), "golden row 3"),
    ):
        small_bench.serving["credit", 1] = status
        with pytest.raises(TollwayError, match=reason) as refused:
            small_bench.registry.lifecycle.transition("credit", 1, "validated", actor="ann")
        assert refused.value.code is Code.CONFLICT
    assert small_bench.registry.versions.get("credit", 1).state == "registered"


def test_an_illegal_step_says_which_ones_are_legal(small_bench: Bench) -> None:
    small_bench.publish()
    with pytest.raises(TollwayError, match="validated or rejected") as refused:
        small_bench.registry.lifecycle.transition("credit", 1, "published", actor="ann")
    assert refused.value.code is Code.ILLEGAL_TRANSITION


def test_of_two_who_take_the_same_step_one_does(bench: Bench, crowd: Crowd) -> None:
    version = bench.to_state(bench.publish(), "approved")

    def step(index: int) -> object:
        return bench.registry.lifecycle.transition(
            version.model, version.number, "published", actor=f"p{index}"
        ).state

    results = crowd(4, step)
    assert results.count("published") == 1
    lost = [result for result in results if result != "published"]
    assert {error.code for error in lost} == {Code.ILLEGAL_TRANSITION}


def test_retiring_and_rejecting_unload_for_good(bench: Bench) -> None:
    retired = bench.to_state(bench.publish(), "retired")
    bench.publish()
    rejected = bench.registry.lifecycle.transition("credit", 2, "rejected", actor="ann")
    for version in (retired, rejected):
        assert not version.loaded
        with pytest.raises(TollwayError) as refused:
            bench.registry.lifecycle.set_loaded("credit", version.number, True)
        assert refused.value.code is Code.CONFLICT


def test_a_version_under_an_alias_is_neither_retired_nor_unloaded(bench: Bench) -> None:
    bench.to_state(bench.publish(), "deprecated")
    bench.registry.aliases.set("credit", "stable", 1, actor="ann", expected=None)
    with pytest.raises(TollwayError, match="'stable'") as refused:
        bench.registry.lifecycle.transition("credit", 1, "retired", actor="ann")
    assert refused.value.code is Code.CONFLICT
    with pytest.raises(TollwayError, match="'stable'"):
        bench.registry.lifecycle.set_loaded("credit", 1, False)
    bench.registry.aliases.delete("credit", "stable", actor="ann", expected=None)
    assert not bench.registry.lifecycle.set_loaded("credit", 1, False).loaded
    assert bench.registry.lifecycle.set_loaded("credit", 1, True).loaded


def test_what_does_not_exist_is_said_to_be_missing(small_bench: Bench) -> None:
    small_bench.publish()
    for model, number, code in (
        ("credit", 2, Code.VERSION_NOT_FOUND),
        ("nope", 1, Code.MODEL_NOT_FOUND),
    ):
        with pytest.raises(TollwayError) as refused:
            small_bench.registry.lifecycle.transition(model, number, "rejected", actor="ann")
        assert refused.value.code is code
        assert "PUT" not in refused.value.public, "the command line shows it as it is"
