"""A CSV file becomes typed columns and a truth, or a refusal that names its line."""

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollway.errors import InvalidRequestError
from tollway.evaluation.csv_rows import BLOCK_ROWS, read_csv
from tollway.evaluation.rows import Table
from tollway.signatures import Signature

KINDS = {"age": "integer", "income": "float", "region": "string", "member": "boolean"}


def signature(
    kinds: dict[str, str] = KINDS, task: Any = "classification", labels: Any = ("no", "yes")
) -> Signature:
    """A version's, with columns of these types."""
    columns: Any = [
        {"name": name, "type": kind, "input": name, "index": None} for name, kind in kinds.items()
    ]
    return Signature(
        model="m",
        number=1,
        task=task,
        inputs=[],
        outputs=(),
        columns=columns,
        labels=list(labels),
    )


def read(text: str, known: Signature | None = None, target: str = "truth", **more: Any) -> Any:
    """Columns and truth of a file with this text."""
    return read_csv(io.BytesIO(text.encode()), known or signature(), target, **more)


def test_values_have_the_types_of_the_models_columns() -> None:
    X, y = read(
        "truth,region,age,income,member\n"
        "yes,007,41,1e3,true\n"
        'no,"north, far",9223372036854775807,-0.5,0\n'
    )
    assert X.columns == ["region", "age", "income", "member"]
    assert X["region"].tolist() == ["007", "north, far"]
    assert X["age"].tolist() == [41, 2**63 - 1]
    assert X["income"].tolist() == [1000.0, -0.5]
    assert X["member"].tolist() == [True, False]
    assert y.tolist() == ["yes", "no"]


def test_an_empty_value_is_a_missing_one_and_text_stays_as_it_is_written() -> None:
    X, _ = read("age,income,region,member,truth\n,NA,None,,yes\n3,1,,true,no\n")
    assert np.isnan(X["age"][0])
    assert X["age"][1] == 3
    assert np.isnan(X["income"][0])
    assert X["region"].tolist() == ["None", None]
    assert np.isnan(X["member"][0])
    assert X["member"][1] == 1


def test_columns_that_the_model_does_not_take_are_numbers_where_all_values_are() -> None:
    X, _ = read(
        "age,income,region,member,truth,year,score,city,late\n"
        "1,1,a,1,yes,2024,0.5,Bern,true\n2,2,b,0,no,2025,,7,false\n"
    )
    assert X["year"].tolist() == [2024, 2025]
    assert X["score"][0] == 0.5
    assert np.isnan(X["score"][1])
    assert X["city"].tolist() == ["Bern", "7"]
    assert X["late"].tolist() == [True, False]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators_and_the_mark_of_unicode_are_found_out(separator: str) -> None:
    lines = ("\ufeffage,income,region,member,truth", "1,2,a,1,yes", "")
    X, y = read("\r\n".join(line.replace(",", separator) for line in lines))
    assert X["age"].tolist() == [1]
    assert y.tolist() == ["yes"]


def test_an_index_without_a_name_is_left_out() -> None:
    X, _ = read(",age,income,region,member,truth\n0,1,2,a,1,yes\n")
    assert X.columns == ["age", "income", "region", "member"]


def test_a_model_without_names_takes_the_columns_by_their_place() -> None:
    known = signature({"x0": "float", "x1": "integer"}, "regression", ())
    X, y = read("width,truth,height\n1.5,3,4\n", known)
    assert X["width"].tolist() == [1.5]
    assert X["height"].dtype == np.int64
    assert y.tolist() == [3.0]


@pytest.mark.parametrize(
    ("task", "labels", "kind"),
    [
        ("regression", (), "f"),
        ("classification", ("0", "1"), "O"),
        ("classification", (0, 1), "f"),
        ("classification", (True, False), "b"),
        ("classification", (), "i"),
    ],
)
def test_the_truth_has_the_type_of_the_models_classes(
    task: str, labels: tuple[object, ...], kind: str
) -> None:
    _, y = read("x,truth\n1,0\n2,1\n", signature({"x": "float"}, task, labels))
    assert y.dtype.kind == kind


