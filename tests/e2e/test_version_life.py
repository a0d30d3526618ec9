"""One model from its requirements to the end of its first version, over HTTP with real processes:
evidence, gate, approval, a bad version that is rolled back by itself, a good one that is promoted,
deprecation, retirement. Consumers call all the while, and every answer is that of the version which
its header names."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from sklearn.linear_model import LinearRegression

import tollway
from protocol.buckets import bucket
from tests.e2e.stack import RunningStack, eventually

MODEL = "prices"
BASE = f"/api/v1/models/{MODEL}"
PASSWORD = "correct horse battery"
LIMIT = 100.0
"""Rows with a greater number are what the second version fails on."""
RANDOM = np.random.default_rng(7)
X = RANDOM.uniform(-10, 10, (400, 2)).astype(np.float32)
y = 3 * X[:, 0] - 2 * X[:, 1] + 5 + RANDOM.normal(0, 0.1, 400)
PRICES = LinearRegression().fit(X[:200], y[:200])
ROUGH = LinearRegression().fit(X[:200], y[:200] + np.abs(X[:200, 0]) * 2)
"""The first version: it learnt from wrong prices."""
ESTIMATORS = {1: ROUGH, 2: PRICES, 3: PRICES}


def fragile() -> onnx.ModelProto:
    """As right as the third version on the rows that anybody evaluates, but its run fails on a row
    with a great number: it looks up what is not there."""
    model = to_onnx(PRICES, X[:1], target_opset=17)
    [last] = [node for node in model.graph.node if model.graph.output[0].name in node.output]
    place = list(last.output).index(model.graph.output[0].name)
    last.output[place] = "price"
    entry = model.graph.input[0].name
    model.graph.node.extend(
        [
            helper.make_node("ReduceMax", [entry], ["most"], keepdims=0),
            helper.make_node("Greater", ["most", "limit"], ["above"]),
            helper.make_node("Cast", ["above"], ["index"], to=TensorProto.INT64),
            helper.make_node("Gather", ["factors", "index"], ["factor"]),
            helper.make_node("Mul", ["price", "factor"], [model.graph.output[0].name]),
        ]
    )
    model.graph.initializer.extend(
        [
            helper.make_tensor("limit", TensorProto.FLOAT, [], [LIMIT]),
            helper.make_tensor("factors", TensorProto.FLOAT, [1], [1.0]),
        ]
    )
    onnx.checker.check_model(model)
    return model


class Consumers:
    """Applications that call without end, each about every few milliseconds."""

    def __init__(self, stack: RunningStack, keys: list[str]) -> None:
        self.answers: Counter[tuple[str, int, int]] = Counter()
        """By variant, version and status."""
        self.wrong: list[str] = []
        self._stack = stack
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(key,)) for key in keys]

    def __enter__(self) -> "Consumers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _call(self, key: str) -> None:
        with self._stack.api(key) as api:
            number = 0
            while not self._ended.is_set():
                number += 1
                row = [1000.0, 1.0] if number % 8 == 0 else [number % 50 / 10, 2.0]
                answer = api.post(f"/v1/models/{MODEL}:predict", json={"instances": [row]})
                self._look(row, answer)
                self._ended.wait(0.01)

    def _look(self, row: list[float], answer: httpx.Response) -> None:
        version = int(answer.headers["Tollway-Version"])
        self.answers[answer.headers["Tollway-Variant"], version, answer.status_code] += 1
        if answer.status_code == 200:
            told = np.ravel(answer.json()["predictions"])[0]
            meant = ESTIMATORS[version].predict([row])[0]
            if not np.isclose(told, meant, rtol=1e-3, atol=1e-2):
                self.wrong.append(f"version {version} said {told} for {row}, not {meant}")


class People:
    """Who takes part: each with a session of their own."""

    def __init__(self, stack: RunningStack) -> None:
        self.admin = stack.api()
        for name, role in (("pat", "publisher"), ("ada", "sponsor")):
            made = self.admin.put(
                f"/api/v1/users/{name}", json={"role": role, "password": PASSWORD}
            )
            assert made.status_code == 201, made.text
        self.pat_secret = self._log_in("pat")
        self.pat, self.ada = (
            httpx.Client(
                base_url=stack.url,
                headers={"Authorization": f"Bearer {secret}"},
                timeout=30,
                trust_env=False,
            )
            for secret in (self.pat_secret, self._log_in("ada"))
        )

    def _log_in(self, name: str) -> str:
        made = self.admin.post("/api/v1/sessions", json={"name": name, "password": PASSWORD})
        assert made.status_code == 201, made.text
        return str(made.json()["secret"])

    def close(self) -> None:
        for api in (self.admin, self.pat, self.ada):
            api.close()


@pytest.fixture
def people(stack: RunningStack) -> Iterator[People]:
    made = People(stack)
    yield made
    made.close()


@contextmanager
def consumers(stack: RunningStack) -> Iterator[Consumers]:
    """Two whom a canary of 30 % answers first and last."""
    names = [f"shop-{number}" for number in range(100)]
    early = next(name for name in names if bucket(MODEL, name) < 300)
    late = next(name for name in names if bucket(MODEL, name) >= 900)
    with stack.client() as client:
        keys = [client.create_key(name, MODEL, plan="unlimited").secret for name in (early, late)]
    with Consumers(stack, keys) as calling:
        yield calling


def ok(answer: httpx.Response) -> Any:
    assert answer.is_success, f"{answer.request.method} {answer.request.url}: {answer.text}"
    return answer.json() if answer.content else None


def take(api: httpx.Client, number: int, *states: str) -> httpx.Response:
    """Ask for each state in turn, until one is refused; the last answer."""
    for state in states:
        answer = api.post(f"{BASE}/versions/{number}/transitions", json={"to": state})
        if not answer.is_success:
            break
    return answer


def publish(people: People, client: tollway.Client, number: int) -> None:
    """Evidence, gate, approval, publication."""
    assert take(people.pat, number, "validated", "approved").status_code == 409
    client.evaluate(
        MODEL, number, X[200:], y[200:], importance=False, progress=False, latency_requests=20
    )
    gate = ok(people.pat.get(f"{BASE}/versions/{number}/gate"))
    assert {one["outcome"] for one in gate["criteria"]} == {"met"}, gate
    refused = take(people.pat, number, "approved")
    assert refused.status_code == 409
    assert "ada" in refused.text
    approval = {"decision": "approve", "reason": "better on the same rows"}
    approvals = f"{BASE}/versions/{number}/approvals"
    assert people.pat.post(approvals, json=approval).status_code == 403
    ok(people.ada.post(approvals, json=approval))
    assert client.publish(MODEL, number).state == "published"


def rollout(people: People) -> dict[str, Any]:
    return dict(ok(people.pat.get(f"{BASE}/rollout")))


def begin(people: People, version: int, *steps: dict[str, float], **more: object) -> None:
    canary = {"version": version, "steps": steps, "promote": True, "guard": {"p99_ratio": None}}
    body = {"canary": canary, "reason": "the next version", **more}
    ok(people.pat.put(f"{BASE}/rollout", json=body))


def test_a_version_lives_from_its_requirements_to_its_retirement(
    stack: RunningStack, people: People
) -> None:
    with tollway.Client(stack.url, token=people.pat_secret) as client:
        assert client.deploy(ROUGH, MODEL, X=X[:200], progress=False).number == 1
        client.evaluate(MODEL, 1, X[200:], y[200:], importance=False, progress=False)
        requirements = {
            "problem": "Prices of used cars, for the shops' pages",
            "sponsor": "ada",
            "criteria": ["rmse <= 0.5", "r2.low >= 0.9", "beats(stable, rmse, holdout)"],
        }
        ok(people.pat.put(f"{BASE}/requirements", json=requirements))
        client.deploy(fragile(), MODEL, stage=True, progress=False)
        client.deploy(PRICES, MODEL, X=X[:200], stage=True, progress=False)
        with consumers(stack) as calling:
            publish(people, client, 2)
            publish(people, client, 3)
            bad_is_rolled_back(people, calling)
            good_is_promoted(people, calling)
            first_is_retired(people, calling)
        assert calling.wrong == []
        failed = {seen for seen in calling.answers if seen[2] != 200}
        assert {seen[:2] for seen in failed} == {("canary", 2)}, calling.answers


def bad_is_rolled_back(people: People, calling: Consumers) -> None:
    """The second version does well on the rows that were evaluated, and harm to callers."""
    step = {"percent": 30, "min_duration_s": 600}
    forced = {"force": True} if "incompatible" in _plain(people, 2, step) else {}
    begin(people, 2, step, **forced)
    eventually(lambda: rollout(people)["canary"] is None, within_s=120)
    shown = rollout(people)
    assert (shown["stable"], shown["guarded"]["state"]) == (1, "rolled_back")
    assert any(seen[:2] == ("canary", 2) for seen in calling.answers)
    audited = ok(people.admin.get("/api/v1/audit", params={"kind": "canary"}))["items"]
    [entry] = [one for one in audited if one["action"] == "canary.rolled_back"]
    assert entry["after"]["counts"]["canary"]["errors"] > 0


def _plain(people: People, version: int, step: dict[str, float]) -> str:
    """What is said to a canary of this version without force; it is ended if it began."""
    canary = {"version": version, "steps": [step], "guard": {}}
    answer = people.pat.put(f"{BASE}/rollout", json={"canary": canary, "reason": "a look"})
    if answer.is_success:
        ok(people.pat.put(f"{BASE}/rollout", json={"canary": None, "reason": "only a look"}))
        return ""
    assert answer.status_code == 409, answer.text
    return answer.text


def good_is_promoted(people: People, calling: Consumers) -> None:
    """The third goes by steps to all of the traffic, and becomes stable."""
    quick = {"min_duration_s": 1, "min_requests": 30}
    begin(people, 3, {"percent": 30, **quick}, {"percent": 100, **quick})
    eventually(lambda: rollout(people)["stable"] == 3, within_s=120)
    eventually(lambda: calling.answers["stable", 3, 200] > 10)
    assert rollout(people)["guarded"]["state"] == "promoted"


def first_is_retired(people: People, calling: Consumers) -> None:
    """The first is deprecated in favour of the third, and then gone: for who still names it."""
    deprecation = {"sunset": "2099-06-01T00:00:00Z", "successor": 3, "note": "wrong prices"}
    ok(people.pat.put(f"{BASE}/versions/1/deprecation", json=deprecation))
    named = f"/v1/models/{MODEL}/versions/1:predict"
    row = {"instances": [[1.0, 2.0]]}
    eventually(lambda: "Deprecation" in people.admin.post(named, json=row).headers)
    answer = people.admin.post(named, json=row)
    assert answer.status_code == 200
    assert answer.headers["Sunset"] == "Mon, 01 Jun 2099 00:00:00 GMT"
    assert 'rel="successor-version"' in answer.headers["Link"]
    report = f"{BASE}/versions/1/transition-report"
    eventually(lambda: len(ok(people.pat.get(report))["callers"]) == 2)
    ok(take(people.pat, 1, "retired"))
    eventually(lambda: people.admin.post(named, json=row).status_code == 410)
    gone = people.admin.post(named, json=row)
    assert "version 3" in gone.json()["error"]
    before = calling.answers["stable", 3, 200]
    eventually(lambda: calling.answers["stable", 3, 200] > before)
