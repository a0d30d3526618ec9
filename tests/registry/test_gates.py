"""Gates and approvals: what a version needs to go on, and what voids it."""

from typing import Any

import pytest

from protocol.errors import Code, TollwayError
from registry.access import INSTALLATION, Actor
from registry.gates import check_promotion
from registry.rollouts import CanaryWish, RolloutWish
from registry.store import evidence as evidence_store
from registry.store.versions import VersionRecord
from tests.registry.conftest import Bench
from tests.registry.gates import decide, evaluate, refusal, require, step

ANN = Actor("ann", "publisher")


@pytest.fixture
def version(bench: Bench) -> VersionRecord:
    made = bench.publish()
    return step(bench, made, "validated")


def standing(bench: Bench, number: int = 1) -> str:
    return bench.registry.gates.report("credit", number).approval.state


def test_without_requirements_nothing_stands_in_the_way(
    bench: Bench, version: VersionRecord
) -> None:
    gate = bench.registry.gates.report("credit", 1)
    assert gate.passed
    assert gate.requirements == 0
    step(bench, version, "approved")
    assert step(bench, version, "published").state == "published"


def test_evidence_has_to_meet_every_criterion_and_each_that_it_does_not_is_listed(
    bench: Bench, version: VersionRecord
) -> None:
    require(bench, "accuracy >= 0.9", "recal >= 0.5", "size_mb <= 50")
    said = refusal(bench, version, "approved")
    assert "version 1 has no evidence: evaluate it" in said
    evaluate(bench, version, 0.85)
    said = refusal(bench, version, "approved")
    assert "accuracy >= 0.9: accuracy is 0.85: short by 0.05" in said
    assert "has no metric 'recal'; it has accuracy" in said
    assert "size_mb" not in said
    require(bench, "accuracy >= 0.8")
    assert step(bench, version, "approved").state == "approved"


def test_a_sponsor_approves_by_signature_and_then_the_version_goes_on(
    bench: Bench, version: VersionRecord
) -> None:
    require(bench, "accuracy >= 0.8", sponsor="ada")
    evaluate(bench, version, 0.85)
    assert "the sponsor 'ada' has not approved it" in refusal(bench, version, "approved")
    assert decide(bench, "approve")
    assert not decide(bench, "approve")
    step(bench, version, "approved")
    published = step(bench, version, "published")
    assert published.seal is not None
    grounds = published.seal.grounds
    assert (grounds.requirements, grounds.sponsor, grounds.approver) == (1, "ada", "ada")
    assert grounds.evidence == bench.registry.evidence.digest("credit", 1)


@pytest.mark.parametrize(
    "by",
    [ANN, INSTALLATION, Actor("eve", "sponsor"), Actor("ada", "admin"), Actor("ada", "publisher")],
)
def test_nobody_but_the_sponsor_decides(bench: Bench, version: VersionRecord, by: Actor) -> None:
    require(bench, sponsor="ada")
    with pytest.raises(TollwayError) as caught:
        decide(bench, "approve", by)
    assert caught.value.code is Code.FORBIDDEN
    assert standing(bench) == "missing"


def test_criteria_that_are_not_met_are_not_approved(bench: Bench, version: VersionRecord) -> None:
    require(bench, "accuracy >= 0.9", sponsor="ada")
    evaluate(bench, version, 0.85)
    with pytest.raises(TollwayError, match=r"short by 0\.05"):
        decide(bench, "approve")
    assert decide(bench, "refuse")


def test_a_refusal_takes_an_approval_back(bench: Bench, version: VersionRecord) -> None:
    require(bench, sponsor="ada")
    decide(bench, "approve")
    decide(bench, "refuse")
    assert "refused it: a reason" in refusal(bench, version, "approved")
    decide(bench, "approve")
    assert step(bench, version, "approved").state == "approved"
    found = bench.registry.approvals.page("credit", 1, 0, 10)
    assert [one.decision for one in found] == ["approve", "refuse", "approve"]


def test_new_evidence_voids_an_approval(bench: Bench, version: VersionRecord) -> None:
    require(bench, "accuracy >= 0.8", sponsor="ada")
    evaluate(bench, version, 0.85)
    decide(bench, "approve")
    step(bench, version, "approved")
    evaluate(bench, version, 0.99)
    assert standing(bench) == "outdated"
    said = refusal(bench, version, "published")
    assert "the approval of 'ada' holds no longer: the evidence is another" in said
    decide(bench, "approve")
    assert step(bench, version, "published").state == "published"


