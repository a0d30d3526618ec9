# mypy: disable-error-code="import-untyped"
"""The models that are benchmarked, their requests, and the answers that scikit-learn gives."""

import json
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.spec import Exchange

CLASSIFIER = "breast-cancer"
TREES = 100
REDUCER = "row-sum"
DIGITS = 4


class Trained(NamedTuple):
    """The classifier and the data it was fitted on."""

    estimator: Pipeline
    X: NDArray[np.float32]
    y: NDArray[np.int64]


def train_classifier() -> Trained:
    """StandardScaler and gradient boosting of 100 trees on breast cancer: 30 features."""
    X, y = load_breast_cancer(return_X_y=True)
    X = X.astype(np.float32)
    estimator = make_pipeline(
        StandardScaler(), GradientBoostingClassifier(n_estimators=TREES, random_state=0)
    )
    return Trained(estimator.fit(X, y), X, y)


def classifier_onnx(trained: Trained) -> bytes:
    """The graph as one converts it by hand, for the service that one writes by hand."""
    signature = [("input", FloatTensorType([None, trained.X.shape[1]]))]
    converted = to_onnx(trained.estimator, initial_types=signature, options={"zipmap": False})
    graph: bytes = converted.SerializeToString()
    return graph


def json_body(name: str, rows: NDArray[np.float32]) -> bytes:
    """Rows, or one row, as a V2 JSON request; numbers in their shortest exact form."""
    rows = np.atleast_2d(rows)
    tensor = {
        "name": name,
        "shape": list(rows.shape),
        "datatype": "FP32",
        "data": [float(str(value)) for value in rows.ravel()],
    }
    return json.dumps({"inputs": [tensor]}, separators=(",", ":")).encode()


def json_sum(row: NDArray[np.float32]) -> Exchange:
    """One row for the reducer, as JSON."""
    return Exchange(body=json_body("input", row), expected=_sum_of(row))


def binary_sum(row: NDArray[np.float32]) -> Exchange:
    """One row for the reducer in the binary tensor extension, answered in JSON."""
    data = row.astype("<f4").tobytes()
    tensor = {
        "name": "input",
        "shape": [1, len(row)],
        "datatype": "FP32",
        "parameters": {"binary_data_size": len(data)},
    }
    head = json.dumps({"inputs": [tensor]}, separators=(",", ":")).encode()
    return Exchange(
        body=head + data,
        headers={
            "Content-Type": "application/octet-stream",
            "Inference-Header-Content-Length": str(len(head)),
        },
        expected=_sum_of(row),
    )


def reducer() -> onnx.ModelProto:
    """A graph that sums rows of any length: work that hardly costs, for tensors of any size."""
    graph = helper.make_graph(
        [helper.make_node("ReduceSum", ["input", "axes"], ["sum"], keepdims=1)],
        "row_sum",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["rows", "columns"])],
        [helper.make_tensor_value_info("sum", TensorProto.FLOAT, ["rows", 1])],
        [helper.make_tensor("axes", TensorProto.INT64, [1], [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def row_of(json_bytes: int, seed: int = 0) -> NDArray[np.float32]:
    """A row whose V2 JSON body has about ``json_bytes`` bytes."""
    random = np.random.default_rng(seed)
    row = np.round(random.random(max(1, json_bytes // 4)), DIGITS).astype(np.float32)
    per_value = len(json_body("input", row)) / len(row)
    return row[: max(1, int(json_bytes / per_value))]


def wide_row(bytes_: int, seed: int = 0) -> NDArray[np.float32]:
    """A row of ``bytes_`` bytes as binary data."""
    return np.random.default_rng(seed).random(bytes_ // 4).astype(np.float32)


def _sum_of(row: NDArray[np.float32]) -> dict[str, list[float]]:
    return {"sum": [float(np.sum(row, dtype=np.float64))]}
