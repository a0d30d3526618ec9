# mypy: disable-error-code="import-untyped, import-not-found, misc"
"""LitServe with its batching, over ONNX Runtime; V2 JSON in and out.

Run: ``python litserve_api.py MODEL.onnx --port 8100``
"""

import argparse
from typing import Any

import litserve
import numpy as np
import onnxruntime as ort

MAX_BATCH = 32
BATCH_TIMEOUT_S = 0.001
DATATYPES = {"tensor(float)": "FP32", "tensor(int64)": "INT64"}


class Model(litserve.LitAPI):
    """The four steps that LitServe asks for."""

    def __init__(self, path: str) -> None:
        super().__init__(max_batch_size=MAX_BATCH, batch_timeout=BATCH_TIMEOUT_S)
        self._path = path

    def setup(self, device: str) -> None:  # noqa: ARG002 -- LitServe's signature
        """Once in the worker process."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(
            self._path, options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name
        self._outputs = [(o.name, DATATYPES[o.type]) for o in self._session.get_outputs()]

    def decode_request(self, request: dict[str, Any]) -> np.ndarray[Any, Any]:
        """Rows of one request."""
        tensor = request["inputs"][0]
        return np.array(tensor["data"], np.float32).reshape(tensor["shape"])

    def batch(self, inputs: list[np.ndarray[Any, Any]]) -> tuple[np.ndarray[Any, Any], list[int]]:
        """One array, and where each request's rows end."""
        return np.concatenate(inputs), np.cumsum([len(rows) for rows in inputs]).tolist()

    def predict(self, batch: tuple[np.ndarray[Any, Any], list[int]]) -> list[list[Any]]:
        """Outputs by request."""
        rows, ends = batch
        results = self._session.run(None, {self._input: rows})
        starts = [0, *ends[:-1]]
        return [
            [values[start:end] for values in results]
            for start, end in zip(starts, ends, strict=True)
        ]

    def unbatch(self, output: list[list[Any]]) -> list[list[Any]]:
        """They are apart already."""
        return output

    def encode_response(self, output: list[Any]) -> dict[str, Any]:
        """A V2 answer."""
        return {
            "model_name": "model",
            "outputs": [
                {
                    "name": name,
                    "shape": list(values.shape),
                    "datatype": datatype,
                    "data": values.ravel().tolist(),
                }
                for (name, datatype), values in zip(self._outputs, output, strict=True)
            ],
        }


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description="Serve one ONNX model with LitServe.")
    parser.add_argument("model")
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    api = Model(arguments.model)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=arguments.port, log_level="warning", num_api_servers=1)


if __name__ == "__main__":
    main()
