"""A rule that holds for none of a model's versions is told, and no other."""

from protocol.configuration import ColumnRule, ContractDoc
from protocol.manifest import Blob, Column, Manifest, Remote, Tensor
from registry.contract_warnings import MAX_WARNINGS, contract_warnings

ARTIFACT = Blob(digest="sha256:" + "0" * 64, size=1)
FRAME = Manifest(
    model="risk",
    artifact=ARTIFACT,
    inputs=(
        Tensor(name="numbers", datatype="FP32", shape=(-1, 2)),
        Tensor(name="city", datatype="BYTES", shape=(-1, 1)),
    ),
    outputs=(),
    columns=(
        Column(name="age", type="float", input="numbers", index=0),
        Column(name="income", type="float", input="numbers", index=1),
        Column(name="city", type="string", input="city"),
    ),
)
TENSOR = Manifest(
    model="risk",
    artifact=ARTIFACT,
    inputs=(Tensor(name="x", datatype="FP32", shape=(-1, 4)),),
    outputs=(),
)
REMOTE = Manifest(
    model="risk",
    platform="open_inference_remote",
    remote=Remote(url="http://127.0.0.1:1", model="risk"),
    inputs=TENSOR.inputs,
    outputs=(),
)


def warned(*rules: ColumnRule, versions: tuple[Manifest, ...] = (FRAME, TENSOR)) -> list[str]:
    return contract_warnings(ContractDoc(mode="warn", rules=rules), versions)


def test_what_one_version_has_is_enough() -> None:
    rules = (
        ColumnRule(column="age", minimum=0.0),
        ColumnRule(column="city", categories=("Kyiv",)),
        ColumnRule(column="numbers", nulls=False),
        ColumnRule(column="x", maximum=1.0),
    )
    assert warned(*rules) == []


def test_a_misspelt_column_is_told_with_what_may_be_meant() -> None:
    [said] = warned(ColumnRule(column="agee", minimum=0.0), ColumnRule(column="income"))
    assert said.startswith("contract: no version has a column or an input 'agee'")
    assert said.endswith("did you mean 'age'?")
    [said] = warned(ColumnRule(column="postcode"))
    assert "mean" not in said


def test_limits_of_text_are_told() -> None:
    [said] = warned(ColumnRule(column="city", minimum=0.0))
    assert "column 'city' is text, which has no minimum or maximum" in said


def test_a_model_that_remote_servers_answer_for_is_not_held_to_a_contract() -> None:
    [said] = warned(ColumnRule(column="nothing"), versions=(REMOTE, REMOTE))
    assert "remote servers answer for every version" in said
    [said] = warned(ColumnRule(column="x"), versions=(REMOTE, TENSOR))
    assert said.endswith("of which this model has 1")


def test_nothing_is_said_where_nothing_is_known() -> None:
    assert warned(ColumnRule(column="agee"), versions=()) == []
    assert contract_warnings(None, (FRAME,)) == []


def test_warnings_are_bounded() -> None:
    found = warned(*(ColumnRule(column="x" * number) for number in range(2, 200)))
    assert len(found) == MAX_WARNINGS + 1
    assert found[-1] == "contract: and 178 more like these"
