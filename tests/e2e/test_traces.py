"""A trace and an access log line through the real stack, from the client's span to an engine's."""

import asyncio
import json
from pathlib import Path

import httpx

from tests.e2e.models import AFFINE_REQUEST, affine
from tests.e2e.stack import RunningStack, eventually
from tests.fixtures.collector import FakeCollector
from tests.gateway.conftest import until

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
PATH = "/v2/models/affine/infer"


def prepared(stack: RunningStack) -> str:
    """Deploy, and answer with a key."""
    with stack.client() as client:
        client.deploy(affine(), name="affine")
        key = client.create_key(application="shop", model="affine", plan="unlimited").secret
    with stack.api(key) as api:
        eventually(lambda: api.post(PATH, json=AFFINE_REQUEST).status_code == 200)
    return key


async def test_a_clients_trace_is_continued_by_gateway_and_engine(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with FakeCollector() as collector:
        settings = {
            "TOLLWAY_OTLP_ENDPOINT": collector.url,
            "TOLLWAY_ACCESS_LOG": "all",
            "TOLLWAY_LOG_FORMAT": "json",
        }
        stack = RunningStack(tmp_path / "data", log=log, settings=settings)
        await asyncio.to_thread(stack.start)
        try:
            key = await asyncio.to_thread(prepared, stack)
            headers = {"x-api-key": key, "traceparent": f"00-{TRACE}-{PARENT}-01"}
            async with httpx.AsyncClient(
                base_url=stack.url, headers=headers, trust_env=False
            ) as client:
                answer = await client.post(PATH, json=AFFINE_REQUEST)
                assert answer.status_code == 200
                health = await client.get("/healthz", headers={"x-request-id": "through-1"})
            await until(lambda: len(collector.spans) >= 8, 20)
        finally:
            await asyncio.to_thread(stack.stop)
    assert health.headers["x-request-id"] == "through-1"
    assert {span.trace for span in collector.spans} == {TRACE}
    spans = {span.name: span for span in collector.spans}
    assert spans["predict"].parent == PARENT
    assert spans["upstream"].parent == spans["predict"].id
    assert spans["engine"].parent == spans["upstream"].id
    assert spans["infer"].parent == spans["engine"].id
    assert spans["infer"].attributes == {"tollway.batch.rows": 1, "tollway.batch.requests": 1}
    assert spans["predict"].start <= spans["infer"].start <= spans["infer"].end
    assert spans["infer"].end <= spans["predict"].end
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    (line,) = [
        line for line in lines
        if line.get("prediction_id") == answer.headers["tollway-prediction-id"]
    ]  # fmt: skip
    assert (line["component"], line["role"], line["trace_id"]) == ("access", "gateway", TRACE)
    assert line["request_id"] == answer.headers["x-request-id"]
    assert key not in log.read_text()
