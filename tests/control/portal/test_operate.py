"""The operator's overview, traffic and limits."""

import json
import re
from typing import Any

import msgspec
import pytest

from protocol.configuration import AlertDoc, EngineDoc, WorkerDoc
from protocol.figures import EngineFigures, WorkerFigures
from protocol.gateways import GatewayReport
from protocol.usage import UsageRecord
from tests.control.portal.conftest import Visiting
from tests.control.running import START_MS, Control

HOSTILE = "<img src=x onerror=alert(1)>"
ROOT = "/portal/operate"


async def send(control: Control, path: str, document: msgspec.Struct) -> None:
    answer = await control.cluster.put(
        f"/internal/v1/{path}", content=msgspec.json.encode(document)
    )
    assert answer.status_code == 204, answer.text


def engine(model: str, version: int = 1, **more: Any) -> EngineDoc:
    given = {"slot": 0, "address": "unix:/e", "state": "ready", **more}
    return EngineDoc(model=model, version=version, **given)


async def fleet(control: Control, models: int = 1) -> None:
    """A worker with engines, and a gateway."""
    engines = [engine(f"model-{number}") for number in range(models)]
    alert = AlertDoc(kind="batch_variance", message=HOSTILE, since=START_MS // 1000 - 60)
    engines += [engine("bad", error=HOSTILE, state="failed"), engine("odd", alerts=(alert,))]
    engines += [engine("asleep", state="cold")]
    await send(control, "workers/w-1", WorkerDoc(id="w-1", engines=tuple(engines)))
    figures = tuple(
        EngineFigures(
            model=one.model, version=1, slot=0, memory_bytes=200_000_000, restarts=2, busy=0.97,
            queued=80, batching=False, batching_cause="costs", batching_reason=HOSTILE,
        )
        for one in engines[:1]
    )  # fmt: skip
    told = WorkerFigures(id="w-1", software="0.1.0", cores=4, engines=figures)
    await send(control, "workers/w-1/figures", told)
    report = GatewayReport(
        id="g-1", counters="memory", version="0.1.0", started_ms=START_MS, position=1
    )
    await send(control, "gateways/g-1", report)


def record(at_s: int, limit: str = "", **more: Any) -> UsageRecord:
    given = {
        "at_ms": START_MS - at_s * 1000, "application": "shop", "key": "k", "model": "risk",
        "version": 1, "variant": "stable", "status": 429 if limit else 200, "rows": 1,
        "queue_us": 10, "infer_us": 100, "total_us": 2500, "bytes_in": 10, "bytes_out": 10,
        "prediction_id": "p", "plan": "gold", "limit": limit, **more,
    }  # fmt: skip
    return UsageRecord(**given)


async def ship(control: Control, records: list[UsageRecord], segment: str = "s") -> None:
    body = b"".join(msgspec.json.encode(one) + b"\n" for one in records)
    params = {"gateway": "g-1", "segment": segment, "offset": "0"}
    answer = await control.cluster.post("/internal/v1/usage", params=params, content=body)
    assert answer.status_code == 200, answer.text


def charts(text: str) -> list[dict[str, Any]]:
    found = re.findall(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)
    return [json.loads(one) for one in found]


@pytest.mark.parametrize("role", ["publisher", "consumer", "sponsor"])
async def test_others_than_admins_and_auditors_are_told_so(visiting: Visiting, role: str) -> None:
    client = await visiting(role)
    for path in ("", "/traffic", "/limits", "/events", "/traffic/versions"):
        assert (await client.get(ROOT + path)).status_code == 403


async def test_nothing_running_is_said_with_what_to_do(visiting: Visiting) -> None:
    text = (await (await visiting("admin")).get(ROOT)).text
    assert "No gateway is alive" in text
    assert "tollwayd worker" in text
    assert "All is well" not in text


async def test_the_overview_tells_of_engines_gateways_and_alerts(
    control: Control, visiting: Visiting
) -> None:
    auditor = await visiting("auditor")
    await fleet(control)
    text = (await auditor.get(ROOT)).text

    for said in (
        "model-0 v1 is overloaded on w-1",
        "bad v1 does not load on w-1",
        "odd v1: batch variance",
        "loads with the next call",
        "one by one",
        "sharing costs",
        "200 MB",
        "97 %",
        " behind",
    ):
        assert said in text, said
    assert HOSTILE not in text
    assert "&lt;img src=x" in text
    forms = set(re.findall(r'<form[^>]*method="post"[^>]*action="([^"]+)"', text))
    assert forms == {"/portal/logout"}


async def test_an_overview_of_what_works_says_that_all_is_well(
    control: Control, visiting: Visiting
) -> None:
    admin = await visiting("admin")
    await send(control, "workers/w-1", WorkerDoc(id="w-1", engines=(engine("risk"),)))
    position = control.services.stream.head()
    report = GatewayReport(
        id="g-1", counters="memory", version="1", started_ms=START_MS, position=position
    )
    await send(control, "gateways/g-1", report)
    text = (await admin.get(ROOT)).text
    assert "All is well" in text
    assert "up to date" in text


async def test_the_number_of_calls_does_not_grow_with_the_engines(
    control: Control, visiting: Visiting, calls: list[str]
) -> None:
    admin = await visiting("admin")
    counts = []
    for models in (1, 300):
        await fleet(control, models)
        await ship(control, [record(5, model=f"model-{n}") for n in range(models)], f"s{models}")
        calls.clear()
        for path in ("", "/traffic", "/limits"):
            answer = await admin.get(ROOT + path)
            assert answer.status_code == 200
            assert len(answer.content) < 150_000, path
        counts.append(sorted(calls))
    assert counts[0] == counts[1]
    assert "243 more engines" in (await admin.get(ROOT)).text


async def test_alerts_that_have_ended_are_listed(control: Control, visiting: Visiting) -> None:
    admin = await visiting("admin")
    await fleet(control)
    await send(control, "workers/w-1", WorkerDoc(id="w-1", engines=()))
    text = (await admin.get(ROOT)).text
    ended = text[text.index("Alerts that have ended") :]
    assert "odd/1" in ended
    assert HOSTILE not in ended


async def test_live_figures_are_sent_as_parts_and_as_a_chart(
    control: Control, visiting: Visiting
) -> None:
    admin = await visiting("admin")
    await fleet(control)
    await ship(control, [record(30)])
    control.services.streams.end()  # each stream ends by itself, before its first look

    for path in ("/events", "/traffic/events?span=1h"):
        answer = await admin.get(ROOT + path)
        assert answer.headers["content-type"].startswith("text/event-stream")


async def test_traffic_is_drawn_as_requests_quantiles_and_a_heat_map(
    control: Control, visiting: Visiting
) -> None:
    admin = await visiting("admin")
    await ship(control, [record(60), record(60, total_us=90_000), record(3000, status=503)])
    text = (await admin.get(f"{ROOT}/traffic?span=1h")).text

    heat, latency, requests = charts(text)
    assert sum(map(sum, heat["values"])) == 3
    assert heat["y"][1] == "≤ 3 ms"
    assert heat["y"][-2] == "≤ 100 ms"
    assert max(value or 0 for value in latency["series"][1]["values"]) > 80
    assert len(requests["x"]) == len(heat["x"]) == 61
    assert "503" in text


async def test_traffic_is_filtered_by_model_version_and_application(
    control: Control, visiting: Visiting
) -> None:
    admin = await visiting("admin")
    await ship(control, [record(60), record(60, model="churn", version=2, application="till")])
    for query, found in (
        ("model=risk", 1), ("model=churn&version=2", 1), ("version=2", 1), ("application=shop", 1),
        ("model=churn&application=shop", 0), ("", 2),
    ):  # fmt: skip
        text = (await admin.get(f"{ROOT}/traffic?span=1h&{query}")).text
        counted = sum(map(sum, charts(text)[0]["values"])) if charts(text) else 0
        assert counted == found, query
    assert 'role="alert"' in (await admin.get(f"{ROOT}/traffic?version=two")).text


async def test_slow_and_failing_versions_are_told_apart_from_what_no_version_answered(
    control: Control, visiting: Visiting
) -> None:
    admin = await visiting("admin")
    many = [record(60, model="slow", total_us=900_000) for _ in range(25)]
    many += [record(60, model="broken", status=503) for _ in range(25)]
    many += [record(60, "rate", model="limited", version=0) for _ in range(25)]
    many += [record(60, model="rare", status=503)]
    await ship(control, many)
    text = (await admin.get(f"{ROOT}/traffic/versions?span=1h")).text
    slow, failing = text.split("Most failing versions", 1)
    assert slow.index(">slow v1<") < slow.index(">broken v1<")
    assert ">broken v1<" in failing
    assert ">slow v1<" not in failing
    assert "limited" not in text
    assert "rare" not in text


async def test_who_was_refused_by_which_limit_is_told(control: Control, visiting: Visiting) -> None:
    admin = await visiting("admin")
    kinds = ["rate"] * 3 + ["quota", "concurrency", "size", "", "made-up"]
    await ship(control, [record(60, kind) for kind in kinds])
    report = (await control.admin.get("/api/v1/usage/refusals")).json()
    assert [(one["limit"], one["requests"]) for one in report["callers"]] == [
        ("rate", 3), ("concurrency", 1), ("quota", 1), ("size", 1),
    ]  # fmt: skip
    assert sum(one["rate"] for one in report["items"]) == 3

    text = (await admin.get(f"{ROOT}/limits?span=1h&application=shop")).text
    assert "/portal/operate/plans/gold" in text
    assert [sum(one["values"]) for one in charts(text)[0]["series"]] == [3, 1, 1, 1]
    other = (await admin.get(f"{ROOT}/limits?span=1h&application=till")).text
    assert "No limit was hit in this time" in other


async def test_refusals_are_counted_once_and_within_reach_only(
    control: Control, visiting: Visiting
) -> None:
    for _ in range(2):
        await ship(control, [record(60, "rate")])
    report = (await control.admin.get("/api/v1/usage/refusals")).json()
    assert [one["requests"] for one in report["callers"]] == [1]
    await visiting("consumer")
    login = {"name": "robin-consumer", "password": "correct horse battery"}
    secret = (await control.anonymous.post("/api/v1/sessions", json=login)).json()["secret"]
    own = await control.anonymous.get(
        "/api/v1/usage/refusals", headers={"Authorization": f"Bearer {secret}"}
    )
    assert own.json()["callers"] == []


async def test_rates_of_gateways_are_over_seconds_and_survive_a_restart(control: Control) -> None:
    def report(requests: int) -> GatewayReport:
        return GatewayReport(
            id="g-1", counters="memory", version="1", started_ms=START_MS, requests=requests
        )

    async def rate() -> float:
        found = (await control.admin.get("/api/v1/gateways")).json()["items"]
        value: float = found[0]["requests_per_s"]
        return value

    await send(control, "gateways/g-1", report(100))
    assert await rate() == 0.0
    control.clock.advance(0.1)
    await send(control, "gateways/g-1", report(200))
    assert await rate() == 0.0
    control.clock.advance(4.9)
    await send(control, "gateways/g-1", report(600))
    assert await rate() == 100.0
    control.clock.advance(5)
    await send(control, "gateways/g-1", report(3))
    assert await rate() == 0.0


async def test_figures_of_a_worker_that_is_not_known_leave_nothing(control: Control) -> None:
    await send(control, "workers/w-9/figures", WorkerFigures(id="w-9", software="1", cores=1))
    assert (await control.admin.get("/api/v1/workers")).json()["items"] == []
