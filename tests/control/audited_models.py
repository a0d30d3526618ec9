"""Calls that change models, versions, approvals and traffic, each with what it needs before it."""

from collections.abc import Awaitable, Callable
from typing import Any

from control.rollouts.controller import Controller
from protocol.manifest import sha256_digest
from tests.control.audited_calls import PASSWORD, Call, done
from tests.control.running import Control
from tests.control.test_composition import MODEL, register, report


def evidence(manifest_digest: str) -> dict[str, Any]:
    """An evaluation of a version, as a client sends it."""
    return {
        "manifest_digest": manifest_digest,
        "rows": 200,
        "rows_digest": sha256_digest(b"rows"),
        "main_metric": "accuracy",
        "metrics": {"accuracy": {"value": 0.92, "low": 0.88, "high": 0.95}},
    }


async def remove_captures(control: Control) -> Call:
    await done(control, "PUT", "/models/risk")
    return Call("/models/risk/captures")


async def _validated(control: Control) -> int:
    number = await register(control.admin)
    await report(control, number, "ready")
    path = f"/models/risk/versions/{number}/transitions"
    await done(control, "POST", path, json={"to": "validated"})
    return number


async def published(control: Control) -> int:
    number = await _validated(control)
    for to in ("approved", "published"):
        path = f"/models/risk/versions/{number}/transitions"
        await done(control, "POST", path, json={"to": to})
    return number


async def change_model(control: Control) -> Call:
    await done(control, "PUT", "/models/risk")
    return Call("/models/risk", {"title": "Credit risk"})


async def register_version(control: Control) -> Call:
    await register(control.admin)
    blob = {"digest": sha256_digest(MODEL), "size": len(MODEL)}
    return Call("/models/risk/versions", {"artifact": blob, "description": "again"})


async def unload_version(control: Control) -> Call:
    return Call(f"/models/risk/versions/{await register(control.admin)}", {"loaded": False})


async def load_version(control: Control) -> Call:
    path = f"/models/risk/versions/{await register(control.admin)}"
    await done(control, "PATCH", path, json={"loaded": False})
    return Call(path, {"loaded": True})


async def approve_version(control: Control) -> Call:
    number = await _validated(control)
    return Call(f"/models/risk/versions/{number}/transitions", {"to": "approved"})


async def reject_version(control: Control) -> Call:
    number = await _validated(control)
    body = {"to": "rejected", "reason": "biased"}
    return Call(f"/models/risk/versions/{number}/transitions", body, own_reason="biased")


async def add_evidence(control: Control) -> Call:
    path = f"/models/risk/versions/{await register(control.admin)}"
    found = await done(control, "GET", path)
    return Call(f"{path}/evidence", evidence(found["digest"]))


async def change_requirements(control: Control) -> Call:
    await done(control, "PUT", "/models/risk")
    await done(control, "PUT", "/models/risk/requirements", json={"problem": "fraud"})
    return Call("/models/risk/requirements", {"criteria": ["accuracy > 0.9"]})


async def state_requirements(control: Control) -> Call:
    await done(control, "PUT", "/models/risk")
    return Call("/models/risk/requirements", {"problem": "fraud"})


async def deprecate(control: Control) -> Call:
    return Call(f"/models/risk/versions/{await published(control)}/deprecation", {})


async def change_deprecation(control: Control) -> Call:
    call = await deprecate(control)
    await done(control, "PUT", call.path, json=call.json)
    return Call(call.path, {"note": "use the model without a version"})


async def _sponsored(control: Control) -> tuple[int, str]:
    """A validated version that awaits its sponsor, and a token of theirs."""
    number = await _validated(control)
    await done(control, "PUT", "/users/ada", json={"role": "sponsor", "password": PASSWORD})
    body = {"name": "ada", "password": PASSWORD}
    session = await control.anonymous.post("/api/v1/sessions", json=body)
    await done(control, "PUT", "/models/risk/requirements", json={"sponsor": "ada"})
    return number, session.json()["secret"]


