"""Data contracts: what breaks them, in the words that callers get, and what is counted."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.configuration import ColumnRule
from protocol.errors import Code, TollwayError
from protocol.manifest import Column, Tensor
from serving.contract import MAX_COUNTED
from serving.tensors import Array
from tests.serving.contracts import call, contract

FLOATS = ("FP16", "FP32", "FP64")
INTEGERS = ("INT8", "UINT8", "INT32", "INT64", "UINT64")


def naive(rule: ColumnRule, values: list[Any], kind: Any) -> dict[str, int]:
    """What breaks a rule of numbers, value by value."""
    found = dict.fromkeys(("nulls", "minimum", "maximum", "categories"), 0)
    for value in values:
        if isinstance(value, float) and math.isnan(value):
            found["nulls"] += not rule.nulls
            continue
        if rule.minimum is not None and value < kind(rule.minimum):
            found["minimum"] += 1
        if rule.maximum is not None and value > kind(rule.maximum):
            found["maximum"] += 1
        if rule.categories is not None and value not in {kind(float(c)) for c in rule.categories}:
            found["categories"] += 1
    return {name: count for name, count in found.items() if count}


@st.composite
def cases(draw: st.DrawFn) -> tuple[str, list[ColumnRule], Array]:
    """A datatype, rules of three columns, and rows of them."""
    datatype = draw(st.sampled_from(FLOATS + INTEGERS))
    name = {"FP16": "float16", "FP32": "float32", "FP64": "float64"}.get(datatype)
    kind = np.dtype(name or datatype.lower())
    if name:
        numbers: Any = st.floats(width=16, allow_nan=True)
        bounds: Any = st.floats(-1000, 1000)
    else:
        least, most = int(np.iinfo(kind).min), int(np.iinfo(kind).max)
        numbers = st.one_of(st.integers(max(least, -9), 9), st.sampled_from([least, most]))
        bounds = st.one_of(st.floats(-12, 12), st.sampled_from([-1e30, 1e30]))
    limit = st.one_of(st.none(), bounds)
    categories = st.one_of(st.none(), st.lists(st.integers(0, 9).map(str), max_size=4).map(tuple))
    rules = [
        ColumnRule(
            column=f"c{index}",
            minimum=draw(limit),
            maximum=draw(limit),
            categories=draw(categories),
            nulls=draw(st.booleans()),
        )
        for index in draw(st.sets(st.integers(0, 2)))
    ]
    rows = draw(st.lists(st.lists(numbers, min_size=3, max_size=3), max_size=6))
    return datatype, rules, np.array(rows, kind).reshape(len(rows), 3)


@given(cases())
def test_what_is_found_is_what_a_look_at_every_value_finds(
    case: tuple[str, list[ColumnRule], Array],
) -> None:
    datatype, rules, rows = case
    columns = tuple(
        Column(name=f"c{index}", type="float", input="x", index=index) for index in range(3)
    )
    shape = Tensor(name="x", datatype=datatype, shape=(-1, 3))
    made, tally = contract(*rules, inputs=(shape,), columns=columns, mode="warn")

    def kind(value: float) -> Any:
        with np.errstate(over="ignore"):
            return rows.dtype.type(value) if datatype in FLOATS else value

    wanted = {
        rule.column: broken
        for rule in rules
        if (broken := naive(rule, rows[:, int(rule.column[1:])].tolist(), kind))
    }
    kept = made.check(call(rows))

    assert kept is (wanted == {})
    assert tally.values == wanted


@given(
    values=st.lists(st.sampled_from(["", "north", "south", "None", "x"]), min_size=1, max_size=5),
    categories=st.one_of(st.none(), st.sets(st.sampled_from(["", "north", "south"]))),
    nulls=st.booleans(),
    null=st.sampled_from([None, "", "None"]),
)
def test_text_is_found_as_a_look_at_every_value_finds_it(
    values: list[str], categories: set[str] | None, nulls: bool, null: str | None
) -> None:
    rule = ColumnRule(
        column="c", categories=None if categories is None else tuple(categories), nulls=nulls
    )
    shape = Tensor(name="c", datatype="BYTES", shape=(-1, 1))
    columns = (Column(name="c", type="string", input="c", null=null),)
    made, tally = contract(rule, inputs=(shape,), columns=columns, mode="warn")
    missing = sum(value == null for value in values)
    strange = sum(
        value != null and categories is not None and value not in categories for value in values
    )
    wanted = {"nulls": 0 if nulls else missing, "categories": strange}

    kept = made.check(call(np.array(values, object).reshape(-1, 1)))

    assert kept is not any(wanted.values())
    found = tally.values.get("c", {})
    assert found == {name: count for name, count in wanted.items() if count}


def test_a_value_that_equals_its_limit_is_within_it_in_every_type() -> None:
    for datatype, kind in (("FP16", np.float16), ("FP32", np.float32), ("FP64", np.float64)):
        rule = ColumnRule(column="x", minimum=0.1, maximum=0.1)
        made, _ = contract(rule, inputs=(Tensor(name="x", datatype=datatype, shape=(-1,)),))
        assert made.check(call(np.array([0.1], kind)))
        with pytest.raises(TollwayError):
            made.check(call(np.array([0.1], kind) * kind(1.01)))


def test_bf16_is_compared_by_the_numbers_that_its_bits_are() -> None:
    rule = ColumnRule(column="x", minimum=-2.0, maximum=0.1, nulls=False)
    made, _ = contract(rule, inputs=(Tensor(name="x", datatype="BF16", shape=(-1,)),))

    def bits(*values: float) -> Array:
        return (np.array(values, np.float32).view(np.uint32) >> 16).astype(np.uint16)

    assert made.check(call(bits(-2.0, 0.0, 0.0625)))
    assert made.check(call(np.array([0x3DCD], np.uint16))), "0.1 rounded to BF16"
    for wrong in (0.125, -3.0, math.nan):
        with pytest.raises(TollwayError):
            made.check(call(bits(0.0, wrong)))


def test_an_optional_input_that_is_left_out_is_missing() -> None:
    inputs = (
        Tensor(name="x", datatype="FP32", shape=(-1,)),
        Tensor(name="y", datatype="FP32", shape=(-1,), optional=True),
    )
    free, _ = contract(ColumnRule(column="y", minimum=0), inputs=inputs)
    needed, _ = contract(ColumnRule(column="y", nulls=False), inputs=inputs)
    rows = np.array([1.0], np.float32)

    assert free.check(call(rows, None))
    with pytest.raises(TollwayError, match="row 0, input 'y': it is missing"):
        needed.check(call(rows, None))


def test_a_rule_that_the_version_cannot_be_held_to_is_named_and_the_others_hold() -> None:
    inputs = (
        Tensor(name="age", datatype="FP32", shape=(-1, 1)),
        Tensor(name="city", datatype="BYTES", shape=(-1, 1)),
    )
    rules = (
        ColumnRule(column="gone", minimum=0),
        ColumnRule(column="city", maximum=3),
        ColumnRule(column="age", maximum=3),
    )
    made, tally = contract(*rules, inputs=inputs, mode="warn")

    assert made.unmatched == [
        "the version has no column 'gone'",
        "input 'city' is text, which has no minimum or maximum",
    ]
    rows = call(np.array([[4]], np.float32), np.array([["x"]], object))
    assert not made.check(rows)
    assert tally.values == {"age": {"maximum": 1}}


def test_an_error_names_the_first_rows_and_counts_the_others() -> None:
    made, _ = contract(
        ColumnRule(column="x", maximum=120),
        inputs=(Tensor(name="x", datatype="FP32", shape=(-1,)),),
    )
    with pytest.raises(TollwayError) as refused:
        made.check(call(np.array([1, 2, 3, 151, 200, 7], np.float32)))

    assert refused.value.code is Code.CONTRACT_VIOLATION
    assert refused.value.public == (
        "row 3, input 'x': 151 is above the maximum 120 "
        "(and 1 more values outside of the data contract)"
    )


def test_an_error_stays_short_whatever_is_sent() -> None:
    categories = tuple(f"category-{index}" * 50 for index in range(1000))
    rules = [ColumnRule(column=f"c{index}", categories=categories) for index in range(50)]
    inputs = tuple(Tensor(name=rule.column, datatype="BYTES", shape=(-1,)) for rule in rules)
    made, _ = contract(*rules, inputs=inputs)

    with pytest.raises(TollwayError) as refused:
        made.check(call(*(np.array(["x" * 10_000] * 100, object) for _ in rules)))

    assert len(refused.value.public) < 6000


def test_what_is_counted_apart_is_bounded() -> None:
    rules = [ColumnRule(column=f"c{index}", maximum=0) for index in range(MAX_COUNTED + 50)]
    inputs = tuple(Tensor(name=rule.column, datatype="FP32", shape=(-1,)) for rule in rules)
    made, tally = contract(*rules, inputs=inputs, mode="warn")

    made.check(call(*(np.array([1.0], np.float32) for _ in rules)))

    assert len(tally.values) == MAX_COUNTED + 1
    assert tally.values[""] == {"other": 50}


shapes = st.lists(st.sampled_from([-1, 1, 2, 3]), max_size=3).map(tuple)


@given(st.data())
def test_no_shape_makes_the_check_fail(data: st.DataObject) -> None:
    """Whatever a model's inputs and a contract are: a request is held to it, or refused by it."""
    inputs, columns, feeds = [], [], []
    for number in range(data.draw(st.integers(1, 3))):
        name, shape = f"i{number}", data.draw(shapes)
        datatype = data.draw(st.sampled_from(["FP32", "BF16", "INT8", "BOOL", "BYTES"]))
        optional = data.draw(st.booleans())
        inputs.append(Tensor(name=name, datatype=datatype, shape=shape, optional=optional))
        places = data.draw(st.sets(st.sampled_from([None, 0, 1, 4])))
        columns += [Column(name=f"{name}.{i}", type="float", input=name, index=i) for i in places]
        sizes = [data.draw(st.integers(0, 3)) if size < 0 else size for size in shape]
        kind = {"BYTES": object, "FP32": np.float32, "BF16": np.uint16, "INT8": np.int8}
        feed = np.zeros(sizes, kind.get(datatype, np.bool_))
        if datatype == "BYTES":
            feed.fill("x")
        feeds.append(None if optional and data.draw(st.booleans()) else feed)
    names = [column.name for column in columns] + [one.name for one in inputs]
    rules = [
        ColumnRule(
            column=name,
            minimum=data.draw(st.sampled_from([None, -1, 1, 1e9])),
            categories=data.draw(st.sampled_from([None, ("0",), ("x", "true")])),
            nulls=data.draw(st.booleans()),
        )
        for name in names
    ]
    warning, tally = contract(*rules, inputs=tuple(inputs), columns=tuple(columns), mode="warn")
    enforced, _ = contract(*rules, inputs=tuple(inputs), columns=tuple(columns))

    kept = warning.check(call(*feeds))

    assert kept is (tally.values == {})
    if kept:
        assert enforced.check(call(*feeds))
    else:
        with pytest.raises(TollwayError):
            enforced.check(call(*feeds))
