"""The V1 convention: rows, columns, and objects by column name."""

from typing import Any

import msgspec
import pytest

from protocol.manifest import Column
from tests.serving import models
from tests.serving.conftest import MakeRig

COLUMNS = (
    Column(name="age", type="float", input="age"),
    Column(name="city", type="string", input="city", null="<missing>"),
    Column(name="visits", type="integer", input="visits"),
    Column(name="member", type="boolean", input="member"),
)
ROW: dict[str, Any] = {"age": 1.5, "city": "Ulm", "visits": 3, "member": True}
ANSWER = {f"{name}_out": value for name, value in ROW.items()}
MATRIX = (
    Column(name="a", type="float", input="x", index=2),
    Column(name="b", type="boolean", input="x", index=0),
    Column(name="c", type="integer", input="x", index=1),
)


def test_one_output_gives_its_values(rig: MakeRig) -> None:
    made = rig(models.linear(2), task="regression")
    assert made.predict({"instances": [[1, 2], [3, 4]]}) == {"predictions": [2.5, 4.5]}
    assert made.predict({"inputs": [[1, 2], [3, 4]]}) == {"outputs": [2.5, 4.5]}
    assert made.predict({"inputs": {"input": [[1, 2]]}}) == {"outputs": [2.5]}


def test_an_output_of_an_unknown_task_keeps_its_shape(rig: MakeRig) -> None:
    assert rig(models.linear(2)).predict({"instances": [[1, 2]]}) == {"predictions": [[2.5]]}


def test_several_outputs_give_objects(rig: MakeRig) -> None:
    made = rig(models.classifier(), task="classification")
    rows = made.predict({"instances": [[0, 0, 9], [9, 0, 0]], "signature_name": "x"})
    assert [row["label"] for row in rows["predictions"]] == [2, 0]
    assert rows["predictions"][0]["probabilities"][2] > 0.99
    whole = made.predict({"inputs": [[0, 0, 9], [9, 0, 0]]})
    assert whole["outputs"]["label"] == [2, 0]


def test_rows_may_be_objects_by_column(rig: MakeRig) -> None:
    made = rig(models.columns(), columns=COLUMNS, task="classification")
    assert made.predict({"instances": [ROW, ROW]}) == {"predictions": [ANSWER, ANSWER]}


def test_rows_may_be_lists_in_column_order(rig: MakeRig) -> None:
    made = rig(models.columns(), columns=COLUMNS, task="classification")
    assert made.predict({"instances": [list(ROW.values())]}) == {"predictions": [ANSWER]}


def test_columns_may_come_whole(rig: MakeRig) -> None:
    made = rig(models.columns(), columns=COLUMNS, task="classification")
    expected = {"outputs": {name: [value, value] for name, value in ANSWER.items()}}
    assert made.predict({"inputs": {n: [v, v] for n, v in ROW.items()}}) == expected
    assert made.predict({"inputs": {n: [[v], [v]] for n, v in ROW.items()}}) == expected


def test_missing_values_are_nan_or_as_the_column_spells_them(rig: MakeRig) -> None:
    made = rig(models.columns(), columns=COLUMNS, task="classification")
    row = made.predict({"instances": [ROW | {"age": None, "city": None}]})["predictions"][0]
    assert (row["age_out"], row["city_out"]) == (None, "<missing>")
    error = made.predict_refused({"instances": [ROW, ROW | {"visits": None}]})
    assert error == "instances[1] column 'visits': null is not INT64"


def test_inputs_given_by_name_must_have_the_same_rows(rig: MakeRig) -> None:
    columns = tuple(msgspec.structs.replace(c, name=f"{c.name}_column") for c in COLUMNS)
    made = rig(models.columns(), columns=columns)
    inputs = {name: [[value]] for name, value in ROW.items()}
    assert "outputs" in made.predict({"inputs": inputs})
    error = made.predict_refused({"inputs": inputs | {"visits": [[1], [2], [3]]}})
    assert error == "inputs 'age' and 'visits' have 1 and 3 rows"


