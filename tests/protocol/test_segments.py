"""Conditions on columns: what they mean, that their text comes back, and where errors point."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import Code, TollwayError
from protocol.expressions import ExpressionError
from protocol.segments import MAX_LENGTH, MAX_TERMS, Condition, Term, parse_condition

OPERATORS = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
TEXT = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"], max_codepoint=0x2FFF), max_size=10
)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False).map(lambda number: number + 0.0)
TERMS = st.builds(Term, TEXT.filter(bool), OPERATORS, st.one_of(NUMBERS, TEXT))


def conditions() -> st.SearchStrategy[Condition]:
    listed = st.lists(TERMS, min_size=1, max_size=4)
    return listed.map(lambda terms: Condition(tuple(sorted(set(terms), key=str))))


@given(conditions())
def test_the_text_of_a_condition_reads_as_that_condition(condition: Condition) -> None:
    assert parse_condition(str(condition)) == condition


@given(st.one_of(st.text(max_size=60), st.text("ab<>=!' \"\\.0-9ande", max_size=40)))
def test_any_text_is_a_condition_or_an_error_of_its_own_kind(text: str) -> None:
    try:
        condition = parse_condition(text)
    except ExpressionError as error:
        position, code = error.position, error.code
    else:
        assert parse_condition(str(condition)) == condition
        return
    assert code is Code.INVALID
    assert 0 <= position <= len(text)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("age<30", "age<30"),
        ("  age  <  30.0 ", "age<30"),
        ("age >= -1.50e1", "age>=-15"),
        ("x == -0", "x==0"),
        ("region == 'north'", "region==north"),
        ('region=="North East"', 'region=="North East"'),
        ("'sepal length (cm)' > 5", '"sepal length (cm)">5'),
        ("code == '007'", 'code=="007"'),
        ("word != 'and'", 'word!="and"'),
        (r"quote == 'it\'s \\'", r'quote=="it' + "'" + r's \\"'),
        ("b<2 and a<1 and b < 2", "a<1 and b<2"),
        ("größe > 1", "größe>1"),
    ],
)
def test_conditions_that_say_the_same_have_the_same_text(text: str, canonical: str) -> None:
    assert str(parse_condition(text)) == canonical


@pytest.mark.parametrize(
    ("text", "position", "problem"),
    [
        ("", 0, "name of a column"),
        ("age", 3, "expected one of"),
        ("age = 30", 4, "write '=='"),
        ("age < ", 6, "number or text"),
        ("age < 30 or x > 1", 9, "expected 'and'"),
        ("age < 30 and", 12, "name of a column"),
        ("age < 30 and and > 1", 13, "name of a column"),
        ("age < 30y", 8, "quotes"),
        ("age < 1e999", 6, "too large"),
        ("age < -x", 7, "expected a number"),
        ("30 < age", 0, "name of a column"),
        ("'' < 1", 0, "has a name"),
        ("a == 'x", 5, "does not end"),
        (r"a == 'x\n'", 8, "quote"),
        ("a == (1)", 5, "cannot stand here"),
        ("a ==\x001", 4, "cannot stand here"),
        ("a == \ud800", 5, "cannot stand here"),
    ],
)
def test_an_error_points_at_the_character(text: str, position: int, problem: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_condition(text)
    assert caught.value.position == position
    assert problem in caught.value.problem
    lines = caught.value.public.split("\n")
    assert lines[0].startswith(f"condition, character {position + 1}: ")
    assert lines[2] == "  " + " " * position + "^"


def test_length_and_terms_are_bounded() -> None:
    with pytest.raises(TollwayError, match="at most 500"):
        parse_condition("a<" + "1" * MAX_LENGTH)
    many = " and ".join(f"c{n}<1" for n in range(MAX_TERMS + 1))
    with pytest.raises(ExpressionError, match="at most 16"):
        parse_condition(many)


@pytest.mark.parametrize("compare", ["<", "<=", ">", ">=", "==", "!="])
@pytest.mark.parametrize("constant", ["1", "north"])
@pytest.mark.parametrize("value", [None, math.nan])
def test_a_missing_value_satisfies_nothing(compare: str, constant: str, value: object) -> None:
    condition = parse_condition(f"a{compare}{constant}")
    assert not condition.holds({"a": value})
    assert not condition.holds({})


@pytest.mark.parametrize(
    ("text", "row", "expected"),
    [
        ("age<30", {"age": 29}, True),
        ("age<30", {"age": 30.0}, False),
        ("age<30 and region==north", {"age": 1, "region": "north"}, True),
        ("age<30 and region==north", {"age": 1, "region": "south"}, False),
        ("region!=north", {"region": b"south"}, True),
        ("region!=north", {"region": 7}, False),
        ("code!=7", {"code": "8"}, False),
        ("active==true", {"active": True}, True),
        ("active==1", {"active": True}, True),
        ("active!=true", {"active": False}, True),
        ("name>='b'", {"name": "c"}, True),
    ],
)
def test_a_term_holds_for_values_of_its_own_kind(
    text: str, row: dict[str, object], expected: bool
) -> None:
    assert parse_condition(text).holds(row) is expected


def test_the_columns_of_a_condition_are_known() -> None:
    assert parse_condition("b<1 and 'a b'==x and b>0").columns == {"a b", "b"}
