# mypy: disable-error-code="import-untyped, import-not-found, misc, untyped-decorator, attr-defined"
"""Ray Serve, one replica over ONNX Runtime; V2 JSON in and out.

Run: ``python ray_deployment.py MODEL.onnx --port 8100``
"""

import argparse
import signal
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import ray
from ray import serve
from starlette.requests import Request

DATATYPES = {"tensor(float)": "FP32", "tensor(int64)": "INT64"}
OBJECT_STORE_BYTES = 100 << 20


@serve.deployment(num_replicas=1, max_ongoing_requests=256)
class Model:
    """One session in a replica."""

    def __init__(self, graph: bytes) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._outputs = [(o.name, DATATYPES[o.type]) for o in self._session.get_outputs()]

    async def __call__(self, request: Request) -> dict[str, Any]:
        """A V2 answer."""
        tensor = (await request.json())["inputs"][0]
        rows = np.array(tensor["data"], np.float32).reshape(tensor["shape"])
        results = self._session.run(None, {self._input: rows})
        return {
            "model_name": "model",
            "outputs": [
                {
                    "name": name,
                    "shape": list(values.shape),
                    "datatype": datatype,
                    "data": values.ravel().tolist(),
                }
                for (name, datatype), values in zip(self._outputs, results, strict=True)
            ],
        }


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description="Serve one ONNX model with Ray Serve.")
    parser.add_argument("model", type=Path)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    # Before Ray starts threads: only sigwait below may take these.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    ray.init(
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=OBJECT_STORE_BYTES,
        _node_ip_address="127.0.0.1",
    )
    serve.start(http_options={"host": "127.0.0.1", "port": arguments.port})
    serve.run(Model.bind(arguments.model.read_bytes()), route_prefix="/")
    try:
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
    finally:
        serve.shutdown()
        ray.shutdown()


if __name__ == "__main__":
    main()