def test_new_requirements_void_an_approval(bench: Bench, version: VersionRecord) -> None:
    require(bench, sponsor="ada")
    decide(bench, "approve")
    step(bench, version, "approved")
    require(bench, "size_mb < 1", sponsor="ada")
    said = refusal(bench, version, "published")
    assert "it was given under requirements 1, now 2 hold" in said


def test_another_sponsor_decides_anew(bench: Bench, version: VersionRecord) -> None:
    require(bench, sponsor="ada")
    decide(bench, "approve")
    require(bench, sponsor="bob")
    assert "'ada' is not the sponsor any more" in refusal(bench, version, "approved")
    decide(bench, "approve", Actor("bob", "sponsor"))
    assert step(bench, version, "approved").state == "approved"


def test_what_is_published_stays_when_requirements_change(
    bench: Bench, version: VersionRecord
) -> None:
    require(bench, sponsor="ada")
    decide(bench, "approve")
    step(bench, version, "approved")
    before = step(bench, version, "published")
    require(bench, "accuracy > 0.5", sponsor="ada")
    assert standing(bench) == "outdated"
    after = bench.registry.lifecycle.set_loaded("credit", 1, False)
    assert (after.state, after.seal) == ("published", before.seal)
    for what in ("stable", "the canary"):
        with bench.registry.database.read() as connection, pytest.raises(TollwayError) as caught:
            check_promotion(connection, after, what)
        assert f"version 1 cannot become {what}: " in caught.value.public
        assert "the approval of 'ada' holds no longer" in caught.value.public
    assert step(bench, version, "deprecated").state == "deprecated"


def test_traffic_is_given_only_through_the_gate_and_given_back_without(
    bench: Bench, version: VersionRecord
) -> None:
    rollouts = bench.registry.rollouts
    for one in (version, step(bench, bench.publish(), "validated")):
        step(bench, one, "approved")
        step(bench, one, "published")
        rollouts.change("credit", RolloutWish(stable=one.number), actor="ann")
    require(bench, sponsor="ada")
    assert rollouts.roll_back("credit", actor="ann").stable == 1
    for wish in (
        RolloutWish(stable=2),
        RolloutWish(canary=CanaryWish(version=2, permille=10)),
    ):
        with pytest.raises(TollwayError, match="has not approved it"):
            rollouts.change("credit", wish, actor="ann")
    decide(bench, "approve", number=2)
    assert rollouts.change("credit", RolloutWish(stable=2), actor="ann").stable == 2


def test_a_sponsor_is_asked_only_when_there_is_something_to_decide(
    bench: Bench, version: VersionRecord
) -> None:
    ask = bench.registry.approvals.ask
    with pytest.raises(TollwayError, match="has no sponsor"):
        ask("credit", 1, "")
    require(bench, "accuracy >= 0.8", sponsor="ada")
    with pytest.raises(TollwayError, match="does not meet"):
        ask("credit", 1, "")
    evaluate(bench, version, 0.85)
    assert ask("credit", 1, "please").approval.state == "missing"
    decide(bench, "approve")
    with pytest.raises(TollwayError, match="already"):
        ask("credit", 1, "")


def test_a_version_that_no_engine_has_loaded_is_not_decided_on(bench: Bench) -> None:
    bench.publish()
    require(bench, sponsor="ada")
    with pytest.raises(TollwayError, match="must be validated first"):
        decide(bench, "approve")


def test_listing_reads_evidence_only_where_an_approval_is_there_to_compare_with(
    bench: Bench, version: VersionRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    digest_of = evidence_store.digest_of

    def counted(connection: Any, model: str, number: int) -> str:
        read.append(number)
        return digest_of(connection, model, number)

    other = bench.publish()
    require(bench, "accuracy >= 0.8", sponsor="ada")
    evaluate(bench, version, 0.85)
    evaluate(bench, other, 0.85)
    decide(bench, "approve")
    monkeypatch.setattr("registry.gates.evidence_store.digest_of", counted)
    found = bench.registry.gates.approvals("credit", [version, other])
    assert {number: one.state for number, one in found.items()} == {1: "given", 2: "missing"}
    assert read == [1]
