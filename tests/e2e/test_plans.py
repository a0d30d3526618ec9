"""A plan on a real stack: its rows, its quota however often the gateway is killed, and that no
other gateway counts beside it."""

import asyncio
import datetime
import json
import random
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.gateways import refused_gateway
from tests.e2e.load import Load
from tests.e2e.models import AFFINE_REQUEST, affine
from tests.e2e.stack import RunningStack, eventually

INFER = "/v2/models/affine/infer"
PREDICT = "/v1/models/affine:predict"
MAX_ROWS = 2
ROW_QUOTA = 1_000_000
QUOTA = 700
KILLS = 4
DAY_S = 86_400


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    with RunningStack(tmp_path_factory.mktemp("plans") / "data") as running:
        with running.client() as client:
            client.deploy(affine(), name="affine")
        yield running


def subscribed(stack: RunningStack, application: str, plan: str, terms: dict[str, Any]) -> str:
    """The key of an application under a plan of these terms, which has not called yet."""
    with stack.api() as api:
        for path, content in (
            (f"/plans/{plan}", terms),
            (f"/applications/{application}", {}),
            (f"/subscriptions/{application}/affine", {"plan": plan}),
        ):
            answer = api.put(f"/api/v1{path}", json=content)
            assert answer.is_success, answer.text
        secret: str = api.post("/api/v1/keys", json={"application": application}).json()["secret"]
    with stack.api(secret) as caller:
        eventually(lambda: caller.get("/v2/models/affine/stats").status_code == 200)
    return secret


def v2(rows: int) -> dict[str, Any]:
    data = [float(number) for number in range(3 * rows)]
    return {"inputs": [{"name": "x", "shape": [rows, 3], "datatype": "FP32", "data": data}]}


def v1(rows: int) -> dict[str, Any]:
    return {"instances": [[1.0, 2.0, 3.0]] * rows}


def binary(rows: int) -> tuple[bytes, dict[str, str]]:
    """A body with a binary tensor, and its headers."""
    data = struct.pack(f"<{3 * rows}f", *range(3 * rows))
    tensor = {
        "name": "x",
        "shape": [rows, 3],
        "datatype": "FP32",
        "parameters": {"binary_data_size": len(data)},
    }
    head = json.dumps({"inputs": [tensor]}).encode()
    return head + data, {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(head)),
    }


def request(form: str, rows: int) -> tuple[str, dict[str, Any]]:
    if form == "binary":
        body, headers = binary(rows)
        return INFER, {"content": body, "headers": headers}
    return (INFER, {"json": v2(rows)}) if form == "v2" else (PREDICT, {"json": v1(rows)})


@pytest.mark.parametrize("form", ["v2", "binary", "v1"])
def test_more_rows_than_the_plan_allows_are_refused_and_cost_nothing(
    stack: RunningStack, form: str
) -> None:
    terms = {"max_rows": MAX_ROWS, "quota": {"limit": ROW_QUOTA, "unit": "rows", "period": "day"}}
    secret = subscribed(stack, f"small-{form}", "few-rows", terms)
    with stack.api(secret) as caller:
        for rows, status in ((MAX_ROWS, 200), (MAX_ROWS + 1, 413), (1, 200), (500, 413)):
            path, content = request(form, rows)
            answer = caller.post(path, **content)
            assert answer.status_code == status, answer.text
            if status == 413:
                said = f"has {rows} rows, and the plan allows {MAX_ROWS} in one (max_rows)"
                assert said in answer.json()["error"]
        left = caller.get("/v2/models/affine/stats").headers["ratelimit"]
    assert left.startswith(f'"quota";r={ROW_QUOTA - MAX_ROWS - 1};')


