"""A data contract on a real stack: set by the requirements, held by the engine, told to callers."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests.e2e.models import affine
from tests.e2e.stack import RunningStack, eventually

INFER = "/v2/models/affine/infer"
RULES = [{"column": "x", "minimum": 0, "maximum": 100}]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    with RunningStack(tmp_path_factory.mktemp("contract") / "data") as running:
        with running.client() as client:
            client.deploy(affine(), name="affine")
        yield running


@pytest.fixture
def api(stack: RunningStack) -> Iterator[httpx.Client]:
    with stack.api() as client:
        yield client


def v2(*values: float) -> dict[str, Any]:
    shape = [len(values) // 3, 3]
    return {"inputs": [{"name": "x", "shape": shape, "datatype": "FP32", "data": list(values)}]}


def require(api: httpx.Client, contract: dict[str, Any] | None) -> None:
    """Set the contract by the model's requirements."""
    answer = api.put("/api/v1/models/affine/requirements", json={"contract": contract})
    assert answer.is_success, answer.text


def test_a_contract_holds_for_every_form_of_request_until_it_is_taken_away(
    stack: RunningStack, api: httpx.Client
) -> None:
    outside = v2(1, 2, 3, 4, 5, 151)
    assert api.post(INFER, json=outside).status_code == 200
    words = "row 1, input 'x': 151 is above the maximum 100"

    require(api, {"mode": "enforce", "rules": RULES})
    eventually(lambda: api.post(INFER, json=outside).status_code == 422)
    assert api.post(INFER, json=outside).json() == {"error": words}
    rows = {"instances": [[1, 2, 3], [4, 5, 151]]}
    assert api.post("/v1/models/affine:predict", json=rows).json() == {"error": words}
    with triton.InferenceServerClient(stack.url.removeprefix("http://")) as client:
        given = triton.InferInput("x", [2, 3], "FP32")
        given.set_data_from_numpy(np.array([[1, 2, 3], [4, 5, 151]], np.float32))
        with pytest.raises(InferenceServerException, match="above the maximum 100"):
            client.infer("affine", [given], headers=dict(api.headers))
    assert api.post(INFER, json=v2(1, 2, 3)).status_code == 200

    require(api, {"mode": "warn", "rules": RULES})
    eventually(lambda: api.post(INFER, json=outside).status_code == 200)
    warned = api.post(INFER, json=outside)
    assert warned.headers["Tollway-Contract"] == "violated"
    assert "Tollway-Contract" not in api.post(INFER, json=v2(1, 2, 3)).headers
    [stats] = api.get("/v2/models/affine/stats").json()["model_stats"]
    assert stats["contract"]["mode"] == "warn"
    assert stats["contract"]["refused"] >= 4
    assert stats["contract"]["warned"] >= 1
    assert stats["contract"]["values"]["x"]["maximum"] >= 5

    require(api, None)
    eventually(lambda: "Tollway-Contract" not in api.post(INFER, json=outside).headers)
    assert json.loads(api.post(INFER, json=outside).content)["outputs"]
