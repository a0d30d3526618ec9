"""Engines that explain, made of estimators as a deployment makes them."""

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from onnx import ModelProto

from protocol.frames import Frame, Operation
from protocol.manifest import Additive, Column, Manifest
from registry.additive import additive_outputs
from registry.graph import signature_of
from serving.boot import load
from serving.engine import Engine
from serving.launch import EngineOrder
from tests.serving.rig import infer_frame
from tests.serving.test_engine import connected, frame_bytes
from tollway.conversion import convert

LEFT_MS = 60_000


def engine_of(model: Any, X: Any, folder: Path, *, background: int = 40, **order: Any) -> Engine:
    """The engine of a deployed estimator."""
    converted = convert(model, X, background=background)
    graph = onnx.load_from_string(converted.onnx_bytes)
    columns = msgspec.convert(converted.columns, tuple[Column, ...])
    about = {"task": converted.task, "labels": tuple(converted.labels), "columns": columns}
    return engine_of_graph(graph, converted.background, folder, order, **about)


def engine_of_graph(
    graph: ModelProto,
    background: bytes | None,
    folder: Path,
    order: dict[str, Any] | None = None,
    *,
    additive: tuple[Additive, ...] | None = None,
    **about: Any,
) -> Engine:
    """The engine of a graph. ``additive``: what its inspection found, if not what it finds."""
    found = additive_outputs(graph) if additive is None else additive
    inputs, outputs = signature_of(graph)
    manifest = Manifest(
        model="m", inputs=inputs, outputs=outputs, additive=found or msgspec.UNSET, **about
    )
    (folder / "model.onnx").write_bytes(graph.SerializeToString())
    if background is not None:
        (folder / "background.json").write_bytes(background)
    return load(
        EngineOrder(
            model="m",
            version=1,
            slot=0,
            digest="sha256:0",
            manifest=manifest,
            folder=str(folder),
            artifact="model.onnx",
            background=None if background is None else "background.json",
            address="unix:/not/listening",
            **(order or {}),
        ),
        lambda _: None,
    )


def matrix_background(rows: Any, name: str = "input") -> bytes:
    """A background blob of one FP32 matrix."""
    array = np.asarray(rows, np.float32)
    tensor = {
        "name": name,
        "datatype": "FP32",
        "shape": list(array.shape),
        "data": array.ravel().tolist(),
    }
    return json.dumps({"request": {"inputs": [tensor]}}).encode()


def matrix_columns(*names: str) -> tuple[Column, ...]:
    """Columns of one matrix, in their order."""
    return tuple(
        Column(name=name, type="float", input="input", index=index)
        for index, name in enumerate(names)
    )


async def asked(engine: Engine, body: Any, left_ms: int = LEFT_MS, **fields: int) -> Frame:
    """The answer to one request to explain."""
    connection, _, replies = connected(engine)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    frame = infer_frame(1, data, flags=Operation.V1_EXPLAIN, a=left_ms, **fields)
    connection.data_received(frame_bytes(frame))
    async with asyncio.timeout(60):
        while not (found := replies()):  # noqa: ASYNC110 -- the engine's turns
            await asyncio.sleep(0)
    return found[0]


def explained(engine: Engine, body: Any, **fields: int) -> Any:
    """The parsed explanation; the request must be accepted."""
    answer = asyncio.run(asked(engine, body, **fields))
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


def refused(engine: Engine, body: Any, **fields: int) -> tuple[int, str]:
    """Status and message of a request that is not answered."""
    answer = asyncio.run(asked(engine, body, **fields))
    assert answer.status != 200
    return answer.status, json.loads(answer.body)["error"]


def contributions(answer: Any, kind: str | None = None) -> np.ndarray[Any, Any]:
    """``[row, column]`` of an answer, of one class where there are several."""
    rows = [row["contributions"] for row in answer["explanations"]]
    return np.array([list((row if kind is None else row[kind]).values()) for row in rows])
