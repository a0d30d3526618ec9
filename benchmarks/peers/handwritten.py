# mypy: disable-error-code="import-untyped, import-not-found, untyped-decorator"
"""A model behind FastAPI, as one writes it by hand: the service that Tollway replaces.

It does what a team's own service usually does and no more: an API key from a file, a limit per key
(slowapi, in memory), request and response models (pydantic), metrics (the instrumentator), an ONNX
Runtime session in the process. One uvicorn process on uvloop and httptools. Everything is used as
the libraries' own documentation shows it; nothing is slowed down. The limit is set so high that it
never refuses, because refusals would be cheaper than answers.

It answers ``POST /v2/models/{name}/infer`` with the same JSON as Tollway, for models of one float
input. It has no versions, no usage records, no binary tensors, no batching, no deadlines.

Run: ``python handwritten.py MODEL.onnx --keys KEYS.json --port 8100 [--threads N]``
where KEYS.json maps each key to the name of its application.
"""

import argparse
import json
import secrets
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnxruntime as ort
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request, Response, Security
from fastapi.security import APIKeyHeader
from prometheus_fastapi_instrumentator import Instrumentator
from pydantic import BaseModel
from slowapi import Limiter, _rate_limit_exceeded_handler
from slowapi.errors import RateLimitExceeded

LIMIT = "100000000/minute"
DATATYPES = {"tensor(float)": "FP32", "tensor(int64)": "INT64", "tensor(double)": "FP64"}

api_key_header = APIKeyHeader(name="X-API-Key", auto_error=False)


class Tensor(BaseModel):
    """One tensor of the Open Inference Protocol, flat data."""

    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class InferRequest(BaseModel):
    """Body of an inference request."""

    id: str | None = None
    inputs: list[Tensor]


class OutputTensor(BaseModel):
    """One tensor of the answer."""

    name: str
    shape: list[int]
    datatype: str
    data: list[int] | list[float]


class InferResponse(BaseModel):
    """Body of the answer."""

    model_name: str
    model_version: str = "1"
    id: str | None = None
    outputs: list[OutputTensor]


def api_key_of(request: Request) -> str:
    """The key function of the limiter: one budget per API key."""
    return request.headers.get("X-API-Key", "")


def too_many(request: Request, error: Exception) -> Response:
    """slowapi's own answer."""
    assert isinstance(error, RateLimitExceeded)
    return _rate_limit_exceeded_handler(request, error)


def make_app(session: ort.InferenceSession, keys: dict[str, str]) -> FastAPI:
    """The whole service, for one session and its keys (key -> application)."""
    app = FastAPI(title="Model service")
    limiter = Limiter(key_func=api_key_of)
    app.state.limiter = limiter
    app.add_exception_handler(RateLimitExceeded, too_many)
    Instrumentator().instrument(app).expose(app)

    input_name = session.get_inputs()[0].name
    outputs = [(output.name, DATATYPES[output.type]) for output in session.get_outputs()]

    async def application(key: Annotated[str | None, Security(api_key_header)]) -> str:
        name = keys.get(key) if key else None
        if name is None:
            raise HTTPException(status_code=401, detail="missing or unknown API key")
        return name

    @app.post("/v2/models/{model}/infer", response_model_exclude_none=True)
    @limiter.limit(LIMIT)
    async def infer(
        request: Request,  # noqa: ARG001 -- the limiter looks for it by this name
        model: str,
        body: InferRequest,
        caller: Annotated[str, Depends(application)],  # noqa: ARG001
    ) -> InferResponse:
        tensor = body.inputs[0]
        try:
            rows = np.asarray(tensor.data, dtype=np.float32).reshape(tensor.shape)
            results: list[Any] = session.run(None, {input_name: rows})
        except Exception as error:
            raise HTTPException(status_code=400, detail=str(error)) from error
        return InferResponse(
            model_name=model,
            id=body.id or secrets.token_hex(8),
            outputs=[
                OutputTensor(
                    name=name,
                    shape=list(values.shape),
                    datatype=datatype,
                    data=values.ravel().tolist(),
                )
                for (name, datatype), values in zip(outputs, results, strict=True)
            ],
        )

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    return app


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description="Serve one ONNX model with FastAPI.")
    parser.add_argument("model", type=Path)
    parser.add_argument("--keys", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, default=0, help="0: ONNX Runtime's own default")
    arguments = parser.parse_args()

    options = ort.SessionOptions()
    if arguments.threads:
        options.intra_op_num_threads = arguments.threads
    session = ort.InferenceSession(
        str(arguments.model), options, providers=["CPUExecutionProvider"]
    )
    app = make_app(session, json.loads(arguments.keys.read_text()))
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=arguments.port,
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
    )


if __name__ == "__main__":
    main()
