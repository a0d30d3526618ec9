"""curl lines for a model, run and compared with scikit-learn's own answers."""

import json
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import cast

import httpx
import numpy as np
import numpy.typing as npt

import tollway
from demo.training import Trained
from tollway.conversion import ColumnSpec, TensorSpec, encode_inputs

TOLERANCE = 1e-4
"""Relative and absolute: the engines compute in 32 bits."""


@dataclass(frozen=True)
class CurlLine:
    """One call, as it is printed and as it is run."""

    url: str
    key: str
    body: str

    @property
    def arguments(self) -> list[str]:
        """The command line."""
        headers = [f"X-API-Key: {self.key}", "Content-Type: application/json"]
        flags = [part for header in headers for part in ("-H", header)]
        return ["curl", "-sS", self.url, *flags, "-d", self.body]

    def __str__(self) -> str:
        return shlex.join(self.arguments)

    def run(self) -> str:
        """The answer's body: by curl, or the same by httpx on a machine that has none."""
        if shutil.which("curl"):
            done = subprocess.run(
                shlex.split(str(self)), capture_output=True, text=True, timeout=60, check=True
            )
            return done.stdout
        headers = {"X-API-Key": self.key, "Content-Type": "application/json"}
        return httpx.post(
            self.url, content=self.body, headers=headers, timeout=60, trust_env=False
        ).text


def v2(url: str, key: str, trained: Trained, version: tollway.Version) -> CurlLine:
    """An inference request of the Open Inference Protocol V2, with the real rows."""
    manifest = version.manifest
    inputs = [cast("TensorSpec", asdict(tensor)) for tensor in manifest.inputs]
    columns = [cast("ColumnSpec", asdict(column)) for column in manifest.columns]
    arrays = encode_inputs(inputs, columns, trained.rows)
    described = [
        {
            "name": tensor.name,
            "shape": list(arrays[tensor.name].shape),
            "datatype": tensor.datatype,
            "data": _short(arrays[tensor.name]),
        }
        for tensor in manifest.inputs
    ]
    body = json.dumps({"inputs": described})
    return CurlLine(f"{url}/v2/models/{trained.name}/infer", key, body)


def v1(url: str, key: str, trained: Trained) -> CurlLine:
    """A V1 prediction: rows as objects by column name where there are names, else as lists."""
    instances = objects(trained.rows) or _lists(trained.rows)
    body = json.dumps({"instances": instances})
    return CurlLine(f"{url}/v1/models/{trained.name}:predict", key, body)


def difference(answer: str, trained: Trained) -> str | None:
    """What differs between an answer (V1 or V2) and scikit-learn's own; None: nothing."""
    try:
        document = json.loads(answer)
    except ValueError:
        return f"not JSON: {answer[:200]!r}"
    if "error" in document:
        return str(document["error"])
    outputs = _v2_outputs(document) if "outputs" in document else _v1_outputs(document)
    labels = outputs.get("label", outputs.get("prediction"))
    if labels is None or len(labels) != len(trained.predictions):
        return f"no answer for every row: {answer[:200]!r}"
    if trained.probabilities is None:
        return _numbers("prediction", labels, trained.predictions)
    if list(labels) != trained.predictions.tolist():
        return f"labels {labels}, scikit-learn says {trained.predictions.tolist()}"
    return _numbers("probabilities", outputs.get("probabilities", []), trained.probabilities)


def _numbers(name: str, got: Sequence[object], expected: npt.NDArray[np.generic]) -> str | None:
    values = np.array(got, dtype=np.float64).reshape(expected.shape)
    if np.allclose(values, expected, rtol=TOLERANCE, atol=TOLERANCE):
        return None
    return f"{name} {values.tolist()}, scikit-learn says {expected.tolist()}"


def _v2_outputs(document: Mapping[str, list[dict[str, list[object]]]]) -> dict[str, list[object]]:
    return {str(output["name"]): output["data"] for output in document["outputs"]}


def _v1_outputs(document: Mapping[str, list[object]]) -> dict[str, list[object]]:
    found: dict[str, list[object]] = {}
    for prediction in document["predictions"]:
        named = prediction if isinstance(prediction, dict) else {"prediction": prediction}
        for name, value in named.items():
            found.setdefault(name, []).append(value)
    return found


def objects(rows: object) -> list[dict[str, float]]:
    """Rows of a DataFrame by column name, in as few digits as tell 32-bit numbers apart; nothing
    for an array."""
    if not hasattr(rows, "to_dict"):
        return []
    return [
        {str(name): float(str(np.float32(value))) for name, value in row.items()}
        for row in rows.to_dict(orient="records")
    ]


def _short(array: npt.NDArray[np.generic]) -> list[object]:
    """Nested lists, with 32-bit numbers in as few digits as tell them apart."""
    if array.dtype != np.float32:
        return list(array.tolist())
    flat = [float(str(value)) for value in array.ravel()]
    return [flat[at : at + array.shape[1]] for at in range(0, len(flat), array.shape[1])]


def _lists(rows: object) -> list[list[float]]:
    found: list[list[float]] = np.asarray(rows).tolist()
    return found
