"""Background rows: typical rows that the version keeps, which explanations compare with."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tollway.conversion.golden import tensor_document
from tollway.conversion.types import ColumnSpec, TensorSpec

Array = npt.NDArray[Any]

MOST_BYTES = 4 << 20
"""Rows of long texts: fewer are kept."""
_MATRIX = 2


def background(
    inputs: Mapping[str, Array],
    specs: Sequence[TensorSpec],
    columns: Sequence[ColumnSpec],
    count: int,
) -> bytes | None:
    """``count`` rows of ``inputs``, the same ones every time; None where no explanation could use
    them: without columns, or where the graph takes a fixed number of rows.

    Rows with infinities, which JSON does not have, are left out.
    """
    carried = {column["input"] for column in columns}
    if not count or not all(_takes_rows(spec) and spec["name"] in carried for spec in specs):
        return None
    fine = _without_infinities(inputs)
    # In the order of the choice: any first part of it is a choice as well.
    chosen = np.random.default_rng(0).permutation(fine)[:count]
    while len(chosen):
        document = {
            "request": {
                "inputs": [
                    tensor_document(spec["name"], inputs[spec["name"]][chosen], spec["datatype"])
                    for spec in specs
                ]
            }
        }
        data = json.dumps(document, allow_nan=False, ensure_ascii=False).encode()
        if len(data) <= MOST_BYTES:
            return data
        chosen = chosen[: len(chosen) // 2]
    return None


def _takes_rows(spec: TensorSpec) -> bool:
    shape = spec["shape"]
    return 0 < len(shape) <= _MATRIX and shape[0] < 0


def _without_infinities(inputs: Mapping[str, Array]) -> npt.NDArray[np.int64]:
    length = min((len(value) for value in inputs.values()), default=0)
    fine = np.ones(length, dtype=bool)
    for value in inputs.values():
        if value.dtype.kind == "f":
            fine &= ~np.isinf(value.reshape(length, -1)).any(axis=1)
    return np.flatnonzero(fine)
