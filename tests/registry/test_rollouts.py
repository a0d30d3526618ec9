"""Rollouts: canary and shadows beside the stable version, going back, and what they refuse."""

from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from protocol.configuration import CanaryDoc, ShadowDoc
from protocol.errors import Code, TollwayError
from registry.acting import Acting, acting_as
from registry.rollouts import rollout_etag
from registry.status import EngineStatus, ServingStatus
from registry.store import versions as version_store
from registry.store.database import Transaction
from registry.store.tables import versions
from registry.store.versions import VersionRecord
from tests.registry.conftest import Bench, Crowd
from tests.registry.rollouts import announced, audited, canary, put, three


@pytest.fixture
def published(bench: Bench) -> Bench:
    """Three published versions of ``credit``; the first is stable."""
    return three(bench)


@pytest.fixture
def small(small_bench: Bench) -> Bench:
    """The same on SQLite alone."""
    return three(small_bench)


def test_canary_and_shadows_reach_the_gateways_in_the_models_document(published: Bench) -> None:
    put(published, canary=canary(2, 25), shadows=(ShadowDoc(version=3, permille=500),))
    document = announced(published)
    assert document.aliases == {"stable": 1}
    assert document.canary == CanaryDoc(version=2, permille=25)
    assert document.shadows == (ShadowDoc(version=3, permille=500),)


def test_what_a_change_does_not_name_stays_as_it_is(published: Bench) -> None:
    put(published, canary=canary(2, 25), shadows=(ShadowDoc(version=3),))
    raised = put(published, canary=canary(2, 50))
    assert raised.shadows == (ShadowDoc(version=3),)
    ended = put(published, canary=None)
    assert (ended.stable, ended.canary, ended.shadows) == (1, None, (ShadowDoc(version=3),))
    assert put(published, shadows=()).shadows == ()
    assert announced(published).canary is None


def test_a_canary_is_as_old_as_its_version_not_as_its_share(published: Bench) -> None:
    first = put(published, canary=canary(2, 25)).canary
    published.clock.advance(60)
    raised = put(published, canary=canary(2, 50)).canary
    kept = put(published, canary=canary(2)).canary
    other = put(published, canary=canary(3, 50)).canary
    assert first is not None
    assert raised is not None
    assert other is not None
    assert raised.since == first.since
    assert kept == raised
    assert other.since == first.since + 60_000


def test_a_new_canary_needs_a_share(small: Bench) -> None:
    put(small, canary=canary(2, 25))
    with pytest.raises(TollwayError, match="which share") as refused:
        put(small, canary=canary(3))
    assert refused.value.code is Code.INVALID


def test_the_version_that_becomes_stable_is_neither_canary_nor_shadow(published: Bench) -> None:
    put(published, canary=canary(2, 25), shadows=(ShadowDoc(version=2), ShadowDoc(version=3)))
    promoted = put(published, stable=2)
    assert promoted.canary is None
    assert promoted.shadows == (ShadowDoc(version=3),)
    put(published, canary=canary(1, 10))
    published.registry.aliases.set("credit", "stable", 1, actor="ann", expected=None)
    assert published.registry.rollouts.get("credit").canary is None


def test_a_version_on_a_remote_server_cannot_be_a_shadow(
    small: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = version_store.get

    def remote(connection: Transaction, model: str, number: int) -> VersionRecord | None:
        found = known(connection, model, number)
        assert found is not None
        manifest = msgspec.structs.replace(found.manifest, artifact=None)
        return msgspec.structs.replace(found, manifest=manifest)

    monkeypatch.setattr(version_store, "get", remote)
    # What is read is another version than was sealed.
    monkeypatch.setattr(version_store, "check_genuine", lambda *_: None)
    with pytest.raises(TollwayError, match="remote server") as refused:
        put(small, shadows=(ShadowDoc(version=2),))
    assert refused.value.code is Code.CONFLICT


def test_all_of_a_change_happens_or_nothing(published: Bench) -> None:
    published.publish()
    with pytest.raises(TollwayError, match="version 4, which is registered"):
        put(published, stable=2, canary=canary(3, 10), shadows=(ShadowDoc(version=4),))
    now = published.registry.rollouts.get("credit")
    assert (now.stable, now.canary) == (1, None)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (ServingStatus(), "no engine has loaded it yet"),
        (ServingStatus(state="loading"), "no engine has loaded it yet"),
        (ServingStatus(state="failed", error="golden row 3 differs"), "golden row 3 differs"),
    ],
)
def test_no_calls_go_to_a_version_that_no_engine_answers_for(
    small: Bench, state: ServingStatus, words: str
) -> None:
    small.serving["credit", 2] = state
    for wish in (
        {"stable": 2},
        {"canary": canary(2, 10)},
        {"shadows": (ShadowDoc(version=2),)},
    ):
        with pytest.raises(TollwayError, match=words) as refused:
            put(small, **wish)
        assert refused.value.code is Code.CONFLICT
    with pytest.raises(TollwayError, match=words):
        small.registry.aliases.set("credit", "champion", 2, actor="ann", expected=None)


