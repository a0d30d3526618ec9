"""Gates, approvals and seals: what a version needs to go on, and what voids it."""

from typing import Any

import msgspec
import pytest

from protocol.errors import Code, TollwayError
from protocol.evidence import Evidence, Measured
from protocol.requirements import Requirements
from registry.access import INSTALLATION, Actor
from registry.gates import check_promotion
from registry.rollouts import CanaryWish, RolloutWish
from registry.seals import Sealer, seal_all
from registry.status import ServingStatus
from registry.store import audit
from registry.store import evidence as evidence_store
from registry.store import versions as version_store
from registry.store.approvals import Decision
from registry.store.sealing import seal_with
from registry.store.versions import VersionRecord
from runtime.signatures import PublicKeys, SigningKey, new_signing_key
from tests.registry.conftest import Bench

ANN = Actor("ann", "publisher")
ADA = Actor("ada", "sponsor")
ROWS = "sha256:" + "1" * 64


def require(bench: Bench, *criteria: str, sponsor: str | None = None) -> int:
    given = Requirements(criteria=criteria, sponsor=sponsor)
    return bench.registry.requirements.put("credit", given, by=INSTALLATION, expected=None)[
        0
    ].number


def evaluate(bench: Bench, version: VersionRecord, accuracy: float, **fields: Any) -> None:
    given = Evidence(
        model="credit",
        version=version.number,
        manifest_digest=version.digest,
        rows=100,
        rows_digest=ROWS,
        main_metric="accuracy",
        metrics={"accuracy": Measured(value=accuracy)},
        **fields,
    )
    bench.registry.evidence.add(given, actor="ann")


def decide(bench: Bench, decision: Decision, by: Actor = ADA, number: int = 1) -> bool:
    return bench.registry.approvals.decide("credit", number, decision, "a reason", by=by)[1]


def step(bench: Bench, version: VersionRecord, to: Any) -> VersionRecord:
    bench.serving["credit", version.number] = ServingStatus(state="ready")
    return bench.registry.lifecycle.transition("credit", version.number, to, actor="ann")


def refusal(bench: Bench, version: VersionRecord, to: Any) -> str:
    with pytest.raises(TollwayError) as caught:
        step(bench, version, to)
    assert caught.value.code is Code.CONFLICT
    return caught.value.public


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


def tamper(bench: Bench, statement: str) -> None:
    with bench.registry.database.write() as connection:
        connection.exec_driver_sql(statement)


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("UPDATE approvals SET reason = 'forged'", "changed past this server"),
        ("UPDATE approvals SET actor = 'eve'", "changed past this server"),
        ("UPDATE approvals SET requirements = 2", "changed past this server"),
        ("UPDATE evidence SET document = replace(document, '0.85', '0.95')", "evidence is another"),
        ("DELETE FROM evidence", "no evidence"),
        (
            "UPDATE requirements SET document = replace(document, '0.8', '0.1')",
            "requirements 1 were changed past this server",
        ),
        ("DELETE FROM approvals", "has not approved it"),
    ],
)
def test_an_approval_whose_grounds_are_tampered_with_holds_no_longer(
    bench: Bench, version: VersionRecord, statement: str, why: str
) -> None:
    require(bench, "accuracy >= 0.8", sponsor="ada")
    evaluate(bench, version, 0.85)
    decide(bench, "approve")
    tamper(bench, statement)
    assert why in refusal(bench, version, "approved")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE versions SET state = 'published'",
        "UPDATE versions SET digest = 'sha256:" + "0" * 64 + "'",
        "UPDATE versions SET seal = NULL",
        'UPDATE versions SET seal = replace(seal, \'"approver":""\', \'"approver":"ada"\')',
    ],
)
def test_what_was_changed_in_the_database_is_not_sealed_again(
    bench: Bench, version: VersionRecord, statement: str
) -> None:
    tamper(bench, statement)
    with pytest.raises(TollwayError) as caught:
        bench.registry.lifecycle.set_loaded("credit", 1, False)
    assert "changed past this server" in caught.value.public


def reseal(bench: Bench, *, first: bool, sealer: Sealer | None = None) -> tuple[int, int]:
    """What a start of control seals and doubts."""
    sealer = sealer or Sealer.for_itself()
    seal_with(bench.registry.database, sealer)
    done = seal_all(bench.registry.database, sealer, bench.clock, first=first)
    return done.sealed, done.doubted


def test_versions_from_before_there_were_seals_are_sealed_once(
    bench: Bench, version: VersionRecord
) -> None:
    sealer = Sealer.for_itself()
    bench.publish()
    tamper(bench, "UPDATE versions SET seal = NULL")
    assert reseal(bench, first=True, sealer=sealer) == (2, 0)
    assert reseal(bench, first=False, sealer=sealer) == (0, 0)
    assert bench.registry.lifecycle.set_loaded("credit", 1, False).seal is not None


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE versions SET seal = NULL, state = 'published'",
        "UPDATE versions SET seal = NULL, manifest = replace(manifest, 'credit', 'debit')",
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_version_whose_seal_was_taken_away_gets_none_for_another_state_or_manifest(
    bench: Bench, version: VersionRecord, statement: str, first: bool
) -> None:
    tamper(bench, statement)
    assert reseal(bench, first=first) == (0, 1)


