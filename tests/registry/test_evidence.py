"""Evidence is added once, never changed, and counts for one manifest only."""

import msgspec
import pytest
import sqlalchemy as sa

from protocol.errors import Code, TollwayError
from protocol.evidence import Evidence, Measured, SegmentEvidence, evidence_digest
from protocol.manifest import sha256_digest
from registry import evidence as domain
from registry.store import evidence as store
from registry.store.audit import audit
from registry.store.tables import evidence as table
from registry.store.versions import VersionRecord
from tests.registry.conftest import Bench, Crowd


def of(version: VersionRecord, value: float = 0.9, **more: object) -> Evidence:
    fields = {
        "model": version.model,
        "version": version.number,
        "manifest_digest": version.digest,
        "rows": 100,
        "rows_digest": sha256_digest(b"rows"),
        "main_metric": "accuracy",
        "metrics": {"accuracy": Measured(value=value, low=value - 0.1, high=1.0)},
    }
    return Evidence(**fields | more)  # type: ignore[arg-type]


def test_evidence_comes_back_as_it_was_given(bench: Bench) -> None:
    version = bench.publish()
    given = of(
        version,
        segments=(SegmentEvidence(segment="age<30", rows=7, metrics={"f1": Measured(value=1)}),),
        libraries={"numpy": "2"},
    )

    added, created = bench.registry.evidence.add(given, actor="ann")

    assert created
    assert added.digest == given.digest()
    again = bench.registry.evidence.get("credit", 1, added.digest)
    assert again == added
    assert again.evidence.digest() == added.digest


def test_the_same_evidence_twice_is_there_once_and_audited_once(bench: Bench) -> None:
    version = bench.publish()

    first, _ = bench.registry.evidence.add(of(version), actor="ann")
    second, created = bench.registry.evidence.add(of(version), actor="bob")

    assert (second, created) == (first, False)
    with bench.registry.database.read() as connection:
        query = sa.select(audit.c.key, audit.c.after).where(audit.c.action == "evidence.added")
        [(key, after)] = connection.execute(query).all()
    assert key == f"credit/1/{first.digest}"
    assert msgspec.json.decode(after)["value"] == 0.9


def test_many_who_add_the_same_evidence_at_once_add_it_once(bench: Bench, crowd: Crowd) -> None:
    version = bench.publish()

    results = crowd(6, lambda _: bench.registry.evidence.add(of(version), actor="ann"))

    assert sorted(created for _, created in results) == [False] * 5 + [True]
    assert len({record.id for record, _ in results}) == 1


def test_evidence_of_another_manifest_is_refused(bench: Bench) -> None:
    version = bench.publish()
    other = of(version, manifest_digest=sha256_digest(b"other"))

    with pytest.raises(TollwayError, match="evaluate this version") as refused:
        bench.registry.evidence.add(other, actor="ann")

    assert refused.value.code is Code.CONFLICT


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"version": 2}, Code.VERSION_NOT_FOUND),
        ({"model": "nobody"}, Code.MODEL_NOT_FOUND),
        ({"libraries": {"x": "y" * domain.MAX_DOCUMENT_BYTES}}, Code.TOO_LARGE),
    ],
)
def test_evidence_of_nothing_or_without_bound_is_refused(
    small_bench: Bench, change: dict[str, object], code: Code
) -> None:
    version = small_bench.publish()

    with pytest.raises(TollwayError) as refused:
        small_bench.registry.evidence.add(
            msgspec.structs.replace(of(version), **change), actor="ann"
        )

    assert refused.value.code is code


def test_a_version_has_so_many_evaluations_and_no_more(
    small_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(domain, "MAX_EVALUATIONS", 2)
    version = small_bench.publish()
    for value in (0.1, 0.2):
        small_bench.registry.evidence.add(of(version, value), actor="ann")

    with pytest.raises(TollwayError, match="the most that are kept") as refused:
        small_bench.registry.evidence.add(of(version, 0.3), actor="ann")

    assert refused.value.code is Code.CONFLICT
    assert not small_bench.registry.evidence.add(of(version, 0.2), actor="ann")[1]


def test_evidence_is_read_by_pages_oldest_first(small_bench: Bench) -> None:
    version = small_bench.publish()
    added = [
        small_bench.registry.evidence.add(of(version, value), actor="ann")[0]
        for value in (0.3, 0.1, 0.2)
    ]

    first = small_bench.registry.evidence.page("credit", 1, 0, 2)

    assert first == added[:2]
    assert small_bench.registry.evidence.page("credit", 1, first[-1].id, 2) == added[2:]


def test_the_digest_of_all_evidence_is_of_its_parts_in_any_order_and_of_no_other_version(
    bench: Bench,
) -> None:
    version, other = bench.publish(), bench.publish()
    bench.registry.evidence.add(of(other), actor="ann")
    assert bench.registry.evidence.digest("credit", 1) == evidence_digest([])

    given = [of(version, value) for value in (0.3, 0.1)]
    for one in given:
        bench.registry.evidence.add(one, actor="ann")

    wanted = evidence_digest([one.digest() for one in reversed(given)])
    assert bench.registry.evidence.digest("credit", 1) == wanted
    with bench.registry.database.read() as connection:
        stored = [store.document(connection, id) for id in store.ids(connection, "credit", 1)]
        assert stored == [one.canonical() for one in given]
        assert store.digest_of(connection, "credit", 1) == wanted


def test_a_document_that_was_tampered_with_changes_the_digest_of_all(small_bench: Bench) -> None:
    version = small_bench.publish()
    small_bench.registry.evidence.add(of(version), actor="ann")
    before = small_bench.registry.evidence.digest("credit", 1)

    with small_bench.registry.database.write() as connection:
        better = of(version, 0.99).canonical().decode()
        connection.execute(sa.update(table).values(document=better))

    assert small_bench.registry.evidence.digest("credit", 1) != before