def test_calls_are_taken_from_a_version_that_fails(small: Bench) -> None:
    put(small, canary=canary(2, 100), shadows=(ShadowDoc(version=3),))
    small.serving["credit", 2] = small.serving["credit", 3] = ServingStatus(state="failed")
    less = put(small, canary=canary(2, 10), shadows=(ShadowDoc(version=3, permille=1),))
    assert less.canary is not None
    assert less.canary.permille == 10
    with pytest.raises(TollwayError, match="does not load"):
        put(small, canary=canary(2, 11))


def test_the_stable_version_is_neither_its_canary_nor_its_shadow(small: Bench) -> None:
    with pytest.raises(TollwayError, match="is the stable one"):
        put(small, canary=canary(1, 10))
    with pytest.raises(TollwayError, match="is the stable one"):
        put(small, shadows=(ShadowDoc(version=1),))


def test_a_canary_runs_beside_a_stable_version_only(small: Bench) -> None:
    put(small, canary=canary(2, 10))
    with pytest.raises(TollwayError, match="end the canary first"):
        small.registry.aliases.delete("credit", "stable", actor="ann", expected=None)
    put(small, canary=None)
    small.registry.aliases.delete("credit", "stable", actor="ann", expected=None)
    with pytest.raises(TollwayError, match="no stable version"):
        put(small, canary=canary(2, 10))


@pytest.mark.parametrize("use", ["canary", "shadow", "stable"])
def test_a_version_that_calls_may_go_to_is_neither_unloaded_nor_retired(
    published: Bench, use: str
) -> None:
    wish: dict[str, Any] = {
        "canary": {"canary": canary(2, 0)},
        "shadow": {"shadows": (ShadowDoc(version=2),)},
        "stable": {"stable": 2},
    }[use]
    put(published, **wish)
    lifecycle = published.registry.lifecycle
    with pytest.raises(TollwayError, match=f"used: .*{use}") as refused:
        lifecycle.set_loaded("credit", 2, False)
    assert refused.value.code is Code.CONFLICT
    lifecycle.transition("credit", 2, "deprecated", actor="ann")
    with pytest.raises(TollwayError, match=f"used: .*{use}"):
        lifecycle.transition("credit", 2, "retired", actor="ann")
    put(published, stable=1, canary=None, shadows=())
    assert lifecycle.transition("credit", 2, "retired", actor="ann").state == "retired"


def test_a_canary_and_a_retirement_at_once_never_leave_it_on_a_retired_version(
    published: Bench, crowd: Crowd
) -> None:
    published.registry.lifecycle.transition("credit", 2, "deprecated", actor="ann")

    def work(index: int) -> object:
        if index == 0:
            return published.registry.lifecycle.transition("credit", 2, "retired", actor="ann")
        return put(published, canary=canary(2, 10))

    crowd(2, work)
    retired = published.registry.versions.get("credit", 2).state == "retired"
    assert retired == (published.registry.rollouts.get("credit").canary is None)


def test_a_change_is_made_only_from_the_state_that_was_read(published: Bench, crowd: Crowd) -> None:
    read = rollout_etag(published.registry.rollouts.get("credit"))

    def change(index: int) -> object:
        return put(published, canary=canary(2, index + 1), expected=read).revision

    results = crowd(5, change)
    assert len([result for result in results if isinstance(result, int)]) == 1
    lost = [result.code for result in results if not isinstance(result, int)]
    assert set(lost) == {Code.PRECONDITION_FAILED}


def test_a_move_of_stable_by_its_alias_changes_the_tag_of_the_rollout(small: Bench) -> None:
    read = rollout_etag(small.registry.rollouts.get("credit"))
    small.registry.aliases.set("credit", "stable", 2, actor="bob", expected=None)
    with pytest.raises(TollwayError) as refused:
        put(small, canary=canary(3, 1), expected=read)
    assert refused.value.code is Code.PRECONDITION_FAILED


def test_every_change_is_kept_with_who_and_why(published: Bench) -> None:
    put(published, canary=canary(2, 25), reason="a try")
    put(published, stable=2, reason="it is better")
    published.registry.rollouts.roll_back("credit", actor="bob", reason="it is not")
    kept = published.registry.rollouts.history("credit", 0, 10)
    assert [
        (k.stable, k.canary and k.canary.version, k.cause, k.actor, k.reason) for k in kept
    ] == [
        (1, None, "set", "ann", ""),
        (1, 2, "set", "ann", "a try"),
        (2, None, "set", "ann", "it is better"),
        (1, None, "rollback", "bob", "it is not"),
    ]


