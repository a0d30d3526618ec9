"""The column schema of the training rows: types, observed ranges, categories, missing values."""

from collections.abc import Sequence

import numpy as np

from tollway.conversion.rows import Array, Rows, column_type
from tollway.conversion.types import ColumnSpec, TensorSpec

NULL = "<null>"
"""How a missing value of a string column is spelled in the graph's tensors."""

OUTPUT_NAMES = frozenset({"label", "probabilities", "prediction", "transformed", "scores"})
MOST_CATEGORIES = 100
"""String columns with more distinct values than this are taken as free text."""


def input_name(column: str) -> str:
    """Name of the tensor that carries ``column``: the same, unless an output has that name."""
    return f"{column}.column" if column in OUTPUT_NAMES else column


def _observed(column: Array) -> ColumnSpec:
    spec = ColumnSpec(name="", type=column_type(column), input="")
    if not len(column):
        return spec
    if column.dtype == object:
        values = column.tolist()
        known = {value for value in values if value is not None}
        spec["null_share"] = round(sum(v is None for v in values) / len(values), 6)
        if len(known) <= MOST_CATEGORIES and len(known) < max(2, len(values)):
            spec["categories"] = sorted(known)
        return spec
    if column.dtype == bool:
        return spec
    numbers = column.astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    spec["null_share"] = round(float(np.isnan(numbers).mean()), 6)
    if finite.size:
        spec["minimum"], spec["maximum"] = float(finite.min()), float(finite.max())
    return spec


def describe(rows: Rows, *, as_matrix: bool, nullable: Sequence[bool] = ()) -> list[ColumnSpec]:
    """One :class:`ColumnSpec` per column; ``nullable`` says which string columns take a null."""
    specs = []
    for i, (name, column) in enumerate(zip(rows.names, rows.columns, strict=True)):
        spec = _observed(column)
        spec["name"] = name
        if as_matrix:
            spec["input"], spec["index"] = "input", i
        elif rows.kind == "text":
            spec["input"] = "input"
        else:
            spec["input"] = input_name(name)
        if spec["type"] == "string" and i < len(nullable) and nullable[i]:
            spec["null"] = NULL
        specs.append(spec)
    return specs


def tensor_specs(columns: Sequence[ColumnSpec], *, double: bool) -> list[TensorSpec]:
    """The graph's inputs: one matrix, or one [-1, 1] tensor per column."""
    real = "FP64" if double else "FP32"
    if columns and columns[0].get("index") is not None:
        return [TensorSpec(name="input", datatype=real, shape=[-1, len(columns)])]
    datatypes = {"float": real, "integer": "INT64", "boolean": "BOOL", "string": "BYTES"}
    return [
        TensorSpec(name=column["input"], datatype=datatypes[column["type"]], shape=[-1, 1])
        for column in columns
    ]
