"""Guarded canaries over HTTP."""

from pathlib import Path
from typing import Any

import pytest

from control.rollouts.controller import Controller
from tests.control.audited_models import two_published
from tests.control.rollouts.rollouts import STEPS
from tests.control.running import Control

ROLLOUT = "/api/v1/models/risk/rollout"


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """What is shown does not depend on the database."""
    return f"sqlite:///{tmp_path / 'tollway.db'}"


async def begun(control: Control) -> Controller:
    await two_published(control)
    for body in ({"stable": 1}, {"canary": {"version": 2, "steps": STEPS, "promote": True}}):
        assert (await control.admin.put(ROLLOUT, json=body)).is_success
    services = control.services
    controller = Controller(services.database, control.clock, services.workers.status)
    controller.run()
    return controller


async def test_people_pause_resume_advance_and_abort_with_a_reason(control: Control) -> None:
    await begun(control)
    for action, state in (
        ("pause", "paused"), ("resume", "running"), ("advance", "running"), ("abort", "aborted"),
    ):  # fmt: skip
        done = await control.admin.post(f"{ROLLOUT}/{action}", json={"reason": f"to {action}"})
        assert done.json()["state"] == state
    assert (await control.admin.post(f"{ROLLOUT}/pause")).status_code == 404
    page = (await control.admin.get(f"{ROLLOUT}/decisions", params={"limit": 4})).json()
    after = {"after": page["next"]}
    rest = (await control.admin.get(f"{ROLLOUT}/decisions", params=after)).json()
    told = [(d["action"], d["actor"], d["reason"]) for d in page["items"] + rest["items"]]
    assert [entry for entry in told if entry[0] != "held"] == [
        ("started", "system", ""),
        ("paused", "admin", "to pause"),
        ("resumed", "admin", "to resume"),
        ("advanced", "admin", "to advance"),
        ("aborted", "admin", "to abort"),
    ]


async def test_the_rollout_shows_its_guard_to_those_who_manage_the_model(control: Control) -> None:
    await begun(control)
    shown = (await control.admin.get(ROLLOUT)).json()
    guarded = shown["guarded"]
    assert shown["canary"]["steps"] == guarded["steps"]
    assert (guarded["state"], guarded["step"], guarded["percent"]) == ("running", 1, 5)
    assert (guarded["e_value"], guarded["threshold"]) == (1, 100)
    assert [test["test"] for test in guarded["tests"]] == ["error_rate", "p99_ratio"]
    password = "correct horse battery"
    user = {"role": "consumer", "password": password}
    await control.admin.put("/api/v1/consumers/acme", json={})
    made = await control.admin.put("/api/v1/users/eve", json=user | {"consumer": "acme"})
    assert made.is_success, made.text
    body = {"name": "eve", "password": password}
    begun_session = await control.anonymous.post("/api/v1/sessions", json=body)
    headers = {"Authorization": f"Bearer {begun_session.json()['secret']}"}
    public = (await control.anonymous.get(ROLLOUT, headers=headers)).json()
    assert public["guarded"] is None
    assert public["canary"]["guard"] is None


SENSELESS: list[tuple[dict[str, Any], str]] = [
    ({"percent": 5}, "percent or steps"),
    ({"steps": [{"percent": 50}, {"percent": 5}]}, "rise"),
    ({"steps": []}, "at least 1"),
    ({"steps": [{"percent": 0.05}]}, "steps of 0.1"),
    ({"guard": {"alpha": 0.5}}, "0.2"),
    ({"guard": {"max_error_rate_increase": None, "p99_ratio": None}}, "watches nothing"),
    ({"guard": {"max_score_shift": 2}}, "score_scale"),
    ({"steps": None, "percent": 5, "promote": True}, "only a guarded canary"),
]


async def test_a_plan_that_makes_no_sense_is_refused(control: Control) -> None:
    for canary, says in SENSELESS:
        body = {"canary": {"version": 2, "steps": STEPS} | canary}
        answer = await control.admin.put(ROLLOUT, json=body)
        assert answer.status_code == 422
        assert says in answer.text
