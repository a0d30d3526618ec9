"""The example row that comes beside a graph."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.portal.publish_examples import example_of
from protocol.errors import TollwayError
from protocol.manifest import ColumnType

COLUMNS: dict[str, ColumnType] = {
    "age": "integer",
    "pay": "float",
    "new": "boolean",
    "city": "string",
}
ROW = {"age": 42, "pay": 1.5, "new": True, "city": "Ulm, Süd"}


@pytest.mark.parametrize(
    "text",
    [
        '{"age": 42, "pay": 1.5, "new": true, "city": "Ulm, Süd"}',
        '[42, 1.5, true, "Ulm, Süd"]',
        '[[42, 1.5, true, "Ulm, Süd"], [1, 2, false, ""]]',
        '{"instances": [{"city": "Ulm, Süd", "age": 42.0, "pay": "1.5", "new": 1}]}',
        'city,pay,new,age\r\n"Ulm, Süd",1.5,TRUE,42\r\nrest,that,is,ignored',
        '42, 1.5, 1, "Ulm, Süd"',
        '42;1.5;1;"Ulm, Süd"',
        "42;1.5;1;Ulm, Süd",
        "age;pay;new;city\n42;1.5;true;Ulm, Süd",
        "age\tpay\tnew\tcity\n42\t1.5\ttrue\tUlm, Süd",
    ],
)
def test_a_row_is_read_as_people_have_it(text: str) -> None:
    assert example_of(text, COLUMNS) == ROW


def test_what_is_missing_has_no_example() -> None:
    assert example_of(" ", COLUMNS) == {}
    assert example_of("age,pay,new,city\n,,true,", COLUMNS) == {"new": True}
    assert example_of('{"age": null, "pay": 0}', COLUMNS) == {"pay": 0.0}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"age": 4.5}', "column 'age' takes integer, not '4.5'"),
        ('{"pay": true}', "column 'pay' takes float"),
        ('{"pay": 1e999}', "column 'pay' takes float"),
        ('{"age": 1e300}', "column 'age' takes integer"),
        ('{"new": "perhaps"}', "column 'new' takes boolean"),
        ('{"city": 7}', "column 'city' takes string"),
        ('{"town": "Ulm"}', "there is no column 'town'"),
        ("age,town\n1,Ulm", "there is no column 'town'"),
        ("1,2", "the row has 2 values, and there are 4 columns"),
        ("age,pay\n1", "the row has 1 values, and there are 2 columns"),
        ('{"age"', "neither JSON nor CSV"),
        ("[" * 100_000, "neither JSON nor CSV"),
        ('a,"b', "neither JSON nor CSV"),
    ],
)
def test_what_is_no_row_of_these_columns_is_refused(text: str, said: str) -> None:
    with pytest.raises(TollwayError, match="example: ") as refused:
        example_of(text, COLUMNS)
    assert said in str(refused.value)


def test_a_row_needs_names() -> None:
    with pytest.raises(TollwayError, match="name the columns first"):
        example_of("1,2", {})


@given(st.text(max_size=60))
def test_whatever_is_given_is_read_or_refused(text: str) -> None:
    try:
        found = example_of(text, COLUMNS)
    except TollwayError:
        return
    assert found.keys() <= COLUMNS.keys()
