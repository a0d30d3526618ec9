"""Guarded canaries on a real stack: a bad version is rolled back by itself within seconds of
traffic, a good one goes to all of it and is promoted."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from protocol.buckets import bucket
from tests.e2e.models import affine
from tests.e2e.stack import RunningStack, eventually

INFER = "/v2/models/affine/infer"
ROLLOUT = "/api/v1/models/affine/rollout"
SHARE = 30
"""Percent that the canary gets first."""


def failing() -> onnx.ModelProto:
    """As ``affine``, but its run fails on rows with a number above 100: it looks up what is not
    there."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Greater", ["most", "limit"], ["above"]),
        helper.make_node("Cast", ["above"], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["factors", "index"], ["factor"]),
        helper.make_node("Mul", ["x", "factor"], ["y"]),
    ]
    constants = [
        helper.make_tensor("limit", TensorProto.FLOAT, [], [100.0]),
        helper.make_tensor("factors", TensorProto.FLOAT, [1], [2.0]),
    ]
    graph = helper.make_graph(nodes, "failing", [x], [y], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def body(value: float) -> dict[str, Any]:
    data = [value, 1.0, 2.0]
    return {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": data}]}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    with RunningStack(tmp_path_factory.mktemp("guarded") / "data") as running:
        with running.client() as client:
            client.deploy(affine(), name="affine")
            client.deploy(failing(), name="affine", stage=True)
            client.deploy(affine(), name="affine", stage=True)
        with running.api() as api:
            for number in (2, 3):
                for state in ("validated", "approved", "published"):
                    path = f"/api/v1/models/affine/versions/{number}/transitions"
                    api.post(path, json={"to": state})
        yield running


@pytest.fixture(scope="module")
def keys(stack: RunningStack) -> list[str]:
    """Keys of an application that the canary answers at once, and of one that it answers last."""
    names = [f"shop-{number}" for number in range(100)]
    early = next(name for name in names if bucket("affine", name) < SHARE * 10)
    late = next(name for name in names if bucket("affine", name) >= 900)
    with stack.client() as client:
        return [
            client.create_key(application=name, model="affine", plan="unlimited").secret
            for name in (early, late)
        ]


@contextmanager
def traffic(stack: RunningStack, keys: list[str]) -> Iterator[Counter[tuple[str, str, int]]]:
    """Two applications that call all the time; what answered them: variant, version, status."""
    answers: Counter[tuple[str, str, int]] = Counter()
    ended = threading.Event()

    def call(key: str) -> None:
        with stack.api(key) as api:
            number = 0
            while not ended.is_set():
                number += 1
                answer = api.post(INFER, json=body(500.0 if number % 10 == 0 else 5.0))
                headers = answer.headers
                seen = headers["Tollway-Variant"], headers["Tollway-Version"], answer.status_code
                answers[seen] += 1
                ended.wait(0.005)

    threads = [threading.Thread(target=call, args=(key,)) for key in keys]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def begin(stack: RunningStack, version: int, steps: list[dict[str, Any]]) -> None:
    canary = {"version": version, "steps": steps, "promote": True, "guard": {"p99_ratio": None}}
    with stack.api() as api:
        answer = api.put(ROLLOUT, json={"canary": canary, "reason": "the next version"})
        assert answer.is_success, answer.text


def state(stack: RunningStack) -> dict[str, Any]:
    with stack.api() as api:
        return dict(api.get(ROLLOUT).json())


def test_a_version_that_fails_on_some_rows_is_rolled_back_by_itself(
    stack: RunningStack, keys: list[str]
) -> None:
    begin(stack, 2, [{"percent": SHARE, "min_duration_s": 600}])
    with traffic(stack, keys) as answers:
        eventually(lambda: state(stack)["canary"] is None, within_s=60)
        eventually(lambda: answers["stable", "1", 200] > 0)
    shown = state(stack)
    assert (shown["stable"], shown["guarded"]["state"]) == (1, "rolled_back")
    assert shown["guarded"]["reason"].startswith("error_rate: ")
    assert answers["canary", "2", 400] > 0
    assert {status for (variant, _, status) in answers if variant == "stable"} == {200}
    with stack.api() as api:
        [alert] = api.get("/api/v1/alerts").json()["items"]
        entries = api.get("/api/v1/audit", params={"kind": "canary"}).json()["items"]
    assert (alert["kind"], alert["version"]) == ("canary_rolled_back", 2)
    [rolled_back] = [e for e in entries if e["action"] == "canary.rolled_back"]
    assert rolled_back["actor"] == "system"
    assert rolled_back["after"]["counts"]["canary"]["errors"] > 0


def test_a_good_version_goes_to_all_of_the_traffic_and_is_promoted(
    stack: RunningStack, keys: list[str]
) -> None:
    begin(
        stack,
        3,
        [
            {"percent": SHARE, "min_duration_s": 1, "min_requests": 50},
            {"percent": 100, "min_duration_s": 1, "min_requests": 50},
        ],
    )
    with traffic(stack, keys) as answers:
        eventually(lambda: state(stack)["stable"] == 3, within_s=60)
        eventually(lambda: answers["stable", "3", 200] > 0)
    shown = state(stack)
    assert (shown["canary"], shown["guarded"]["state"]) == (None, "promoted")
    assert {status for (_, _, status) in answers} == {200}
    with stack.api() as api:
        decisions = api.get(f"{ROLLOUT}/decisions").json()["items"]
    told = [d["action"] for d in decisions if d["version"] == 3 and d["action"] != "held"]
    assert told == ["started", "advanced", "promoted"]
    assert answers["canary", "3", 200] >= 100
