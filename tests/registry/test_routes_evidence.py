"""The routes of evidence: each is named by its outcome."""

from typing import Any

import httpx
import pytest

from protocol.manifest import sha256_digest
from registry.evidence_inputs import MAX_METRICS
from tests.registry.conftest import Bench
from tests.registry.routed import application

PATH = "/models/credit/versions/1/evidence"


@pytest.fixture
def client(small_bench: Bench) -> httpx.AsyncClient:
    """A publisher's client of a registry with one version."""
    small_bench.publish()
    transport = httpx.ASGITransport(application(small_bench))
    return httpx.AsyncClient(transport=transport, base_url="http://t/api/v1")


async def evidence(client: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    version = (await client.get("/models/credit/versions/1")).json()
    return {
        "schema": "tollway.evidence/1",
        "model": "credit",
        "version": 1,
        "manifest_digest": version["digest"],
        "rows": 100,
        "rows_digest": sha256_digest(b"rows"),
        "main_metric": "accuracy",
        "metrics": {"accuracy": {"value": 0.9, "low": 0.85, "high": 0.95}},
        "segments": [{"segment": "age<30", "rows": 9, "metrics": {"accuracy": {"value": 1}}}],
        "importance": [{"column": "age", "mean": 0.2, "deviation": 0.01}],
        "latency": {"requests": 100, "p50_ms": 0.1, "p99_ms": 0.4},
    } | changes


async def test_posting_evidence_is_201_and_again_200_with_the_same_digest(
    client: httpx.AsyncClient,
) -> None:
    body = await evidence(client)

    made = await client.post(PATH, json=body)
    again = await client.post(PATH, json=body)

    assert (made.status_code, again.status_code) == (201, 200)
    assert made.json() == again.json()
    assert made.headers["Location"] == f"/api/v1{PATH}/{made.json()['digest']}"
    assert (await client.get(f"{PATH}/{made.json()['digest']}")).json() == made.json()
    assert (await client.get(PATH)).json() == {"items": [made.json()], "next": None}


async def test_evidence_of_another_manifest_or_version_is_409(client: httpx.AsyncClient) -> None:
    for change in ({"manifest_digest": sha256_digest(b"other")}, {"version": 2}, {"model": "x"}):
        refused = await client.post(PATH, json=await evidence(client, **change))

        assert refused.status_code == 409, change


@pytest.mark.parametrize(
    "change",
    [
        {"metrics": {}},
        {"metrics": {"f1": {"value": 1.0}}},
        {"metrics": {f"m{i}": {"value": 1.0} for i in range(MAX_METRICS)} | {"accuracy": {}}},
        {"metrics": {"Accuracy!": {"value": 1.0}}},
        {"metrics": {"accuracy": {"value": 0.5, "low": 0.9, "high": 0.1}}},
        {"rows": 0},
        {"rows": 2**53},
        {"rows_name": "x" * 101},
        {"rows_name": "a\0b"},
        {"schema": "tollway.evidence/2"},
        {"segments": [{"segment": "a", "rows": 1, "metrics": {}}] * 2},
        {"surprise": 1},
    ],
)
async def test_evidence_that_is_none_is_422(
    client: httpx.AsyncClient, change: dict[str, Any]
) -> None:
    refused = await client.post(PATH, json=await evidence(client, **change))

    assert refused.status_code == 422


async def test_sponsors_and_auditors_read_and_only_publishers_and_admins_post(
    client: httpx.AsyncClient,
) -> None:
    body = await evidence(client)
    for role, read, posted in (
        ("sponsor", 200, 403),
        ("auditor", 200, 403),
        ("consumer", 403, 403),
        ("admin", 200, 201),
    ):
        headers = {"x-role": role}
        assert (await client.get(PATH, headers=headers)).status_code == read
        assert (await client.post(PATH, json=body, headers=headers)).status_code == posted


async def test_evidence_of_no_version_is_404(client: httpx.AsyncClient) -> None:
    for path in ("/models/credit/versions/2/evidence", f"{PATH}/{sha256_digest(b'x')}"):
        assert (await client.get(path)).status_code == 404
