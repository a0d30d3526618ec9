"""Criteria, conditions and rules as sentences for people who call models. Pure."""

from typing import Final

from control.portal.directions import isolated
from protocol.errors import TollwayError
from protocol.segments import Condition, Operator, Term, parse_condition
from registry.criteria import (
    Absolute,
    Arithmetic,
    Beats,
    Comparison,
    Expression,
    Measure,
    Negative,
    Number,
    parse_criterion,
)
from registry.measures import Untold, smaller_is_better

_METRICS: Final = {
    "accuracy": "accuracy", "auc": "the area under the ROC curve", "f1": "the F1 score",
    "log_loss": "the log loss", "mae": "the mean absolute error",
    "mape": "the mean absolute percentage error", "mcc": "the Matthews correlation",
    "mean_absolute_error": "the mean absolute error",
    "mean_squared_error": "the mean squared error",
    "mse": "the mean squared error", "p50_ms": "the median latency",
    "p99_ms": "the 99th percentile of latency",
    "parity.label_mismatches": "the number of labels that the conversion changed",
    "parity.max_abs_error": "the largest difference that the conversion made",
    "parity.near_ties": "the number of near ties that the conversion decided otherwise",
    "parity.rows": "the number of rows on which the conversion was checked",
    "parity.tolerance": "the tolerance of the conversion's check",
    "precision": "precision", "r2": "R²", "recall": "recall",
    "rmse": "the root mean squared error", "roc_auc": "the area under the ROC curve",
    "root_mean_squared_error": "the root mean squared error",
    "rows": "the number of evaluated rows", "size_mb": "the model's size",
}  # fmt: skip
_UNITS: Final = {"p50_ms": " ms", "p99_ms": " ms", "size_mb": " MB"}
_SHORT: Final = {
    "auc": "ROC AUC", "f1": "F1", "log_loss": "Log loss", "mae": "MAE", "mape": "MAPE",
    "mcc": "MCC", "mse": "MSE", "pr_auc": "PR AUC", "r2": "R²", "rmse": "RMSE",
    "roc_auc": "ROC AUC",
}  # fmt: skip
_COMPARED: Final[dict[Operator, str]] = {
    "<": "below", "<=": "at most", ">": "above", ">=": "at least", "==": "exactly",
    "!=": "anything but",
}  # fmt: skip
_SIGNS: Final = {"+": "plus", "-": "minus", "*": "times", "/": "divided by"}


def metric_name(name: str) -> str:
    """A metric as a heading: ``Balanced accuracy``, ``ROC AUC``."""
    return _SHORT.get(name) or name.replace("_", " ").capitalize()


def better_when(name: str) -> str:
    """``lower is better``, ``higher is better``, or nothing where that is not known."""
    try:
        return "lower is better" if smaller_is_better(Measure(name=name)) else "higher is better"
    except Untold:
        return ""


def criterion_sentence(text: str, segments: dict[str, str]) -> str:
    """A criterion as a sentence. ``segments``: name -> condition, as the requirements define them.
    One that cannot be read is given as it is."""
    try:
        parts = parse_criterion(text).parts
    except TollwayError:
        return text
    return _sentence(", and ".join(_part(part, segments) for part in parts))


def condition_words(condition: Condition | str) -> str:
    """A condition as part of a sentence: ``age is below 30 and region is “north”``."""
    if isinstance(condition, str):
        try:
            condition = parse_condition(condition)
        except TollwayError:
            return str(condition)
    return " and ".join(_term(term) for term in condition.terms)


def figure(value: float) -> str:
    """A number without digits that say nothing."""
    return f"{value:,.6g}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _part(part: Comparison | Beats, segments: dict[str, str]) -> str:
    if isinstance(part, Beats):
        return _beats(part, segments)
    unit = _unit(part.left) or _unit(part.right)
    left, right = (_value(side, segments, unit) for side in (part.left, part.right))
    if isinstance(part.left, Number):
        return f"{left} is {_COMPARED[part.operator]} {right}"
    if isinstance(part.left, Absolute) and isinstance(part.right, Number):
        return f"{left} is {_COMPARED[part.operator]} {right}, in either direction"
    return f"{left} is {_COMPARED[part.operator]} {right}"


def _beats(part: Beats, segments: dict[str, str]) -> str:
    what = _measure(part.measure, segments)
    unit = _UNITS.get(part.measure.name, "")
    where = f"on the rows “{isolated(part.rows)}”"
    if part.margin < 0:
        by = f"{figure(-part.margin)}{unit}"
        return f"{what} {where} is better than the stable version's, or worse by less than {by}"
    by = f" by more than {figure(part.margin)}{unit}" if part.margin else ""
    return f"{what} {where} is better than the stable version's{by}"


def _value(expression: Expression, segments: dict[str, str], unit: str) -> str:
    match expression:
        case Number():
            return figure(expression.value) + unit
        case Measure():
            return _measure(expression, segments)
        case Negative():
            return f"minus {_value(expression.of, segments, unit)}"
        case Absolute(of=Arithmetic(sign="-", left=left, right=right)):
            first, second = (_value(side, segments, "") for side in (left, right))
            return f"the difference between {first} and {second}"
        case Absolute():
            return f"the size of {_value(expression.of, segments, unit)}"
        case Arithmetic():
            first, second = (
                _value(side, segments, "") for side in (expression.left, expression.right)
            )
            return f"{first} {_SIGNS[expression.sign]} {second}"


def _unit(expression: Expression) -> str:
    return _UNITS.get(expression.name, "") if isinstance(expression, Measure) else ""


def _measure(measure: Measure, segments: dict[str, str]) -> str:
    words = _METRICS.get(measure.name) or measure.name.replace("_", " ")
    if measure.bound:
        end = "lower" if measure.bound == "low" else "upper"
        words = f"the {end} end of the 95 % confidence interval of {words}"
    if measure.label is not None:
        words += f" for the class “{isolated(measure.label)}”"
    if measure.segment is not None:
        words += f" where {_segment(measure.segment, segments)}"
    if measure.rows is not None:
        words += f" on the rows “{isolated(measure.rows)}”"
    return words


def _segment(segment: Condition | str, segments: dict[str, str]) -> str:
    if isinstance(segment, str):
        return (
            condition_words(segments[segment]) if segment in segments else f"“{isolated(segment)}”"
        )
    return condition_words(segment)


def _term(term: Term) -> str:
    value = f"“{isolated(term.value)}”" if isinstance(term.value, str) else figure(term.value)
    column = isolated(term.column)
    match term.operator:
        case "==":
            return f"{column} is {value}"
        case "!=":
            return f"{column} is not {value}"
        case operator:
            return f"{column} is {_COMPARED[operator]} {value}"