def test_every_change_is_audited_with_what_was_and_what_is(small: Bench) -> None:
    with acting_as(Acting(actor="ann", role="publisher")):
        put(small, canary=canary(2, 25), reason="a try")
    entries = [e for e in audited(small) if e["kind"] == "rollout"]
    assert [e["action"] for e in entries] == ["rollout.changed"]
    assert entries[0]["reason"] == "a try"
    assert entries[0]["before"]["canary"] is None
    assert entries[0]["after"]["canary"]["permille"] == 25


# Going back.


def test_the_traffic_goes_back_to_the_version_before_and_the_canary_ends(published: Bench) -> None:
    put(published, stable=2)
    put(published, canary=canary(3, 10))
    back = published.registry.rollouts.roll_back("credit", actor="ann")
    assert (back.stable, back.canary) == (1, None)
    assert announced(published).aliases == {"stable": 1}


def test_going_back_twice_goes_back_two_versions_and_never_forward(published: Bench) -> None:
    put(published, stable=2)
    put(published, stable=3)
    rollouts = published.registry.rollouts
    assert rollouts.roll_back("credit", actor="ann").stable == 2
    assert rollouts.previous("credit") == 1
    assert rollouts.roll_back("credit", actor="ann").stable == 1
    with pytest.raises(TollwayError, match="is the first that was stable"):
        rollouts.roll_back("credit", actor="ann")


def test_a_version_that_is_stable_again_goes_back_to_what_it_replaced(small: Bench) -> None:
    for number in (2, 3, 1):
        put(small, stable=number)
    assert small.registry.rollouts.roll_back("credit", actor="ann").stable == 3
    put(small, stable=2)
    assert small.registry.rollouts.roll_back("credit", actor="ann").stable == 3
    assert small.registry.rollouts.roll_back("credit", actor="ann").stable == 2
    assert small.registry.rollouts.roll_back("credit", actor="ann").stable == 1


def test_versions_that_are_retired_are_passed_over_on_the_way_back(small: Bench) -> None:
    for number in (2, 3):
        put(small, stable=number)
    rollouts, lifecycle = small.registry.rollouts, small.registry.lifecycle
    assert rollouts.previous("credit") == 2
    lifecycle.transition("credit", 2, "deprecated", actor="ann")
    lifecycle.transition("credit", 2, "retired", actor="ann")
    assert rollouts.previous("credit") == 1
    assert rollouts.roll_back("credit", actor="ann").stable == 1
    assert rollouts.previous("credit") is None
    put(small, stable=3)
    assert rollouts.previous("credit") == 1


def test_nothing_goes_back_to_a_version_that_is_not_warm(small: Bench) -> None:
    put(small, stable=2)
    rollouts = small.registry.rollouts
    small.registry.lifecycle.set_loaded("credit", 1, False)
    with pytest.raises(TollwayError, match="version 1, which is not loaded"):
        rollouts.roll_back("credit", actor="ann")
    small.registry.lifecycle.set_loaded("credit", 1, True)
    cold = EngineStatus(worker="w1", slot=0, state="cold")
    small.serving["credit", 1] = ServingStatus(state="ready", engines=(cold,))
    with pytest.raises(TollwayError, match="is not warm"):
        rollouts.roll_back("credit", actor="ann")
    warm = EngineStatus(worker="w1", slot=0, state="ready")
    small.serving["credit", 1] = ServingStatus(state="ready", engines=(cold, warm))
    assert rollouts.roll_back("credit", actor="ann").stable == 1


def test_without_a_version_before_it_is_said_how_the_canary_ends(small: Bench) -> None:
    put(small, canary=canary(2, 10))
    with pytest.raises(TollwayError, match="set canary to null"):
        small.registry.rollouts.roll_back("credit", actor="ann")


@pytest.mark.parametrize("wish", [{"stable": 2}, {"canary": canary(2, 10)}])
def test_no_calls_go_to_a_version_that_was_edited_past_this_server(
    small: Bench, wish: dict[str, Any]
) -> None:
    with small.registry.database.write() as connection:
        row = sa.select(versions.c.manifest).where(versions.c.number == 2)
        manifest = str(connection.execute(row).scalar_one())
        edited = manifest.replace('"task":"unknown"', '"task":"outlier"')
        assert edited != manifest
        connection.execute(
            sa.update(versions).where(versions.c.number == 2).values(manifest=edited)
        )

    with pytest.raises(TollwayError, match="another manifest") as refused:
        put(small, **wish)
    assert refused.value.code == Code.CONFLICT


def test_no_calls_go_to_a_version_whose_state_was_edited_past_this_server(small: Bench) -> None:
    small.to_state(small.publish(), "validated")
    with small.registry.database.write() as connection:
        connection.execute(
            sa.update(versions).where(versions.c.number == 4).values(state="published")
        )

    with pytest.raises(TollwayError) as refused:
        put(small, stable=4)
    assert refused.value.code == Code.CONFLICT
