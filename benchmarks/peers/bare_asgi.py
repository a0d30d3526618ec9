# mypy: disable-error-code="import-untyped"
"""A bare ASGI application over ONNX Runtime: no key, no limit, no metrics, no framework.

The floor of what Python can do for a prediction over HTTP. Alone, it shows what management costs;
behind Envoy, with Envoy's key check and rate limit, it is what one would build for speed today.

Answers ``POST .../infer`` in V2, JSON and binary tensors, for a model of one FP32 input.

Run: ``python bare_asgi.py MODEL.onnx --port 8100``
"""

import argparse
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import numpy as np
import onnxruntime as ort
import uvicorn

DATATYPES = {"tensor(float)": "FP32", "tensor(int64)": "INT64", "tensor(double)": "FP64"}
HEADER = b"inference-header-content-length"

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Parameters(msgspec.Struct, frozen=True):
    """Of one tensor."""

    binary_data_size: int = 0


class RequestParameters(msgspec.Struct, frozen=True):
    """Of the whole request."""

    binary_data_output: bool = False


class Tensor(msgspec.Struct):
    """One tensor of a request."""

    name: str
    shape: list[int]
    datatype: str
    data: list[float] = []
    parameters: Parameters = Parameters()


class InferRequest(msgspec.Struct):
    """Body of an inference request."""

    inputs: list[Tensor]
    parameters: RequestParameters = RequestParameters()


class Model:
    """One session and its way from body to body."""

    def __init__(self, path: str) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._outputs = [(o.name, DATATYPES[o.type]) for o in self._session.get_outputs()]
        self._decoder = msgspec.json.Decoder(InferRequest)

    def infer(self, body: bytes, json_bytes: int | None) -> tuple[bytes, int | None]:
        """The answer's body, and the length of its JSON part if tensors follow it."""
        request = self._decoder.decode(body if json_bytes is None else body[:json_bytes])
        tensor = request.inputs[0]
        if tensor.parameters.binary_data_size:
            rows = np.frombuffer(body, "<f4", offset=json_bytes or 0).reshape(tensor.shape)
        else:
            rows = np.array(tensor.data, np.float32).reshape(tensor.shape)
        results: list[Any] = self._session.run(None, {self._input: rows})
        binary = request.parameters.binary_data_output
        outputs = []
        for (name, datatype), values in zip(self._outputs, results, strict=True):
            output = {"name": name, "shape": values.shape, "datatype": datatype}
            if binary:
                output["parameters"] = {"binary_data_size": values.nbytes}
            else:
                output["data"] = values.ravel().tolist()
            outputs.append(output)
        head = msgspec.json.encode({"model_name": "model", "outputs": outputs})
        if not binary:
            return head, None
        return b"".join([head, *(values.tobytes() for values in results)]), len(head)


def make_app(model: Model) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """The application."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        parts = []
        while True:
            message = await receive()
            parts.append(message.get("body", b""))
            if not message.get("more_body"):
                break
        given = dict(scope["headers"]).get(HEADER)
        body, json_bytes = model.infer(b"".join(parts), None if given is None else int(given))
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
        ]
        if json_bytes is not None:
            headers = [
                (b"content-type", b"application/octet-stream"),
                (b"content-length", b"%d" % len(body)),
                (HEADER, b"%d" % json_bytes),
            ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description="Serve one ONNX model with a bare ASGI app.")
    parser.add_argument("model")
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    uvicorn.run(
        make_app(Model(arguments.model)),
        host="127.0.0.1",
        port=arguments.port,
        loop="uvloop",
        http="httptools",
        lifespan="off",
        log_level="warning",
        access_log=False,
    )


if __name__ == "__main__":
    main()