def test_columns_of_a_matrix_go_to_their_places(rig: MakeRig) -> None:
    made = rig(models.identity(), columns=MATRIX)
    expected = {"predictions": [[1.0, 7.0, 0.5]]}
    assert made.predict({"instances": [{"a": 0.5, "b": True, "c": 7}]}) == expected
    assert made.predict({"instances": [{"c": 7, "a": 0.5, "b": 1}]}) == expected
    assert made.predict({"inputs": {"a": [0.5], "b": [True], "c": [7]}})["outputs"] == [[1, 7, 0.5]]


def test_a_model_without_columns_takes_objects_by_input(rig: MakeRig) -> None:
    rows = rig(models.columns(), task="classification").predict(
        {"instances": [{name: [value] for name, value in ROW.items()}, ROW][:1]}
    )
    assert rows == {"predictions": [ANSWER]}


def test_scalars_may_stand_for_rows_of_one(rig: MakeRig) -> None:
    made = rig(models.parse_number(), task="regression")
    assert made.predict({"instances": ["1.5", "2"]}) == {"predictions": [1.5, 2.0]}
    made = rig(models.gather(), task="regression")
    assert made.predict({"instances": [2, 0]}) == {"predictions": [30.0, 10.0]}


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"instances": [ROW | {"x": 1}]}, "instances[0] has an unknown column 'x'"),
        ({"instances": [ROW, {"age": 1}]}, "instances[1]: column 'city' is missing"),
        ({"instances": [ROW | {"age": "abc"}]}, "instances[0] column 'age': 'abc' is not FP32"),
        ({"instances": [ROW | {"age": [1]}]}, "instances[0] column 'age': [1] is not FP32"),
        ({"instances": [ROW, [1]]}, "'instances' mixes objects and other rows"),
        ({"instances": [[1, 2]]}, "instances[0] has 2 values; 4 columns are needed"),
        ({"instances": [5]}, "instances[0]: 5 is not an array or an object"),
        ({"instances": []}, "'instances' is empty"),
        ({"instances": 5}, "'instances' is not an array"),
        ({"inputs": 5}, "the model has 4 inputs: 'inputs' must be an object keyed by name"),
        ({"inputs": {"z": [1]}}, "unknown column or input 'z'"),
        ({"inputs": {"age": [1]}}, "input 'city' is missing"),
        ({"inputs": {"age": [1, 2], "city": ["a"]}}, "column 'city' has 1 values, others have 2"),
        ({"inputs": {"age": [[1, 2]]}}, "column 'age' has shape [1, 2]; it has one value a row"),
        ({"inputs": {"age": 5}}, "column 'age' is not an array of values"),
        ({}, "the request must have either 'instances' or 'inputs'"),
        ({"instances": [ROW], "inputs": {}}, "the request must have either"),
        ({"instances": [ROW], "x": 1}, "unknown field 'x'"),
        ([], "the request must be a JSON object"),
        (b"{", "the body is not JSON"),
        (b'{"instances": [{"age": NaN}]}', "instances[0]: column 'city' is missing"),
    ],
)
def test_what_is_wrong_is_named(rig: MakeRig, request_: object, reason: str) -> None:
    assert reason in rig(models.columns(), columns=COLUMNS).predict_refused(request_)


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"instances": [[1, 2, 3], [1, "a", 3]]}, "instances[1][1]: 'a' is not FP32"),
        ({"instances": [[1, 2]]}, "has shape [1, 2], but the model takes [-1, 3]"),
        ({"instances": [1, 2]}, "rows have 0 dimensions, the model takes 1"),
        ({"instances": [[1, 2, 3], [1, 2]]}, "arrays of different lengths"),
        ({"instances": [[]]}, "has shape [1, 0], but the model takes [-1, 3]"),
        ({"inputs": [[1, 2, 1e39]]}, "input 'x' data[0][2]: 1e+39 is out of range for FP32"),
    ],
)
def test_rows_that_do_not_fit_a_matrix_are_named(
    rig: MakeRig, request_: object, reason: str
) -> None:
    assert reason in rig(models.identity()).predict_refused(request_)