async def approve(control: Control) -> Call:
    number, secret = await _sponsored(control)
    path = f"/models/risk/versions/{number}/approvals"
    body = {"decision": "approve", "reason": "good enough"}
    return Call(path, body, own_reason="good enough", secret=secret, actor=("ada", "sponsor"))


async def refuse(control: Control) -> Call:
    number, secret = await _sponsored(control)
    path = f"/models/risk/versions/{number}/approvals"
    body = {"decision": "refuse", "reason": "biased"}
    return Call(path, body, own_reason="biased", secret=secret, actor=("ada", "sponsor"))


async def ask_for_approval(control: Control) -> Call:
    number, _ = await _sponsored(control)
    path = f"/models/risk/versions/{number}/approval-requests"
    return Call(path, {"note": "please"}, own_reason="please")


async def make_alias(control: Control) -> Call:
    number = await published(control)
    return Call("/models/risk/aliases/next", {"version": number}, {"If-None-Match": "*"})


async def remove_alias(control: Control) -> Call:
    number = await published(control)
    path = "/models/risk/aliases/next"
    made = await control.admin.put(
        f"/api/v1{path}", json={"version": number}, headers={"If-None-Match": "*"}
    )
    return Call(path, headers={"If-Match": made.headers["ETag"]})


async def move_traffic(control: Control) -> Call:
    return Call("/models/risk/rollout", {"stable": await published(control)})


async def two_published(control: Control) -> tuple[int, int]:
    """Two published versions of ``risk``, both ready on an engine."""
    first = await published(control)
    blob = {"digest": sha256_digest(MODEL), "size": len(MODEL)}
    made = await done(control, "POST", "/models/risk/versions", json={"artifact": blob})
    second = int(made["number"])
    await report(control, second, "ready", beside=(first,))
    for to in ("validated", "approved", "published"):
        path = f"/models/risk/versions/{second}/transitions"
        await done(control, "POST", path, json={"to": to})
    return first, second


async def begin_canary(control: Control) -> Call:
    stable, canary = await two_published(control)
    await done(control, "PUT", "/models/risk/rollout", json={"stable": stable})
    body = {"canary": {"version": canary, "percent": 5}, "reason": "a try"}
    return Call("/models/risk/rollout", body, own_reason="a try")


async def roll_back(control: Control) -> Call:
    for number in await two_published(control):
        await done(control, "PUT", "/models/risk/rollout", json={"stable": number})
    return Call("/models/risk/rollback", {"reason": "biased"}, own_reason="biased")


_PIN = "/applications/shop/pins/risk"


async def pin(control: Control) -> Call:
    first, _ = await two_published(control)
    await done(control, "PUT", "/applications/shop")
    await done(control, "PUT", "/subscriptions/shop/risk", json={"plan": "unlimited"})
    return Call(_PIN, {"version": first, "reason": "tested"}, own_reason="tested")


async def change_pin(control: Control) -> Call:
    await done(control, "PUT", _PIN, json=(await pin(control)).json)
    return Call(_PIN, {"version": 2})


async def remove_pin(control: Control) -> Call:
    await done(control, "PUT", _PIN, json=(await pin(control)).json)
    return Call(_PIN)


async def _guarded(control: Control) -> None:
    stable, canary = await two_published(control)
    steps = [{"percent": 5}, {"percent": 50}]
    body = {"stable": stable, "canary": {"version": canary, "steps": steps}}
    await done(control, "PUT", "/models/risk/rollout", json={"stable": stable})
    await done(control, "PUT", "/models/risk/rollout", json=body)
    services = control.services
    Controller(services.database, control.clock, services.workers.status).run()


def canary_call(action: str) -> Callable[[Control], Awaitable[Call]]:
    """Something done by hand with a guarded canary."""

    async def prepare(control: Control) -> Call:
        await _guarded(control)
        if action == "resume":
            await done(control, "POST", "/models/risk/rollout/pause", json={"reason": "wait"})
        return Call(f"/models/risk/rollout/{action}", {"reason": "seen"}, own_reason="seen")

    return prepare
