# mypy: disable-error-code="import-untyped, import-not-found, untyped-decorator"
"""PyTriton: Triton's HTTP front end and dynamic batcher before a Python function over ONNX Runtime.

Run: ``python pytriton_server.py MODEL.onnx --port 8100 --name NAME``
"""

import argparse
from typing import Any

import numpy as np
import onnxruntime as ort
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

TYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
MAX_BATCH = 1024


def _tensor(port: ort.NodeArg) -> Tensor:
    """A port of the graph without its first dimension, which is the batch's."""
    shape = tuple(size if isinstance(size, int) else -1 for size in port.shape[1:]) or (1,)
    return Tensor(name=port.name, dtype=TYPES[port.type], shape=shape)


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description="Serve one ONNX model with PyTriton.")
    parser.add_argument("model")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--grpc-port", type=int, required=True)
    parser.add_argument("--metrics-port", type=int, required=True)
    parser.add_argument("--name", required=True)
    arguments = parser.parse_args()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(arguments.model, options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    ports = session.get_outputs()

    @batch
    def infer(**inputs: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
        results: list[Any] = session.run(None, inputs)
        return {
            port.name: values if values.ndim > 1 else values[:, np.newaxis]
            for port, values in zip(ports, results, strict=True)
        }

    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=arguments.port,
        grpc_address="127.0.0.1",
        grpc_port=arguments.grpc_port,
        metrics_port=arguments.metrics_port,
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name=arguments.name,
            infer_func=infer,
            inputs=[_tensor(given)],
            outputs=[_tensor(port) for port in ports],
            config=ModelConfig(max_batch_size=MAX_BATCH, batcher=DynamicBatcher()),
        )
        triton.serve()


if __name__ == "__main__":
    main()
