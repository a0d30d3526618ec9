"""Near-ties are told apart from real differences, and a real difference shows its row."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from tests.sdk.conversion.data import binary, frame, numbers
from tollway.conversion import ParityError, convert
from tollway.conversion import search as searching
from tollway.conversion.parity import NEAR_TIE, Tolerance, compare
from tollway.conversion.reference import Answers


def answers(labels: list[int], first: list[float]) -> Answers:
    """Answers of a binary classifier with these probabilities of class 0."""
    probabilities = np.stack([np.asarray(first), 1 - np.asarray(first)], axis=1)
    return Answers(
        main=np.asarray(labels),
        probabilities=probabilities,
        margin=np.abs(probabilities[:, 0] - probabilities[:, 1]),
    )


def outputs(labels: list[int], first: list[float]) -> dict[str, np.ndarray]:
    given_answers = answers(labels, first)
    assert given_answers.probabilities is not None
    return {
        "label": given_answers.main,
        "probabilities": given_answers.probabilities.astype(np.float32),
    }


def test_a_flipped_label_on_a_tie_is_a_near_tie() -> None:
    verdict = compare(
        answers([0, 1], [0.500001, 0.2]),
        outputs([1, 1], [0.499999, 0.2]),
        "classification",
        [0, 1],
        Tolerance(),
    )
    assert verdict.holds
    assert (verdict.near_ties, verdict.label_mismatches) == (1, 0)


def test_a_flipped_label_that_was_clear_is_a_mismatch() -> None:
    verdict = compare(
        answers([0, 1], [0.9, 0.2]),
        outputs([1, 1], [0.9, 0.2]),
        "classification",
        [0, 1],
        Tolerance(),
    )
    assert not verdict.holds
    assert verdict.label_mismatches == 1
    assert (verdict.wrong, verdict.expected, verdict.got) == ([0], 0, 1)


@given(
    margin=st.floats(0, 1, allow_nan=False),
    atol=st.floats(1e-9, 1e-2),
)
def test_only_margins_up_to_the_stated_one_are_near_ties(margin: float, atol: float) -> None:
    first = 0.5 + margin / 2
    verdict = compare(
        answers([0], [first]),
        {"label": np.asarray([1])},
        "classification",
        [0, 1],
        Tolerance(atol=atol),
    )
    exact = abs(first - (1 - first))
    assert verdict.near_ties == (exact <= NEAR_TIE)
    assert verdict.label_mismatches == (exact > NEAR_TIE)


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20),
    st.floats(1e-8, 1e-2),
    st.floats(-3, 3),
)
def test_numbers_are_equal_within_the_tolerance_and_not_beyond(
    values: list[float], atol: float, share: float
) -> None:
    expected = np.asarray(values)
    scale = np.abs(expected).max() or 1.0
    got = expected.copy()
    got[0] += share * atol * scale
    verdict = compare(
        Answers(main=expected), {"prediction": got}, "regression", [], Tolerance(atol, 0.0)
    )
    if abs(share) < 0.99:
        assert verdict.holds
    if abs(share) > 1.01:
        assert verdict.wrong == [0]


@pytest.mark.parametrize(
    ("expected", "got", "holds"),
    [
        (np.nan, np.nan, True),
        (np.inf, np.inf, True),
        (np.inf, -np.inf, False),
        (1.0, np.nan, False),
        (np.nan, 1.0, False),
    ],
)
def test_nan_and_infinity_equal_only_themselves(expected: float, got: float, holds: bool) -> None:
    verdict = compare(
        Answers(main=np.asarray([2.0, expected])),
        {"prediction": np.asarray([2.0, got])},
        "regression",
        [],
        Tolerance(),
    )
    assert verdict.holds is holds
    assert np.isfinite(verdict.max_abs_error)


def test_the_error_of_scores_is_told_as_a_share_of_their_magnitude() -> None:
    scores = np.asarray([4e10, -2e10])
    expected = Answers(main=np.asarray([1, 0]), scores=scores)
    outputs = {"label": np.asarray([1, 0]), "scores": scores + np.asarray([1e6, 0])}
    verdict = compare(expected, outputs, "classification", [0, 1], Tolerance())
    assert verdict.holds
    assert verdict.max_abs_error == pytest.approx(1e6 / 4e10)


class Drifting(Ridge):  # type: ignore[misc]
    """A regressor whose answers are not what its coefficients say, as a wrong converter gives."""

    def predict(self, X: object) -> np.ndarray:
        rows = np.asarray(X, dtype=np.float64)
        return np.asarray(super().predict(X) + (rows[:, 0] > 0.1) * 50.0)


def test_the_error_carries_the_counterexample_row_and_both_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from skl2onnx._supported_operators import sklearn_operator_name_map

    monkeypatch.setitem(sklearn_operator_name_map, Drifting, "SklearnLinearRegressor")
    X, y = numbers()
    model = Drifting().fit(X, y)
    with pytest.raises(ParityError) as caught:
        convert(model, X)
    error = caught.value
    assert float(error.row["x0"]) > 0.1  # type: ignore[arg-type]
    assert set(error.row) == {f"x{i}" for i in range(10)}
    assert error.expected == pytest.approx(float(error.got) + 50, rel=1e-3)  # type: ignore[arg-type]
    text = str(error)
    assert f"x0={error.row['x0']!r}" in text
    for part in ("Original:", "Converted:", "Tried:", "Ways out:", "Drifting"):
        assert part in text


def test_a_tolerance_of_the_publisher_is_used_and_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = numbers()
    converted = convert(Ridge().fit(X, y), X, atol=1e-12, rtol=0.0)
    assert converted.conversion["numbers"] == "double"
    assert converted.parity is not None
    assert converted.parity.tolerance == 1e-12
    assert convert(Ridge().fit(X, y), X).conversion["numbers"] == "float"


def test_trees_behind_a_scaler_get_doubles_where_floats_flip_labels() -> None:
    rng = np.random.default_rng(0)
    X = (1e6 + rng.integers(0, 40, (400, 3)) * 0.011).astype(np.float64)
    y = rng.integers(0, 2, 400)
    model = make_pipeline(StandardScaler(), DecisionTreeClassifier(random_state=0)).fit(X, y)
    converted = convert(model, X)
    assert converted.conversion["numbers"] == "double"
    assert converted.parity is not None
    assert converted.parity.label_mismatches == 0


def test_thresholds_are_probed_to_one_float_step() -> None:
    X, y = numbers()
    converted = convert(DecisionTreeRegressor(max_depth=3).fit(X, y), X)
    assert converted.parity is not None
    assert converted.parity.rows > len(X) + 10


def test_a_row_whose_answer_depends_on_its_company_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Coupled:
        output_names = ("prediction",)

        def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            value = inputs["input"]
            return {"prediction": value[:, 0] - value[0, 0]}

    rows = {"input": np.asarray([[1.0], [5.0]])}
    session = Coupled()
    with pytest.raises(searching.BatchError, match="order of the rows"):
        searching._check_batches(session, rows, session.run(rows))  # type: ignore[arg-type]


def test_the_first_conversion_without_near_ties_wins() -> None:
    X, y = binary()
    converted = convert(LogisticRegression(max_iter=3000).fit(X, y), X)
    assert converted.parity is not None
    assert converted.parity.near_ties == 0


def test_missing_values_and_unknown_categories_are_compared() -> None:
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import OneHotEncoder

    X, y = frame()
    prep = ColumnTransformer(
        [
            ("n", SimpleImputer(), ["income"]),
            ("c", OneHotEncoder(handle_unknown="ignore"), ["city"]),
        ]
    )
    converted = convert(make_pipeline(prep, LogisticRegression(max_iter=5000)).fit(X, y), X)
    assert converted.parity is not None
    assert converted.parity.rows >= len(X) + 5
