"""What is asked in the comparison: one row or a thousand, as JSON or as binary tensors."""

import json
from enum import StrEnum

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.models import Trained, json_body
from benchmarks.spec import Answer, Exchange

DIFFERENT_BODIES = 64
LARGE_ROWS = 1000
LARGE_BODIES = 4
"""Different bodies of a thousand rows: enough to see answers that were mixed up."""


class Form(StrEnum):
    """How a system wants rows, and how it answers."""

    V2 = "v2"
    """The Open Inference Protocol."""
    BENTOML = "bentoml"
    """``{"rows": [[...]]}`` -> the list of probabilities."""
    MLFLOW = "mlflow"
    """``{"inputs": [[...]]}`` -> ``{"predictions": {output: values}}``."""


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of request."""

    rows: int
    binary: bool

    @property
    def label(self) -> str:
        """Its name in tables."""
        rows = "1 row" if self.rows == 1 else f"{self.rows:,} rows"
        return f"{rows}, {'binary' if self.binary else 'JSON'}"


WORKLOADS = [
    Workload(rows=rows, binary=binary) for rows in (1, LARGE_ROWS) for binary in (False, True)
]


def exchanges(trained: Trained, workload: Workload, form: Form = Form.V2) -> list[Exchange]:
    """Requests with the answers that scikit-learn gives, in the form that a system speaks."""
    bodies = DIFFERENT_BODIES if workload.rows == 1 else LARGE_BODIES
    return [
        _exchange(trained, _rows(trained, number, bodies, workload.rows), workload.binary, form)
        for number in range(bodies)
    ]


def _rows(trained: Trained, number: int, bodies: int, rows: int) -> NDArray[np.float32]:
    start = number * len(trained.X) // bodies
    chosen: NDArray[np.float32] = trained.X[(start + np.arange(rows)) % len(trained.X)]
    return chosen


def _exchange(trained: Trained, rows: NDArray[np.float32], binary: bool, form: Form) -> Exchange:
    expected = {
        "label": trained.estimator.predict(rows).tolist(),
        "probabilities": trained.estimator.predict_proba(rows).ravel().tolist(),
    }
    if binary:
        return binary_exchange("input", rows, expected)
    if form is Form.V2:
        return Exchange(body=json_body("input", rows), expected=expected)
    values = [[float(str(value)) for value in row] for row in rows]
    if form is Form.BENTOML:
        del expected["label"]
        return Exchange(
            body=_json({"rows": values}), expected=expected, answer=Answer.PROBABILITIES
        )
    return Exchange(body=_json({"inputs": values}), expected=expected, answer=Answer.PREDICTIONS)


def binary_exchange(
    name: str, rows: NDArray[np.float32], expected: dict[str, list[float]]
) -> Exchange:
    """Rows in the binary tensor extension, answered in it as well."""
    data = rows.astype("<f4").tobytes()
    tensor = {
        "name": name,
        "shape": list(rows.shape),
        "datatype": "FP32",
        "parameters": {"binary_data_size": len(data)},
    }
    head = _json({"inputs": [tensor], "parameters": {"binary_data_output": True}})
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(head)),
    }
    return Exchange(body=head + data, headers=headers, expected=expected)


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
