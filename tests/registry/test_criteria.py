"""The language of success criteria: its text comes back, and its errors point at the character."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import Code
from protocol.expressions import ExpressionError
from protocol.segments import Condition, Term
from registry.criteria import (
    Absolute,
    Arithmetic,
    Beats,
    Comparison,
    Criterion,
    Expression,
    Measure,
    Negative,
    Number,
    parse_criterion,
)

OPERATORS = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
TEXT = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"], max_codepoint=0x2FFF),
    min_size=1,
    max_size=6,
)
FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=32).map(lambda x: x + 0.0)
CONDITIONS = st.lists(
    st.builds(Term, TEXT, OPERATORS, st.one_of(FLOATS, TEXT)), min_size=1, max_size=2
).map(lambda terms: Condition(tuple(sorted(set(terms), key=str))))
MEASURES = st.builds(
    Measure,
    name=st.sampled_from(["accuracy", "f1", "p99_ms", "parity.max_abs_error"]),
    bound=st.sampled_from(["", "low", "high"]),
    segment=st.one_of(st.none(), st.sampled_from(["young", "north-east"]), CONDITIONS),
    rows=st.one_of(st.none(), TEXT),
    label=st.one_of(st.none(), TEXT),
)


def _negative(of: Expression) -> Expression:
    return Number(0.0 - of.value) if isinstance(of, Number) else Negative(of)


def _deeper(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    return st.one_of(
        inner.map(_negative),
        st.builds(Absolute, inner),
        st.builds(Arithmetic, st.sampled_from(["+", "-", "*", "/"]), inner, inner),
    )


EXPRESSIONS = st.recursive(st.one_of(st.builds(Number, FLOATS), MEASURES), _deeper, max_leaves=6)
COMPARISONS = st.builds(Comparison, st.one_of(MEASURES, EXPRESSIONS), OPERATORS, MEASURES)
BEATS = st.builds(
    Beats, MEASURES.map(lambda m: Measure(name=m.name, segment=m.segment)), TEXT, FLOATS
)
CRITERIA = st.lists(st.one_of(COMPARISONS, BEATS), min_size=1, max_size=3).map(
    lambda parts: Criterion(tuple(parts))
)


@given(CRITERIA)
def test_the_text_of_a_criterion_reads_as_that_criterion(criterion: Criterion) -> None:
    text = str(criterion)
    if len(text) <= 1000:
        assert parse_criterion(text) == criterion


WORDS = ["accuracy", "beats", "(", ")", "stable", ",", "[", "]", "segment=", "rows=", "a<1", "and",
         ">=", "0.9", "-", "*", "/", "abs", "'x'", " ", ".low", "."]  # fmt: skip


@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(WORDS), max_size=20).map("".join)))
def test_any_text_is_a_criterion_or_an_error_of_its_own_kind(text: str) -> None:
    try:
        criterion = parse_criterion(text)
    except ExpressionError as error:
        position, code = error.position, error.code
    else:
        assert parse_criterion(str(criterion)) == criterion
        return
    assert code is Code.INVALID
    assert 0 <= position <= len(text)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("accuracy>=0.92", "accuracy >= 0.92"),
        ("recall[segment = age < 30] >= .8", "recall[segment=age<30] >= 0.8"),
        ("p99_ms <= 20 and size_mb <= 50.0", "p99_ms <= 20 and size_mb <= 50"),
        ("parity.label_mismatches == 0", "parity.label_mismatches == 0"),
        ("parity.max_abs_error < 1e-5", "parity.max_abs_error < 1e-05"),
        ("accuracy.low >= 0.9", "accuracy.low >= 0.9"),
        ("beats( stable, accuracy, holdout )", "beats(stable, accuracy, holdout)"),
        ("beats(stable,rmse,'2026 Q1',-0.01)", 'beats(stable, rmse, "2026 Q1", -0.01)'),
        (
            "recall[rows=test, segment=sex==f and age<30, class=yes] >= 1/2",
            "recall[segment=age<30 and sex==f, rows=test, class=yes] >= 1 / 2",
        ),
        ("recall[segment=young] >= recall-0.05", "recall[segment=young] >= recall - 0.05"),
        ("(a+b)*c - (d - -1) > 0", "(a + b) * c - (d - -1) > 0"),
        ("abs(a-b)/2<=0.1", "abs(a - b) / 2 <= 0.1"),
    ],
)
def test_a_criterion_has_one_canonical_text(text: str, canonical: str) -> None:
    assert str(parse_criterion(text)) == canonical


@pytest.mark.parametrize(
    ("text", "position", "problem"),
    [
        ("", 0, "expected a metric"),
        ("accuracy", 8, "expected one of"),
        ("accuracy = 0.9", 9, "write '=='"),
        ("accuracy >= ", 12, "expected a metric or a number"),
        ("accuracy >= 0.9 or f1 > 1", 16, "expected 'and'"),
        ("accuracy >= 90%", 14, "cannot stand here"),
        ("1 < 2", 0, "compares no metric"),
        ("recall[age<30] >= 0.8", 7, "segment, rows or class"),
        ("recall[segment=age<] >= 0.8", 19, "number or text"),
        ("recall[segment=age<30 >= 0.8", 22, "expected ']'"),
        ("recall[rows=a, rows=b] > 0", 15, "chosen twice"),
        ("beats(champion, accuracy, holdout)", 6, "expected 'stable'"),
        ("beats(stable, accuracy)", 22, "expected ','"),
        ("beats(stable, accuracy[rows=a], b)", 14, "after the metric"),
        ("beats(stable, accuracy, b, x)", 27, "expected a number"),
        ("nan > 0", 0, "numbers are finite"),
        ("accuracy >= NaN", 12, "numbers are finite"),
        ("accuracy > -Infinity", 12, "numbers are finite"),
        ("beats(stable, inf, holdout)", 14, "numbers are finite"),
        ("accuracy < 1e999", 11, "too large"),
        ("__import__('os') > 0", 10, "expected one of"),
        ("(" * 30 + "a", 21, "nested"),
        ("a" + "+1" * 60 + " > 0", 102, "at most 50"),
    ],
)
def test_an_error_points_at_the_character(text: str, position: int, problem: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_criterion(text)
    assert problem in caught.value.problem
    assert caught.value.position == position
    assert caught.value.public.startswith(f"criterion, character {position + 1}: ")
