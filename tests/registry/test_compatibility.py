"""What callers of one version could trip over at another."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.manifest import Blob, Column, Manifest, Tensor
from registry.compatibility import differences

TYPES = ("FP32", "FP64", "INT64", "BYTES")
names = st.sampled_from("abcdef")
shapes = st.lists(st.sampled_from([-1, 1, 2, 3]), min_size=1, max_size=3).map(tuple)


@st.composite
def tensors(draw: st.DrawFn) -> tuple[Tensor, ...]:
    found = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    return tuple(
        Tensor(
            name=name,
            datatype=draw(st.sampled_from(TYPES)),
            shape=draw(shapes),
            optional=draw(st.booleans()),
        )
        for name in found
    )


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    inputs = draw(tensors())
    columns = tuple(
        Column(
            name=f"column-{name}",
            type=draw(st.sampled_from(["float", "integer", "string"])),
            input=draw(st.sampled_from([tensor.name for tensor in inputs])),
            null=draw(st.sampled_from([None, ""])),
        )
        for name in draw(st.lists(names, max_size=4, unique=True))
    )
    labels = draw(st.lists(st.one_of(st.integers(0, 3), st.sampled_from("xyz")), unique=True))
    return Manifest(
        model="m",
        artifact=Blob(digest="sha256:0", size=1),
        inputs=inputs,
        outputs=draw(tensors()),
        columns=columns,
        labels=tuple(labels),
    )


@given(manifests())
def test_a_version_can_take_its_own_place(manifest: Manifest) -> None:
    assert differences(manifest, manifest) == []


@given(manifests(), st.randoms())
def test_the_order_of_inputs_columns_and_outputs_means_nothing(
    manifest: Manifest, random: Any
) -> None:
    shuffled = {
        field: tuple(random.sample(getattr(manifest, field), len(getattr(manifest, field))))
        for field in ("inputs", "columns", "outputs")
    }
    assert differences(manifest, msgspec.structs.replace(manifest, **shuffled)) == []


@given(manifests(), tensors())
def test_more_that_may_be_left_out_breaks_nobody(manifest: Manifest, more: Any) -> None:
    new = tuple(msgspec.structs.replace(one, name=f"new-{one.name}", optional=True) for one in more)
    wider = msgspec.structs.replace(manifest, inputs=manifest.inputs + new)
    assert differences(manifest, wider) == []


@given(manifests(), tensors())
def test_outputs_are_added_freely_where_there_are_several(manifest: Manifest, more: Any) -> None:
    new = tuple(msgspec.structs.replace(one, name=f"new-{one.name}") for one in more)
    richer = msgspec.structs.replace(manifest, outputs=manifest.outputs + new)
    assert bool(differences(manifest, richer)) == (len(manifest.outputs) == 1)


@given(manifests(), st.data())
def test_each_thing_removed_is_told(manifest: Manifest, data: st.DataObject) -> None:
    for field, kind in (("inputs", "input"), ("outputs", "output"), ("columns", "column")):
        had = getattr(manifest, field)
        if not had:
            continue
        gone = data.draw(st.sampled_from(had))
        left = tuple(one for one in had if one is not gone)
        found = differences(manifest, msgspec.structs.replace(manifest, **{field: left}))
        assert f"{kind} '{gone.name}' is removed" in found


@given(manifests(), st.data())
def test_each_thing_retyped_is_told(manifest: Manifest, data: st.DataObject) -> None:
    for field, kind in (("inputs", "input"), ("outputs", "output")):
        had = getattr(manifest, field)
        changed = data.draw(st.sampled_from(had))
        other = data.draw(st.sampled_from([t for t in TYPES if t != changed.datatype]))
        now = tuple(
            msgspec.structs.replace(one, datatype=other) if one is changed else one for one in had
        )
        found = differences(manifest, msgspec.structs.replace(manifest, **{field: now}))
        assert found == [f"{kind} '{changed.name}' is {other}, was {changed.datatype}"]


@given(manifests(), manifests(), manifests())
def test_what_breaks_nobody_twice_breaks_nobody_at_once(
    first: Manifest, second: Manifest, third: Manifest
) -> None:
    if not differences(first, second) and not differences(second, third):
        assert differences(first, third) == []


BASE = Manifest(
    model="m",
    task="classification",
    artifact=Blob(digest="sha256:0", size=1),
    inputs=(Tensor(name="input", datatype="FP32", shape=(-1, 2)),),
    outputs=(
        Tensor(name="label", datatype="BYTES", shape=(-1,)),
        Tensor(name="probabilities", datatype="FP32", shape=(-1, 2)),
    ),
    columns=(
        Column(name="age", type="float", input="input", index=0),
        Column(name="income", type="float", input="input", index=1),
    ),
    labels=("no", "yes"),
)
THIRD = Column(name="x", type="float", input="input", index=2)
TEXT = Column(name="income", type="string", input="input", index=1)
WIDE = (Tensor(name="input", datatype="FP32", shape=(-1, 3)),)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"inputs": WIDE, "columns": (*BASE.columns, THIRD)},
            ["input 'input' has shape [-1, 3], had [-1, 2]", "column 'x' is new and required"],
        ),
        (
            {"columns": (BASE.columns[0], TEXT)},
            ["column 'income' is string, was float"],
        ),
        (
            {
                "columns": (
                    Column(name="income", type="float", input="input", index=0),
                    Column(name="age", type="float", input="input", index=1),
                )
            },
            [
                "column 'age' is in 'input'[1], was in 'input'[0]",
                "column 'income' is in 'input'[0], was in 'input'[1]",
            ],
        ),
        ({"columns": ()}, ["column 'age' is removed", "column 'income' is removed"]),
        ({"labels": ("yes", "no")}, ["classes are in the order 'yes', 'no', were 'no', 'yes'"]),
        ({"labels": ("no", "yes", "?")}, ["classes '?' are new"]),
        ({"labels": ("no",)}, ["classes 'yes' are removed"]),
        ({"labels": (0, 1)}, ["classes 'no', 'yes' are removed", "classes 0, 1 are new"]),
        ({"task": "regression"}, ["the task is regression, was classification"]),
        ({"task": "unknown"}, []),
        ({"inputs": (Tensor(name="input", datatype="FP32", shape=(-1, -1)),)}, []),
        ({"description": "better"}, []),
    ],
)  # fmt: skip
def test_differences_are_told_in_words(change: dict[str, Any], told: list[str]) -> None:
    assert differences(BASE, msgspec.structs.replace(BASE, **change)) == told


def test_a_number_is_another_class_than_the_same_number_of_another_type() -> None:
    present = msgspec.structs.replace(BASE, labels=(0, 1))
    assert differences(present, msgspec.structs.replace(BASE, labels=(False, True)))
    assert differences(present, msgspec.structs.replace(BASE, labels=(0.0, 1.0)))


def test_a_string_that_could_be_missing_must_not_be_demanded() -> None:
    column = Column(name="city", type="string", input="city", null="")
    tensor = Tensor(name="city", datatype="BYTES", shape=(-1, 1))
    present = msgspec.structs.replace(BASE, inputs=(tensor,), columns=(column,))
    stricter = msgspec.structs.replace(
        present, columns=(msgspec.structs.replace(column, null=None),)
    )
    assert differences(present, stricter) == ["column 'city' must have a value, could be missing"]
    assert differences(stricter, present) == []


def test_one_output_alone_is_answered_bare_so_that_a_second_one_breaks_callers() -> None:
    present = msgspec.structs.replace(BASE, outputs=BASE.outputs[:1])
    (found,) = differences(present, BASE)
    assert "'probabilities' is new" in found
