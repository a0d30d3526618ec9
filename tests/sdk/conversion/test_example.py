"""The example row that a publisher gives with a model."""

import numpy as np
import pandas as pd
import pytest

from tollway import InvalidRequestError
from tollway.conversion.example import with_example
from tollway.conversion.types import ColumnSpec

COLUMNS = [
    ColumnSpec(name="age", type="integer", input="age", minimum=18, maximum=90),
    ColumnSpec(name="income", type="float", input="income"),
    ColumnSpec(name="region", type="string", input="region", null="<null>"),
    ColumnSpec(name="owner", type="boolean", input="owner"),
]
ROW = [41, 32_000, "north", True]
NAMES = [column["name"] for column in COLUMNS]
FRAME = pd.DataFrame([ROW], columns=NAMES)


@pytest.mark.parametrize(
    "row",
    [
        ROW,
        tuple(ROW),
        [ROW],
        dict(zip(NAMES, ROW, strict=True)),
        [dict(zip(NAMES, ROW, strict=True))],
        np.array(ROW, dtype=object),
        np.array([ROW], dtype=object),
        FRAME,
        FRAME.iloc[0],
        [np.int64(41), np.float32(32_000), np.str_("north"), np.bool_(True)],
        [41.0, 32_000, "north", True],
    ],
)
def test_a_row_in_any_form_becomes_the_columns_examples(row: object) -> None:
    found = with_example(COLUMNS, row)
    assert [column["example"] for column in found] == ROW
    assert [type(column["example"]) for column in found] == [int, float, str, bool]
    assert found[0]["maximum"] == 90
    assert "example" not in COLUMNS[0], "what was given is not changed"


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA])
def test_a_missing_value_is_no_example(missing: object) -> None:
    found = with_example(COLUMNS, [41, missing, missing, True])
    assert ["example" in column for column in found] == [True, False, False, True]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ([41, 1.0, "north"], "the row has 3 values, and there are 4 columns"),
        ({"age": 41, "income": 1, "region": "n"}, "column 'owner' is not in the row"),
        ({**dict(zip(NAMES, ROW, strict=True)), "x": 1}, "there is no column 'x'"),
        ([41.5, 1, "n", True], "column 'age' takes integer, not '41.5'"),
        ([True, 1, "n", True], "column 'age' takes integer, not 'True'"),
        ([10**30, 1, "n", True], "column 'age' takes integer"),
        ([41, float("inf"), "n", True], "column 'income' takes float, not 'inf'"),
        ([41, 10**400, "n", True], "column 'income' takes float"),
        ([41, 1, 7, True], "column 'region' takes string, not '7'"),
        ([41, 1, "n", 1], "column 'owner' takes boolean, not '1'"),
        (pd.concat([FRAME, FRAME]), "give one row, not 2"),
        (7, "int is no row"),
        ("41", "the row has 1 values"),
    ],
)
def test_what_is_no_row_of_the_columns_is_refused_with_the_reason(row: object, why: str) -> None:
    with pytest.raises(InvalidRequestError, match="example: ") as refused:
        with_example(COLUMNS, row)
    assert why in str(refused.value)


def test_a_text_is_the_row_of_a_text_model_and_a_graph_without_rows_takes_none() -> None:
    [column] = with_example([ColumnSpec(name="text", type="string", input="input")], "buy now")
    assert column["example"] == "buy now"
    with pytest.raises(InvalidRequestError, match="give the rows X beside a graph"):
        with_example([], [1])
