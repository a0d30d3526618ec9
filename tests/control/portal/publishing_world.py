"""A model with versions in several states, made through the API, for pages about them."""

from pathlib import Path

import httpx

from protocol.manifest import Tensor, sha256_digest
from registry.inspect import Inspection
from tests.control.running import Control
from tests.registry import models_onnx

COLUMNS = ("age", "income", "<b>debt</b>")
HOSTILE = "\"><script>alert('x')</script>{{7*7}}"


def uninspected(control: Control) -> None:
    """Let versions be registered without an inspection in a process of its own: that takes a
    second, and its answer is known of the model that tests upload."""
    tensors = [
        Tensor(name=name, datatype="FP32", shape=(-1, width))
        for name, width in (("input", 3), ("prediction", 1))
    ]
    found = Inspection(inputs=(tensors[0],), outputs=(tensors[1],), opsets={"": 17}, ir_version=8)

    def inspect(
        artifact: Path, files: dict[str, int], *, timeout_s: float, memory_bytes: int
    ) -> Inspection:
        return found

    control.services.registry.publisher._inspect_bundle = inspect


async def blob(client: httpx.AsyncClient, content: bytes) -> dict[str, object]:
    """Bring a blob."""
    found: dict[str, object] = {"digest": sha256_digest(content), "size": len(content)}
    begun = (await client.post("/api/v1/blobs/uploads", json=found)).json()
    if not begun["exists"]:
        at = f"/api/v1/blobs/uploads/{begun['id']}"
        await client.patch(at, content=content, headers={"Upload-Offset": "0"})
        assert (await client.post(f"{at}/complete")).status_code == 201
    return found


async def version(client: httpx.AsyncClient, model: str, scale: float = 1.0) -> tuple[int, str]:
    """Register a version. Returns its number and digest."""
    content = models_onnx.linear(3, scale=scale).SerializeToString()
    columns = [
        {"name": name, "type": "float", "input": "input", "index": index}
        for index, name in enumerate(COLUMNS)
    ]
    body = {
        "artifact": await blob(client, content),
        "task": "regression",
        "columns": columns,
        "description": HOSTILE,
    }
    made = await client.post(f"/api/v1/models/{model}/versions", json=body)
    assert made.status_code == 201, made.text
    return int(made.json()["number"]), str(made.json()["digest"])


async def evaluate(client: httpx.AsyncClient, model: str, made: tuple[int, str], r2: float) -> None:
    """Keep an evaluation of a version."""
    number, digest = made
    measured = {"value": r2, "low": r2 - 0.02, "high": r2 + 0.02}
    worse = {"value": r2 - 0.2, "low": r2 - 0.25, "high": r2 - 0.15}
    body = {
        "manifest_digest": digest,
        "rows": 100,
        "rows_digest": "sha256:" + "ab" * 32,
        "main_metric": "r2",
        "metrics": {"r2": measured, "rmse": {"value": 4.5, "low": 4.1, "high": 4.9}},
        "segments": [{"segment": "age<30", "rows": 20, "metrics": {"r2": worse}}],
        "importance": [{"column": COLUMNS[2], "mean": 0.25, "deviation": 0.01}],
        "latency": {"requests": 200, "p50_ms": 0.4, "p99_ms": 1.2},
    }
    path = f"/api/v1/models/{model}/versions/{number}/evidence"
    kept = await client.post(path, json=body)
    assert kept.status_code == 201, kept.text


async def move(control: Control, model: str, number: int, *states: str) -> None:
    """Take a version through states; a worker says that it serves it."""
    engine = {"model": model, "slot": 0, "address": "unix:/e", "state": "ready", "error": ""}
    engines = [{**engine, "version": one} for one in range(1, number + 1)]
    body = {"id": "w1", "engines": engines}
    assert (await control.cluster.put("/internal/v1/workers/w1", json=body)).status_code == 204
    for state in states:
        path = f"/api/v1/models/{model}/versions/{number}/transitions"
        done = await control.admin.post(path, json={"to": state})
        assert done.status_code == 200, done.text


async def risk(control: Control) -> None:
    """``risk`` of ``robin-publisher``: version 1 is stable, version 2 fails its gate, and a hostile
    title."""
    client = control.admin
    uninspected(control)
    made = await client.put("/api/v1/models/risk", json={"title": HOSTILE, "description": "Loans."})
    assert made.status_code == 201, made.text
    grant = await client.put("/api/v1/models/risk/owner", json={"user": "robin-publisher"})
    assert grant.is_success, grant.text
    first, second = await version(client, "risk"), await version(client, "risk", 2.0)
    await evaluate(client, "risk", first, 0.8)
    await evaluate(client, "risk", second, 0.9)
    await move(control, "risk", 1, "validated", "approved", "published")
    await client.put("/api/v1/models/risk/rollout", json={"stable": 1})
    await move(control, "risk", 2, "validated")
    agreed = {"criteria": ["r2.low >= 0.85", "r2[segment=age<30] >= 0.75"]}
    done = await client.put("/api/v1/models/risk/requirements", json=agreed)
    assert done.is_success, done.text
