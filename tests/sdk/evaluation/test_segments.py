"""Segments are the server's conditions: the same rows, and the same name for what is the same."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import TollwayError as ServerError
from protocol.segments import parse_condition
from tollway.errors import InvalidRequestError
from tollway.evaluation.rows import Table
from tollway.evaluation.segments import canonical, masks, parse

columns = st.sampled_from(["age", "mean radius", "region", "größe", "a-b.c", "and"])
values = st.one_of(
    st.sampled_from(["30", "-2.5", "1e3", "+ 4", "0", "-0.0", ".5"]),
    st.sampled_from(["north", "'south west'", '"it\\"s"', "'and'", "'30'", "true", "''"]),
)
signs = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
spaces = st.sampled_from(["", " ", "  "])


@st.composite
def conditions(draw: st.DrawFn) -> str:
    terms = []
    for _ in range(draw(st.integers(1, 3))):
        column = draw(columns)
        quoted = f"'{column}'" if " " in column or column == "and" else column
        space = draw(spaces)
        terms.append(f"{quoted}{space}{draw(signs)}{space}{draw(values)}")
    return " and ".join(terms)


@given(conditions())
def test_a_condition_is_called_what_the_server_calls_it(text: str) -> None:
    assert canonical(parse(text)) == str(parse_condition(text))


@given(st.one_of(conditions(), st.text("ab<>=!'\"\\ 3.-and_é", max_size=15)), st.integers(0, 40))
def test_what_the_server_does_not_read_is_refused_here_too(text: str, cut: int) -> None:
    text = text[:cut]
    try:
        wanted = str(parse_condition(text))
    except ServerError:
        with pytest.raises(InvalidRequestError):
            parse(text)
    else:
        assert canonical(parse(text)) == wanted


cells: dict[str, Any] = {
    "age": st.one_of(st.none(), st.integers(25, 35), st.just(float("nan"))),
    "region": st.one_of(st.none(), st.sampled_from(["north", "south west", "30", ""])),
    "member": st.booleans(),
}


@given(
    rows=st.lists(st.fixed_dictionaries(cells), min_size=1, max_size=8),
    text=st.sampled_from(
        [
            "age<30", "age!=30", "age>=30 and region==north", "region!=north", "region<'p'",
            "member==true", "member==1", "member!=0", "region==30", "region=='30'", "age==north",
        ]
    ),
)  # fmt: skip
def test_a_segment_holds_the_rows_for_which_the_servers_condition_holds(
    rows: list[dict[str, object]], text: str
) -> None:
    condition = parse_condition(text)
    frame = pd.DataFrame(rows, columns=list(cells))
    wanted = [condition.holds(row) for row in rows]

    for table in (Table(frame, ()), Table(rows, ())):
        found = masks([text], table)

        assert {name: mask.tolist() for name, mask in found.items()} == {str(condition): wanted}


def test_each_value_of_a_column_is_a_segment() -> None:
    frame = pd.DataFrame({"region": ["n", "s", None, "n"], "vip": [True] * 4, "age": [1, 2, 2, 1]})
    table = Table(frame, ())

    found = masks(["region", "vip", "age"], table)

    assert {name: int(mask.sum()) for name, mask in found.items()} == {
        "region==n": 2,
        "region==s": 1,
        "vip==true": 4,
        "age==1": 2,
        "age==2": 2,
    }


def test_a_mapping_names_conditions_and_masks() -> None:
    table = Table(np.array([[1.0], [2.0]]), ["x"])

    found = masks({"small": "x<2", "chosen": np.array([False, True])}, table)

    assert {name: mask.tolist() for name, mask in found.items()} == {
        "small": [True, False],
        "chosen": [False, True],
    }


@pytest.mark.parametrize(
    ("segments", "words"),
    [
        (["x<"], "character 3: expected a number or text"),
        (["x<1 or x>2"], "character 5: expected 'and' or the end"),
        (["y<1"], "the rows have no column 'y'; they have 'x'"),
        (["x"], "has 60 values, too many for segments: give conditions, such as 'x<"),
        ({"m": [True]}, "neither a condition nor a boolean mask of 60 rows"),
        (["x<1" + " and x<2" * 17 + "0" * 500], "at most 500 characters"),
    ],
)
def test_segments_that_make_no_sense_are_refused_with_what_is_wrong(
    segments: Any, words: str
) -> None:
    table = Table(np.arange(60.0).reshape(-1, 1), ["x"])
    with pytest.raises(InvalidRequestError) as refused:
        masks(segments, table)
    assert words in str(refused.value)


def test_the_digest_is_of_the_rows_whatever_form_they_come_in() -> None:
    y = np.array([0.0, 1.0])
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": [0.5, np.nan]})
    first = Table(frame, ()).digest(y)
    forms: list[Any] = [
        frame.to_dict("records"),
        frame.astype({"a": float}),
        frame.to_numpy(),
        frame.astype(object).where(frame.notna(), None).to_numpy().tolist(),
    ]

    assert [Table(form, ["a", "b", "c"]).digest(y) for form in forms] == [first] * 4
    for other, truth in (
        (frame[::-1], y),
        (frame.rename(columns={"a": "z"}), y),
        (frame.assign(a=[1, 3]), y),
        (frame.assign(b=["x", ""]), y),
        (frame, y[::-1]),
    ):
        assert Table(other, ()).digest(truth) != first
