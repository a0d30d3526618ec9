"""Approvals and versions are held by seals: what was changed past this server holds no longer."""

import msgspec
import pytest

from protocol.errors import TollwayError
from registry.seals import Sealer, seal_all
from registry.store import audit
from registry.store import versions as version_store
from registry.store.sealing import seal_with
from registry.store.versions import VersionRecord
from runtime.signatures import PublicKeys, SigningKey, new_signing_key
from tests.registry.conftest import Bench
from tests.registry.gates import decide, evaluate, refusal, require, step


@pytest.fixture
def version(bench: Bench) -> VersionRecord:
    made = bench.publish()
    return step(bench, made, "validated")


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