INSERTED = (
    "INSERT INTO versions (model, number, digest, manifest, state, loaded, created_at, created_by)"
    " SELECT model, 2, digest, manifest, 'published', loaded, created_at, created_by FROM versions"
)
HISTORY = (
    "INSERT INTO transitions (model, number, to_state, actor, reason, digest, at)"
    " SELECT model, 2, 'published', actor, reason, digest, at FROM transitions LIMIT 1"
)


@pytest.mark.parametrize("first", [True, False])
def test_a_version_that_was_written_into_the_database_is_never_sealed(
    bench: Bench, version: VersionRecord, first: bool
) -> None:
    """Neither by a later start, nor by the first of another control that has the key."""
    sealer = Sealer.for_itself()
    tamper(bench, "UPDATE versions SET seal = NULL")
    assert reseal(bench, first=True, sealer=sealer) == (1, 0)
    tamper(bench, INSERTED)
    tamper(bench, HISTORY)
    assert reseal(bench, first=first, sealer=sealer) == (0, 1)
    with bench.registry.database.read() as connection:
        found = version_store.get(connection, "credit", 2)
    assert found is not None
    assert found.seal is None


def put_back(bench: Bench, record: VersionRecord) -> None:
    """Write an earlier record, with its genuine seal, over the present one."""
    with bench.registry.database.write() as connection:
        connection.exec_driver_sql(
            f"UPDATE versions SET state = '{record.state}', seal ="
            f" '{msgspec.json.encode(record.seal).decode()}'"
        )


@pytest.fixture
def withdrawn(bench: Bench, version: VersionRecord) -> VersionRecord:
    """A retired version; as it was when it was published."""
    step(bench, version, "approved")
    published = step(bench, version, "published")
    step(bench, version, "deprecated")
    step(bench, version, "retired")
    return published


@pytest.mark.parametrize("forgotten", ["", "DELETE FROM transitions WHERE to_state = 'retired'"])
def test_an_earlier_record_of_a_withdrawn_version_is_not_sealed_again(
    bench: Bench, withdrawn: VersionRecord, forgotten: str
) -> None:
    put_back(bench, withdrawn)
    if forgotten:
        tamper(bench, forgotten)
    with pytest.raises(
        TollwayError, match=r"is (retired|deprecated) by its history, not published"
    ):
        bench.registry.lifecycle.set_loaded("credit", 1, True)


def test_where_the_history_was_cut_the_audit_log_still_says_that_it_was_withdrawn(
    bench: Bench, withdrawn: VersionRecord
) -> None:
    put_back(bench, withdrawn)
    tamper(bench, "DELETE FROM transitions WHERE to_state IN ('deprecated', 'retired')")
    with pytest.raises(TollwayError, match=r"is retired with digest sha256:.* by the audit log"):
        bench.registry.lifecycle.set_loaded("credit", 1, True)


def test_another_key_seals_no_earlier_record(bench: Bench) -> None:
    old, new = (SigningKey(new_signing_key().encode(), "a key") for _ in range(2))
    seal_with(bench.registry.database, Sealer(old, PublicKeys([old.public_pem])))
    validated = step(bench, bench.publish(), "validated")
    step(bench, validated, "rejected")
    put_back(bench, validated)
    sealer = Sealer(new, PublicKeys([old.public_pem, new.public_pem]))
    assert reseal(bench, first=False, sealer=sealer) == (0, 1)


def test_what_was_collected_is_still_known_to_be_retired(
    bench: Bench, withdrawn: VersionRecord
) -> None:
    """The newest entry of the log about it tells of its blobs, and nothing of its state."""
    tamper(bench, "UPDATE versions SET state = 'published', seal = NULL")
    tamper(bench, "DELETE FROM transitions WHERE to_state IN ('deprecated', 'retired')")
    with bench.registry.database.write() as connection:
        audit.record(connection, "version.artifact_released", "version", "credit/1", at_ms=1)
    assert reseal(bench, first=True) == (0, 1)


def test_another_key_seals_what_the_earlier_one_had_sealed(bench: Bench) -> None:
    registry = bench.registry
    old, new = (SigningKey(new_signing_key().encode(), "a key") for _ in range(2))
    seal_with(registry.database, Sealer(old, PublicKeys([old.public_pem])))
    bench.publish()
    tamper(bench, "UPDATE versions SET loaded = (1 = 0)")
    sealer = Sealer(new, PublicKeys([old.public_pem, new.public_pem]))
    assert reseal(bench, first=False, sealer=sealer) == (1, 0)
    with registry.database.read() as connection:
        found = version_store.get(connection, "credit", 1)
    assert found is not None
    assert found.seal is not None
    assert found.seal.signer == new.id