@pytest.mark.parametrize(
    ("text", "about", "message"),
    [
        ("", "rows", "no line with the names"),
        ("age,income,region,member,truth\n", "rows", "no rows below"),
        ("age,income,region,member\n1,2,a,1\n", "target", "no column 'truth'; they have 'age'"),
        (
            "age,income,truth\n1,2,yes\n",
            "rows",
            "no column 'region', which the model takes, and lack 1",
        ),
        ("age,age,truth\n1,2,yes\n", "rows", "two columns are called 'age'"),
        ("age,income,region,member,truth\n1,2,a,1,yes\n1,2,a\n", "rows", "line 3 has 3 values"),
        (
            'age,income,region,member,truth\n1,2,"a\nb",1,yes\n1,two,a,1,no\n',
            "rows",
            "line 4, column 'income': 'two' is not a number",
        ),
        (
            "age,income,region,member,truth\n1.5,2,a,1,yes\n",
            "rows",
            "line 2, column 'age': '1.5' is not a whole number",
        ),
        ("age,income,region,member,truth\n1,1_0,a,1,yes\n", "rows", "'1_0' is not a number"),
        (f"age,income,region,member,truth\n{2**63},1,a,1,yes\n", "rows", "not a whole number"),
        ("age,income,region,member,truth\n1,2,a,maybe,yes\n", "rows", "is not true or false"),
        (
            "age,income,region,member,truth\n1,2,a,1,yes\n1,2,a,1,\n",
            "rows",
            "line 3, column 'truth' is empty",
        ),
        ('age,income,region,member,truth\n1,2,"a,1,yes\n', "rows", "is no line of CSV"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(text: str, about: str, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message) as refused:
        read(text)
    assert refused.value.about == about


def test_the_truth_is_no_column_that_the_model_takes() -> None:
    with pytest.raises(InvalidRequestError, match="the model takes that column") as refused:
        read("age,income,region,member\n1,2,a,1\n", target="region")
    assert refused.value.about == "target"


def test_bytes_that_are_no_text_are_told() -> None:
    for lines in (0, 5_000):
        content = b"age,truth\n" + b"1,1\n" * lines + b"\xff\xfe,1\n"
        said = f"not UTF-8 text: line {lines + 2} has the byte 0xff"
        with pytest.raises(InvalidRequestError, match=said):
            read_csv(io.BytesIO(content), signature({"age": "integer"}), "truth")


def test_a_long_value_is_not_repeated_whole() -> None:
    with pytest.raises(InvalidRequestError) as refused:
        read(f"x,truth\n{'n' * 5000},1\n", signature({"x": "float"}))
    assert len(refused.value.message) < 200


def test_rows_beyond_the_most_are_refused_before_they_are_kept() -> None:
    known = signature({"x": "integer"}, "regression", ())
    text = "x,truth\n" + "1,2\n" * (BLOCK_ROWS + 1)
    X, y = read(text, known, max_rows=BLOCK_ROWS + 1)
    assert len(X) == len(y) == BLOCK_ROWS + 1
    with pytest.raises(InvalidRequestError, match=r"more than 10,000 rows"):
        read(text, known, max_rows=BLOCK_ROWS)


@given(
    st.lists(
        st.tuples(
            st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**62), 2**62 - 1)
        ),
        min_size=1,
        max_size=20,
    )
)
def test_numbers_come_back_as_they_were_written(rows: list[tuple[float, int]]) -> None:
    known = signature({"x": "float", "n": "integer"}, "regression", ())
    X, y = read("x,n,truth\n" + "".join(f"{x!r},{n},{x!r}\n" for x, n in rows), known)
    assert X["x"].tolist() == y.tolist() == [x for x, _ in rows]
    assert X["n"].tolist() == [n for _, n in rows]


def test_the_digest_is_that_of_the_same_rows_in_another_form() -> None:
    X, y = read("age,income,region,member,truth\n1,2.5,a,1,yes\n2,,b,0,no\n")
    rows = [
        {"age": 1, "income": 2.5, "region": "a", "member": True},
        {"age": 2, "income": None, "region": "b", "member": False},
    ]
    of_dicts = Table(rows, []).digest(np.array(["yes", "no"], dtype=object))
    assert Table(X, []).digest(y) == of_dicts
