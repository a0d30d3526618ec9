"""Criteria and conditions as sentences."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.portal.filters import code_words
from control.portal.plain_words import (
    better_when,
    condition_words,
    criterion_sentence,
    metric_name,
)

SEGMENTS = {"young": "age<30"}


@pytest.mark.parametrize(
    ("criterion", "sentence"),
    [
        ("accuracy >= 0.9", "Accuracy is at least 0.9."),
        (
            "accuracy.low >= 0.9",
            "The lower end of the 95 % confidence interval of accuracy is at least 0.9.",
        ),
        ("recall[segment=young] >= 0.8", "Recall where age is below 30 is at least 0.8."),
        (
            "recall[segment=region==north and age>=18] >= 0.8",
            "Recall where age is at least 18 and region is “north” is at least 0.8.",
        ),
        (
            "abs(recall[segment=young] - recall) <= 0.05",
            (
                "The difference between recall where age is below 30 and recall is at most 0.05, "
                "in either direction."
            ),
        ),
        (
            "p99_ms <= 20 and size_mb <= 50",
            (
                "The 99th percentile of latency is at most 20 ms, and the model's size is at most "
                "50 MB."
            ),
        ),
        (
            "beats(stable, accuracy, holdout)",
            "Accuracy on the rows “holdout” is better than the stable version's.",
        ),
        (
            "beats(stable, rmse, holdout, -0.5)",
            (
                "The root mean squared error on the rows “holdout” is better than the stable "
                "version's, or worse by less than 0.5."
            ),
        ),
        ("f1[class=fraud] > 2 * 0.4", "The F1 score for the class “fraud” is above 2 times 0.4."),
        ("own_metric == 1", "Own metric is exactly 1."),
    ],
)
def test_a_criterion_is_a_sentence(criterion: str, sentence: str) -> None:
    assert criterion_sentence(criterion, SEGMENTS) == sentence


@given(st.text(max_size=60))
def test_what_cannot_be_read_is_given_as_it_is_and_never_fails(text: str) -> None:
    assert criterion_sentence(text, {}) or text == ""
    assert isinstance(condition_words(text), str)


def test_metrics_are_named_and_their_direction_told_where_it_is_known() -> None:
    assert (metric_name("roc_auc"), metric_name("balanced_accuracy")) == (
        "ROC AUC",
        "Balanced accuracy",
    )
    assert better_when("rmse") == "lower is better"
    assert better_when("r2") == "higher is better"
    assert better_when("own") == ""


@given(st.text(alphabet="`<>&a ", max_size=20))
def test_words_between_backticks_are_code_and_everything_is_escaped(text: str) -> None:
    shown = str(code_words(text))
    left = shown.replace("<code>", "").replace("</code>", "")
    assert "<" not in left
    assert shown.count("<code>") == shown.count("</code>")
