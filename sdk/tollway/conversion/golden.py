"""Golden rows: a V2 request and its expected response, replayed before a version takes traffic."""

import json
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx.helper import np_dtype_to_tensor_dtype

from tollway.conversion.graph import DATATYPES
from tollway.conversion.types import TensorSpec

Array = npt.NDArray[Any]

ROWS = 8
"""At most this many golden rows."""
ATOL = 1e-5
RTOL = 1e-4


def golden(inputs: dict[str, Array], outputs: dict[str, Array], specs: list[TensorSpec]) -> bytes:
    """The golden document. Outputs must come from ONNX Runtime on the graph as deployed.

    Numbers of large outputs are compared relative to the largest of them.
    """
    datatypes = {spec["name"]: spec["datatype"] for spec in specs}
    numbers = [np.abs(v[np.isfinite(v)]) for v in outputs.values() if v.dtype.kind == "f"]
    largest = max((float(v.max()) for v in numbers if v.size), default=1.0)
    document = {
        "request": {
            "inputs": [tensor_document(name, v, datatypes[name]) for name, v in inputs.items()]
        },
        "response": {
            "outputs": [tensor_document(name, v, _datatype(v)) for name, v in outputs.items()]
        },
        "atol": ATOL * max(1.0, largest),
        "rtol": RTOL,
    }
    return json.dumps(document, allow_nan=False, ensure_ascii=False).encode()


def usable(inputs: dict[str, Array]) -> npt.NDArray[np.int64]:
    """Positions of rows whose numbers are all finite, as JSON needs them."""
    length = len(next(iter(inputs.values())))
    fine = np.ones(length, dtype=bool)
    for value in inputs.values():
        if value.dtype.kind == "f":
            fine &= np.isfinite(value.reshape(length, -1)).all(axis=1)
    return np.flatnonzero(fine)[:ROWS]


def _datatype(value: Array) -> str:
    return (
        "BYTES" if value.dtype.kind in "OUS" else DATATYPES[np_dtype_to_tensor_dtype(value.dtype)]
    )


def tensor_document(name: str, value: Array, datatype: str) -> dict[str, object]:
    """A tensor of a V2 request, as JSON has it: a number that is not finite is null."""
    flat = value.ravel().tolist()
    if value.dtype.kind == "f":
        flat = [number if np.isfinite(number) else None for number in flat]
    elif datatype == "BYTES":
        flat = [item.decode() if isinstance(item, bytes) else str(item) for item in flat]
    return {"name": name, "datatype": datatype, "shape": list(value.shape), "data": flat}
