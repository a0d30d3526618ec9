"""Requirements: versions of an agreement that never change, and who may change what holds."""

from typing import Any

import msgspec
import pytest

from protocol.configuration import ColumnRule, ContractDoc, ModelDoc
from protocol.errors import Code, TollwayError
from protocol.requirements import Constraints, Requirements
from registry.access import INSTALLATION, Actor
from registry.requirements import requirements_etag
from registry.store import changes
from registry.store import requirements as store
from tests.registry.conftest import Bench

ANN = Actor("ann", "publisher")
ADA = Actor("ada", "sponsor")


def put(bench: Bench, by: Actor = ANN, expected: str | None = None, **fields: Any) -> int:
    given = Requirements(**fields)
    record, _ = bench.registry.requirements.put("credit", given, by=by, expected=expected)
    return record.number


@pytest.fixture
def model(bench: Bench) -> Bench:
    bench.registry.models.put("credit")
    return bench


def test_every_change_is_the_next_version_and_earlier_ones_stay(model: Bench) -> None:
    assert put(model, problem="who pays back") == 1
    assert put(model, problem="who pays back", criteria=("accuracy>0.9",)) == 2
    book = model.registry.requirements
    assert book.present("credit").requirements.criteria == ("accuracy > 0.9",)
    assert book.get("credit", 1).requirements.criteria == ()
    assert [one.number for one in book.page("credit", 0, 10)] == [1, 2]
    assert [one.number for one in book.page("credit", 1, 10)] == [2]


def test_what_says_the_same_is_no_new_version(model: Bench) -> None:
    put(model, criteria=("accuracy>=0.90",), segments={"young": "age < 30"})
    assert put(model, criteria=("accuracy >= .9",), segments={"young": "age<30.0"}) == 1


def test_expressions_are_kept_in_their_canonical_form(model: Bench) -> None:
    put(
        model,
        criteria=("recall[ segment=young ]>=.8", "recall[segment=young] >= 0.8"),
        segments={"young": "age < 30.0"},
    )
    kept = model.registry.requirements.present("credit")
    assert kept.requirements.criteria == ("recall[segment=young] >= 0.8",)
    assert kept.requirements.segments == {"young": "age<30"}
    assert kept.digest == kept.requirements.digest()


def test_contract_and_segments_reach_those_who_serve(model: Bench) -> None:
    contract = ContractDoc(mode="enforce", rules=(ColumnRule(column="age", minimum=0.0),))
    put(model, contract=contract, segments={"young": "age<30"})
    with model.registry.database.read() as connection:
        text = changes.newest(connection, "model", "credit")
    assert text is not None
    document = msgspec.json.decode(text, type=ModelDoc)
    assert (document.contract, document.segments) == (contract, {"young": "age<30"})


def test_a_change_can_be_made_conditional(model: Bench) -> None:
    put(model, expected="", problem="a")
    with pytest.raises(TollwayError) as caught:
        put(model, expected="", problem="b")
    assert caught.value.code is Code.PRECONDITION_FAILED
    etag = requirements_etag(model.registry.requirements.present("credit"))
    assert put(model, expected=etag, problem="b") == 2
    with pytest.raises(TollwayError):
        put(model, expected=etag, problem="c")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"criteria": ("accuracy >= 0.9", "accuracy = 1")}, "criteria, item 2: criterion, chara"),
        ({"criteria": ("recall[segment=old] > 0",)}, "none of the segments defined here: none"),
        ({"criteria": ("beats(stable, novelty, holdout)",)}, "larger or a smaller 'novelty'"),
        ({"segments": {"young": "age <"}}, "segments, young: condition, character 6"),
        ({"segments": {"1st": "age<3"}}, "is not a word"),
        (
            {"contract": (ColumnRule(column="a", minimum=2.0, maximum=1.0),)},
            "'a' has no value between 2 and 1",
        ),
        ({"contract": (ColumnRule(column="a"), ColumnRule(column="a"))}, "two rules"),
        (
            {"contract": (ColumnRule(column="a", minimum=0.0, categories=("x",)),)},
            "range and categories",
        ),
        ({"contract": (ColumnRule(column="a", categories=("x", "x")),)}, "category twice"),
    ],
)
def test_what_cannot_be_understood_is_refused_by_its_place(
    model: Bench, fields: dict[str, Any], problem: str
) -> None:
    if "contract" in fields:
        fields = {"contract": ContractDoc(mode="warn", rules=fields["contract"])}
    with pytest.raises(TollwayError) as caught:
        put(model, **fields)
    assert caught.value.code is Code.INVALID
    assert problem in caught.value.public


def test_requirements_have_a_largest_size(model: Bench) -> None:
    with pytest.raises(TollwayError) as caught:
        put(model, constraints=Constraints(technical=("x" * 2000,) * 200))
    assert caught.value.code is Code.TOO_LARGE


def test_a_publisher_cannot_take_the_sponsor_away(model: Bench) -> None:
    put(model, sponsor="ada", criteria=("accuracy > 0.9",))
    assert put(model, sponsor="ada", criteria=("accuracy > 0.8",)) == 2
    for sponsor in (None, "ann"):
        with pytest.raises(TollwayError) as caught:
            put(model, sponsor=sponsor)
        assert caught.value.code is Code.FORBIDDEN
    assert put(model, by=ADA, sponsor="bob") == 3
    assert put(model, by=INSTALLATION) == 4


def test_a_missing_model_or_version_is_told_apart(bench: Bench) -> None:
    with pytest.raises(TollwayError) as caught:
        bench.registry.requirements.present("credit")
    assert caught.value.code is Code.MODEL_NOT_FOUND
    bench.registry.models.put("credit")
    for look in (
        lambda: bench.registry.requirements.present("credit"),
        lambda: bench.registry.requirements.get("credit", 7),
    ):
        with pytest.raises(TollwayError) as caught:
            look()
        assert caught.value.code is Code.NOT_FOUND


def test_a_document_that_was_changed_in_the_database_has_another_digest(model: Bench) -> None:
    put(model, sponsor="ada")
    kept = model.registry.requirements.present("credit")
    database = model.registry.database
    with database.write() as connection:
        connection.exec_driver_sql(
            "UPDATE requirements SET document = replace(document, 'ada', 'eve')"
        )
    with database.read() as connection:
        found = store.present(connection, "credit")
    assert found is not None
    assert found.digest != kept.digest