async def test_who_shares_a_batch_with_too_many_rows_is_answered_all_the_same(
    stack: RunningStack,
) -> None:
    small = subscribed(stack, "small", "few-rows", {"max_rows": MAX_ROWS})
    large = subscribed(stack, "large", "many-rows", {})
    async with httpx.AsyncClient(base_url=stack.url, timeout=30, trust_env=False) as client:

        async def call(number: int) -> tuple[int, int, int, Any]:
            rows = 1 + number % 5
            secret = small if number % 2 else large
            answer = await client.post(INFER, json=v2(rows), headers={"X-API-Key": secret})
            return number, rows, answer.status_code, answer.json()

        async with asyncio.timeout(30):
            before = await batches(client, stack)
            merged = False
            while not merged:
                for number, rows, status, content in await asyncio.gather(*map(call, range(60))):
                    if number % 2 and rows > MAX_ROWS:
                        assert status == 413
                    else:
                        assert status == 200
                        (output,) = content["outputs"]
                        assert output["data"] == [2.0 * value for value in range(3 * rows)]
                runs = await batches(client, stack)
                answered = 60 - sum(1 for n in range(60) if n % 2 and 1 + n % 5 > MAX_ROWS)
                merged = runs - before < answered
                before = runs


async def batches(client: httpx.AsyncClient, stack: RunningStack) -> int:
    """Runs of the model so far."""
    headers = {"Authorization": f"Bearer {stack.token}"}
    answer = await client.get("/v2/models/affine/stats", headers=headers)
    return int(answer.json()["model_stats"][0]["execution_count"])


@pytest.mark.parametrize(
    "settings", [{}, {"TOLLWAY_COUNTERS": "redis", "TOLLWAY_REDIS_URL": "redis://127.0.0.1:1/0"}]
)
def test_no_second_gateway_starts_beside_one_that_counts_in_memory(
    stack: RunningStack, tmp_path: Path, settings: dict[str, str]
) -> None:
    with stack.api() as api:
        eventually(lambda: len(api.get("/api/v1/gateways").json()["items"]) == 1)
    said = refused_gateway(stack, tmp_path / "second", settings)
    assert said.count("\n") == 1
    assert said.startswith("tollwayd: gateway '")
    assert "counts limits in memory" in said
    assert "TOLLWAY_COUNTERS=redis" in said


def test_a_quota_outlives_every_kill_of_its_gateway(stack: RunningStack) -> None:
    terms = {"quota": {"limit": QUOTA, "unit": "requests", "period": "day"}}
    secret = subscribed(stack, "metered", "metered", terms)
    moments = random.Random(3)
    began = today()
    with Load(stack, secret, INFER, AFFINE_REQUEST) as load:
        for _ in range(KILLS):
            after = load.answered() + moments.randrange(20, QUOTA // (2 * KILLS))
            eventually(lambda after=after: load.answered() >= after)
            kill(stack, moments.uniform(0, 0.02))
        eventually(lambda: load.statuses[429] > 0, 60)
        kill(stack, moments.uniform(0, 0.02))
        refused = load.statuses[429]
        eventually(lambda: load.statuses[429] > refused + 50)
    assert today() == began, "the day and its quota ended meanwhile: run it again"
    assert set(load.statuses) <= {200, 429, 503}
    # What was counted and then not answered is missing here; what was answered is never.
    assert QUOTA - load.broken <= len(load.acknowledged) <= QUOTA
    with stack.api(secret) as caller:
        for _ in range(20):
            latest = left_today()
            answer = caller.post(INFER, json=AFFINE_REQUEST)
            assert answer.status_code == 429
            assert "the quota of plan 'metered', 700 requests a day, is used up" in answer.text
            assert left_today() <= int(answer.headers["retry-after"]) <= latest + 2
            assert answer.headers["ratelimit"].startswith('"quota";r=0;')


def kill(stack: RunningStack, after_s: float) -> None:
    """SIGKILL the gateway at a moment within a request, and wait for the next one."""
    time.sleep(after_s)
    dead = stack.kill("gateway")
    eventually(lambda: stack.pids("gateway") not in ([], [dead]))


def today() -> datetime.date:
    return datetime.datetime.now(datetime.UTC).date()


def left_today() -> float:
    return DAY_S - time.time() % DAY_S
