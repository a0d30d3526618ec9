"""Rows made to find differences: at thresholds, unknown, missing, infinite, in other scripts."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tollway.conversion.foreign import Estimator, Foreign
from tollway.conversion.missing import missing_value
from tollway.conversion.reference import Answers, answers
from tollway.conversion.rewrites import unwrapped
from tollway.conversion.rows import Rows, is_pandas, is_polars, rows_of
from tollway.conversion.steps import is_container, parts
from tollway.conversion.types import Task

MOST_COLUMNS = 32
MOST_THRESHOLDS = 96
UNKNOWN = ("", " ", "no such category", "żółw Ünïcode", "ДОМ 東京")
TEXTS = (
    "", " ", "a", "!!! ... ??", "Zażółć GĘŚLĄ jaźń", "Привет МИР, как дела", "東京 タワー",
    "naïve café CAFÉ", "snake_case x2 10.5 e-mail", "tab\tnew\nline  double",
)  # fmt: skip


@dataclass(frozen=True)
class Group:
    """Rows of one kind with the original's answers to them."""

    name: str
    rows: Rows
    answers: Answers


def accepts(model: Estimator, rows: Rows, task: Task) -> Answers | None:
    """The original's answers, or None where it refuses the rows."""
    try:
        return answers(model, rows, task)
    except Exception:
        return None


def groups(model: Estimator, rows: Rows, task: Task) -> list[Group]:
    """Every group of probe rows of which the original accepts at least one."""
    found = []
    for name, probe in _probes(model, rows):
        expected = accepts(model, probe, task)
        if expected is not None:
            found.append(Group(name, probe, expected))
            continue
        for i in range(len(probe)):
            single = probe.take([i])
            expected = accepts(model, single, task)
            if expected is not None:
                found.append(Group(name, single, expected))
    return found


def nullable(model: Estimator, rows: Rows, task: Task) -> list[bool]:
    """Which string columns the original accepts a missing value in."""
    if rows.kind != "columns":
        return []
    flags = []
    for i, column in enumerate(rows.columns):
        if column.dtype != object:
            flags.append(False)
        elif any(value is None for value in column.tolist()):
            flags.append(True)
        else:
            probe = rows.take([0]).replaced(i, [missing_value(model, rows, i)])
            flags.append(accepts(model, probe, task) is not None)
    return flags


def _probes(model: Estimator, rows: Rows) -> Iterator[tuple[str, Rows]]:
    if rows.kind == "text":
        samples = [str(value) for value in rows.columns[0].tolist()[:8]]
        texts = [*TEXTS, *(s.upper() for s in samples), *(s.title() for s in samples)]
        yield "texts", rows.take([0] * len(texts)).replaced(0, texts)
        return
    columns = list(enumerate(rows.columns))[:MOST_COLUMNS]
    for i, column in columns:
        if column.dtype == object:
            base = rows.take([0] * len(UNKNOWN))
            yield f"unknown values in {rows.names[i]!r}", base.replaced(i, UNKNOWN)
    missing = [i for i, _ in columns if _can_hold_missing(rows, i)]
    if missing:
        cells = [(row, i, missing_value(model, rows, i)) for row, i in enumerate(missing)]
        yield "rows with a missing value", rows.take([0] * len(cells)).with_cells(cells)
    reals = [i for i, column in columns if column.dtype.kind == "f"]
    signed = [(i, sign * np.inf) for i in reals for sign in (1, -1)]
    if signed:
        infinite = [(row, i, value) for row, (i, value) in enumerate(signed)]
        yield "rows with an infinite value", rows.take([0] * len(infinite)).with_cells(infinite)
    yield from _around_thresholds(model, rows)


def _can_hold_missing(rows: Rows, column: int) -> bool:
    if not rows.framed and rows.native.dtype.kind != "O":
        return bool(rows.native.dtype.kind == "f")
    return rows.columns[column].dtype.kind in "Of"


def _around_thresholds(model: Estimator, rows: Rows) -> Iterator[tuple[str, Rows]]:
    """A row just below, at and just above tree thresholds, in values that float32 can hold."""
    if rows.kind != "matrix" or is_container(unwrapped(model)):
        return
    splits = list(dict.fromkeys(_splits(model)))
    if not splits:
        return
    step = max(1, len(splits) // MOST_THRESHOLDS)
    native = np.asarray(rows.take([0]).native, dtype=np.float64)
    made = []
    for feature, threshold in splits[::step][:MOST_THRESHOLDS]:
        at = np.float32(threshold)
        if feature >= native.shape[1] or not np.isfinite(at):
            continue
        for value in (
            np.nextafter(at, np.float32(-np.inf)),
            at,
            np.nextafter(at, np.float32(np.inf)),
        ):
            row = native[0].copy()
            row[feature] = float(value)
            made.append(row)
    if made:
        yield "rows at tree thresholds", _like(rows, np.asarray(made))


def _like(rows: Rows, matrix: Foreign) -> Rows:
    if is_pandas(rows.native):
        frame = rows.take([0] * len(matrix)).native.astype(np.float64)
        frame.loc[:, :] = matrix
        return rows_of(frame, like=rows)
    if is_polars(rows.native):
        return rows_of(type(rows.native)(matrix, schema=list(rows.names)), like=rows)
    return rows_of(matrix, like=rows)


def _splits(model: Estimator) -> Iterator[tuple[int, float]]:
    for path, part in parts(model):
        del path
        tree = getattr(part, "tree_", None)
        if tree is not None and hasattr(tree, "threshold"):
            inner = tree.feature >= 0
            yield from zip(
                tree.feature[inner].tolist(), tree.threshold[inner].tolist(), strict=True
            )
        for iteration in getattr(part, "_predictors", None) or []:
            for predictor in iteration:
                for node in predictor.nodes:
                    if not node["is_leaf"]:
                        yield int(node["feature_idx"]), float(node["num_threshold"])
        yield from _boosted_splits(part)
        stages = getattr(part, "estimators_", None)
        if isinstance(stages, np.ndarray):
            for stage in stages.ravel()[:20]:
                yield from _splits(stage)


def _boosted_splits(part: Estimator) -> Iterator[tuple[int, float]]:
    if hasattr(part, "booster_"):
        for tree in part.booster_.dump_model()["tree_info"]:
            yield from _lightgbm_splits(tree["tree_structure"])
    elif hasattr(part, "get_booster"):
        booster = part.get_booster()
        names = booster.feature_names
        for text in booster.get_dump(dump_format="json"):
            yield from _xgboost_splits(json.loads(text), names)


def _lightgbm_splits(node: dict[str, Any]) -> Iterator[tuple[int, float]]:
    if "left_child" in node:
        yield int(node["split_feature"]), float(node["threshold"])
        yield from _lightgbm_splits(node["left_child"])
        yield from _lightgbm_splits(node["right_child"])


def _xgboost_splits(node: dict[str, Any], names: list[str] | None) -> Iterator[tuple[int, float]]:
    if "children" in node:
        name = str(node["split"])
        feature = names.index(name) if names else int(name.removeprefix("f"))
        yield feature, float(node["split_condition"])
        for child in node["children"]:
            yield from _xgboost_splits(child, names)
