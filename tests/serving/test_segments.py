"""A condition over a batch finds the rows that it holds for one by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.manifest import Manifest, Tensor
from protocol.segments import Condition, parse_condition
from serving.segments import Columns, Segments
from serving.signature import Signature
from serving.tensors import Array

CONDITIONS = st.sampled_from(
    ["a<1", "a!=0", "a>=-1 and b==x", "b!=x", "b<'b'", "c==true", "c!=1", "a==x", "b==1", "d<1"]
)
ROWS = st.lists(
    st.tuples(
        st.one_of(st.sampled_from([float("nan"), -1.0, 0.0, 1.0]), st.floats(-9, 9)),
        st.sampled_from(["x", "a", "b", "", None, b"x", 1]),
        st.booleans(),
    ),
    max_size=12,
)


def mask(condition: Condition, columns: dict[str, Array], rows: int) -> list[bool]:
    """For each row whether it is in the segment, of a graph whose inputs are the columns."""
    inputs = tuple(Tensor(name=name, datatype="FP64", shape=(-1,)) for name in columns)
    signature = Signature(Manifest(model="m", inputs=inputs, outputs=()), 1)
    found = Segments({"it": condition}, Columns(signature)).masks(list(columns.values()), rows)
    # A segment without any row is left out.
    return found["it"].tolist() if found else [False] * rows


@given(CONDITIONS, ROWS)
def test_a_batch_is_told_apart_as_its_rows_are(
    text: str, rows: list[tuple[float, object, bool]]
) -> None:
    condition = parse_condition(text)
    columns = {
        "a": np.array([row[0] for row in rows], dtype=np.float64),
        "b": np.array([row[1] for row in rows], dtype=object),
        "c": np.array([row[2] for row in rows], dtype=np.bool_),
    }
    expected = [condition.holds(dict(zip("abc", row, strict=True))) for row in rows]
    assert mask(condition, columns, len(rows)) == expected


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "float16", "float32", "U5"])
def test_every_kind_of_array_is_compared(dtype: str) -> None:
    values = np.array([1, 2, 3]).astype(dtype)
    found = mask(parse_condition("a<=300 and a!=2"), {"a": values}, 3)
    assert found == ([False] * 3 if dtype == "U5" else [True, False, True])


def test_numbers_compare_in_the_precision_of_their_array() -> None:
    values = np.array([0.1, 0.2], dtype=np.float32)
    assert mask(parse_condition("a==0.1"), {"a": values}, 2) == [True, False]
