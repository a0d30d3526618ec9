"""The table of operators is that of the runtime that is installed."""

from tests.fixtures import operators


def test_the_table_is_what_the_installed_runtime_says() -> None:
    assert operators.TARGET.read_text() == operators.rendered(operators.table()), (
        "the pinned runtime has changed: run python -m tests.fixtures.operators --write"
    )
