"""Rows in every form become the same named tensors, and misfits are named."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from tests.sdk.conversion.data import frame
from tollway.conversion import InputError, encode_inputs
from tollway.conversion.rows import rows_of
from tollway.conversion.schema import NULL, describe, tensor_specs
from tollway.conversion.types import ColumnSpec, TensorSpec


def mixed() -> tuple[list[TensorSpec], list[ColumnSpec]]:
    """Specs of the mixed frame, with nullable strings."""
    X, _ = frame()
    columns = describe(rows_of(X), as_matrix=False, nullable=[True] * 5)
    return tensor_specs(columns, double=False), columns


def matrix(width: int) -> tuple[list[TensorSpec], list[ColumnSpec]]:
    columns = describe(rows_of(np.zeros((2, width))), as_matrix=True)
    return tensor_specs(columns, double=False), columns


def test_a_mixed_frame_becomes_one_typed_tensor_per_column() -> None:
    X, _ = frame()
    inputs, columns = mixed()
    encoded = encode_inputs(inputs, columns, X)
    assert {name: value.dtype.name for name, value in encoded.items()} == {
        "age": "int64",
        "income": "float32",
        "city": "object",
        "member": "bool",
        "grade": "object",
    }
    assert all(value.shape == (len(X), 1) for value in encoded.values())
    missing = X["city"].isna().to_numpy()
    assert set(encoded["city"][missing, 0]) == {NULL}
    assert np.isnan(encoded["income"][X["income"].isna().to_numpy()]).all()


def test_frames_dicts_and_lists_give_the_same_tensors_whatever_the_column_order() -> None:
    X, _ = frame()
    some = X.head(20)
    inputs, columns = mixed()
    wanted = encode_inputs(inputs, columns, some)
    names = list(some.columns)
    as_lists: list[Any] = some.astype(object).to_numpy().tolist()
    as_dicts = [dict(zip(names, row, strict=True)) for row in as_lists]
    for other in (some[names[::-1]], as_dicts, as_lists, some.astype(object).to_numpy()):
        got = encode_inputs(inputs, columns, other)
        for name, value in wanted.items():
            np.testing.assert_array_equal(got[name], value)


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_a_matrix_arrives_as_it_was(rows: int, width: int, seed: int) -> None:
    X = np.random.default_rng(seed).normal(size=(rows, width))
    inputs, columns = matrix(width)
    for form in (X, X.tolist(), pd.DataFrame(X, columns=[f"x{i}" for i in range(width)])):
        encoded = encode_inputs(inputs, columns, form)
        np.testing.assert_array_equal(encoded["input"], X.astype(np.float32))


def test_a_frame_fits_a_model_of_unnamed_columns_by_position() -> None:
    inputs, columns = matrix(2)
    encoded = encode_inputs(inputs, columns, pd.DataFrame({"a": [1.0], "b": [2.0]}))
    assert encoded["input"].tolist() == [[1.0, 2.0]]


def test_named_tensors_pass_with_the_right_types() -> None:
    inputs, columns = matrix(2)
    encoded = encode_inputs(inputs, columns, {"input": [[1, 2]]})
    assert encoded["input"].dtype == np.float32


def test_texts_are_one_column() -> None:
    columns = describe(rows_of(["a", "b"]), as_matrix=False)
    inputs = tensor_specs(columns, double=False)
    for form in (["one", "two"], np.asarray(["one", "two"]), pd.Series(["one", "two"])):
        encoded = encode_inputs(inputs, columns, form)
        assert encoded["input"].tolist() == [["one"], ["two"]]


def test_nullable_pandas_types_are_understood() -> None:
    X = pd.DataFrame(
        {
            "n": pd.array([1, None], dtype="Int64"),
            "f": pd.array([1.5, None], dtype="Float64"),
            "b": pd.array([True, False], dtype="boolean"),
            "s": pd.array(["x", None], dtype="string"),
        }
    )
    rows = rows_of(X)
    assert [c.dtype.kind for c in rows.columns] == ["f", "f", "b", "O"]
    assert rows.columns[3].tolist() == ["x", None]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"age": [1.5]}, "'age' is integer: it takes no fractions"),
        ({"age": [np.nan]}, "'age' is integer and takes no missing values"),
        ({"income": ["much"]}, "'income': 'much' is not float"),
        ({"member": ["yes"]}, "'member': 'yes' is not boolean"),
    ],
)
def test_a_misfit_names_its_column(change: dict[str, list[object]], message: str) -> None:
    inputs, columns = mixed()
    row = {"age": [1], "income": [2.0], "city": ["Berlin"], "member": [True], "grade": ["low"]}
    with pytest.raises(InputError, match=message):
        encode_inputs(inputs, columns, pd.DataFrame({**row, **change}))


def test_a_missing_string_is_refused_where_the_model_has_no_word_for_it() -> None:
    columns = describe(
        rows_of(pd.DataFrame({"c": ["a", "b"], "d": [True, False]})), as_matrix=False
    )
    inputs = tensor_specs(columns, double=False)
    with pytest.raises(InputError, match="'c': row 1 has no value"):
        encode_inputs(inputs, columns, pd.DataFrame({"c": ["a", None], "d": [True, True]}))


def test_missing_columns_and_wrong_widths_are_named() -> None:
    inputs, columns = mixed()
    with pytest.raises(InputError, match="'income' is missing from the frame"):
        encode_inputs(inputs, columns, pd.DataFrame({"age": [1]}))
    with pytest.raises(InputError, match="'age' is missing from a row"):
        encode_inputs(inputs, columns, [{"income": 1.0}])
    inputs, columns = matrix(3)
    with pytest.raises(InputError, match=r"shape \(1, 2\).*3 columns"):
        encode_inputs(inputs, columns, [[1.0, 2.0]])
    with pytest.raises(InputError, match="different lengths"):
        encode_inputs(inputs, columns, [[1.0, 2.0], [1.0]])
    with pytest.raises(InputError, match="'input' is missing"):
        encode_inputs(inputs, columns, {"other": [1.0]})


def test_the_schema_holds_ranges_categories_and_null_shares() -> None:
    X, _ = frame()
    columns = {c["name"]: c for c in describe(rows_of(X), as_matrix=False, nullable=[True] * 5)}
    assert columns["age"]["minimum"] == X["age"].min()
    assert columns["age"]["maximum"] == X["age"].max()
    assert columns["income"]["null_share"] == pytest.approx(X["income"].isna().mean(), abs=1e-6)
    assert columns["grade"]["categories"] == ["high", "low", "mid"]
    assert columns["city"]["null"] == NULL
    assert columns["member"]["type"] == "boolean"


def test_rows_for_a_graph_that_knows_no_columns_are_its_one_tensor() -> None:
    inputs: list[TensorSpec] = [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]
    frame = pd.DataFrame({"a": [1.0], "b": [2.0]})
    for rows in ([[1, 2]], np.array([[1.0, 2.0]]), sparse.csr_matrix([[1.0, 2.0]]), frame):
        encoded = encode_inputs(inputs, [], rows)
        assert encoded["x"].dtype == np.float32
        assert encoded["x"].tolist() == [[1.0, 2.0]]
    for wrong in ([{"a": 1, "b": 2}], [[1, "b"]], [[1, 2], [3]]):
        with pytest.raises(InputError, match="X is no array of FP32"):
            encode_inputs(inputs, [], wrong)
    with pytest.raises(InputError, match="give a mapping of names to arrays"):
        encode_inputs([*inputs, *inputs], [], [[1, 2]])
