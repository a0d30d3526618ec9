"""Every writing route of the management API, called once with success: what it must leave in the
audit log.

A new route needs an entry here: in ``CASES``, or in ``NO_CHANGE`` with the reason why an auditor
has nothing to learn from it. A case prepares what the route needs, and gives the call itself.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from control.reach import Reach
from control.rollouts.controller import Controller
from protocol.manifest import sha256_digest
from tests.control.running import Control
from tests.control.test_composition import MODEL, register, report

PASSWORD = "correct horse battery"
ANN = ("ann", "publisher")


class Call(NamedTuple):
    """The request that is judged: its path, and what httpx takes beside it."""

    path: str
    json: Any = None
    headers: Mapping[str, str] = {}
    own_reason: str | None = None
    """The reason that the body gives, which goes before the header's."""
    secret: str | None = None
    """Whose request it is: a bearer token, empty for none at all, None for the admin's."""
    actor: tuple[str, str] = ("admin", "admin")
    """Name and role that the entry must have."""


class Case(NamedTuple):
    """``action``, ``kind`` and ``key`` of the entry that the call must leave. A key of None is the
    server's own choice."""

    action: str
    kind: str
    key: str | None
    prepare: Callable[[Control], Awaitable[Call]]


def simple(path: str, json: object = None) -> Callable[[Control], Awaitable[Call]]:
    """A call that needs nothing before it."""

    async def prepare(_control: Control) -> Call:
        return Call(path, json)

    return prepare


async def _done(control: Control, method: str, path: str, **given: Any) -> dict[str, Any]:
    answer = await control.admin.request(method, f"/api/v1{path}", **given)
    assert answer.is_success, answer.text
    found: dict[str, Any] = answer.json() if answer.content else {}
    return found


def evidence(manifest_digest: str) -> dict[str, Any]:
    """An evaluation of a version, as a client sends it."""
    return {
        "manifest_digest": manifest_digest,
        "rows": 200,
        "rows_digest": sha256_digest(b"rows"),
        "main_metric": "accuracy",
        "metrics": {"accuracy": {"value": 0.92, "low": 0.88, "high": 0.95}},
    }


async def _remove_captures(control: Control) -> Call:
    await _done(control, "PUT", "/models/risk")
    return Call("/models/risk/captures")


async def _validated(control: Control) -> int:
    number = await register(control.admin)
    await report(control, number, "ready")
    path = f"/models/risk/versions/{number}/transitions"
    await _done(control, "POST", path, json={"to": "validated"})
    return number


async def _published(control: Control) -> int:
    number = await _validated(control)
    for to in ("approved", "published"):
        path = f"/models/risk/versions/{number}/transitions"
        await _done(control, "POST", path, json={"to": to})
    return number


async def _change_model(control: Control) -> Call:
    await _done(control, "PUT", "/models/risk")
    return Call("/models/risk", {"title": "Credit risk"})


async def _register_version(control: Control) -> Call:
    await register(control.admin)
    blob = {"digest": sha256_digest(MODEL), "size": len(MODEL)}
    return Call("/models/risk/versions", {"artifact": blob, "description": "again"})


async def _unload_version(control: Control) -> Call:
    return Call(f"/models/risk/versions/{await register(control.admin)}", {"loaded": False})


async def _load_version(control: Control) -> Call:
    path = f"/models/risk/versions/{await register(control.admin)}"
    await _done(control, "PATCH", path, json={"loaded": False})
    return Call(path, {"loaded": True})


async def _approve_version(control: Control) -> Call:
    number = await _validated(control)
    return Call(f"/models/risk/versions/{number}/transitions", {"to": "approved"})


async def _reject_version(control: Control) -> Call:
    number = await _validated(control)
    body = {"to": "rejected", "reason": "biased"}
    return Call(f"/models/risk/versions/{number}/transitions", body, own_reason="biased")


async def _add_evidence(control: Control) -> Call:
    path = f"/models/risk/versions/{await register(control.admin)}"
    found = await _done(control, "GET", path)
    return Call(f"{path}/evidence", evidence(found["digest"]))


async def _change_requirements(control: Control) -> Call:
    await _done(control, "PUT", "/models/risk")
    await _done(control, "PUT", "/models/risk/requirements", json={"problem": "fraud"})
    return Call("/models/risk/requirements", {"criteria": ["accuracy > 0.9"]})


async def _state_requirements(control: Control) -> Call:
    await _done(control, "PUT", "/models/risk")
    return Call("/models/risk/requirements", {"problem": "fraud"})


async def _deprecate(control: Control) -> Call:
    return Call(f"/models/risk/versions/{await _published(control)}/deprecation", {})


async def _change_deprecation(control: Control) -> Call:
    call = await _deprecate(control)
    await _done(control, "PUT", call.path, json=call.json)
    return Call(call.path, {"note": "use the model without a version"})


async def _sponsored(control: Control) -> tuple[int, str]:
    """A validated version that awaits its sponsor, and a token of theirs."""
    number = await _validated(control)
    await _done(control, "PUT", "/users/ada", json={"role": "sponsor", "password": PASSWORD})
    body = {"name": "ada", "password": PASSWORD}
    session = await control.anonymous.post("/api/v1/sessions", json=body)
    await _done(control, "PUT", "/models/risk/requirements", json={"sponsor": "ada"})
    return number, session.json()["secret"]


async def _approve(control: Control) -> Call:
    number, secret = await _sponsored(control)
    path = f"/models/risk/versions/{number}/approvals"
    body = {"decision": "approve", "reason": "good enough"}
    return Call(path, body, own_reason="good enough", secret=secret, actor=("ada", "sponsor"))


async def _refuse(control: Control) -> Call:
    number, secret = await _sponsored(control)
    path = f"/models/risk/versions/{number}/approvals"
    body = {"decision": "refuse", "reason": "biased"}
    return Call(path, body, own_reason="biased", secret=secret, actor=("ada", "sponsor"))


async def _ask_for_approval(control: Control) -> Call:
    number, _ = await _sponsored(control)
    path = f"/models/risk/versions/{number}/approval-requests"
    return Call(path, {"note": "please"}, own_reason="please")


async def _make_alias(control: Control) -> Call:
    number = await _published(control)
    return Call("/models/risk/aliases/next", {"version": number}, {"If-None-Match": "*"})


async def _remove_alias(control: Control) -> Call:
    number = await _published(control)
    path = "/models/risk/aliases/next"
    made = await control.admin.put(
        f"/api/v1{path}", json={"version": number}, headers={"If-None-Match": "*"}
    )
    return Call(path, headers={"If-Match": made.headers["ETag"]})


async def _move_traffic(control: Control) -> Call:
    return Call("/models/risk/rollout", {"stable": await _published(control)})


async def two_published(control: Control) -> tuple[int, int]:
    """Two published versions of ``risk``, both ready on an engine."""
    first = await _published(control)
    blob = {"digest": sha256_digest(MODEL), "size": len(MODEL)}
    made = await _done(control, "POST", "/models/risk/versions", json={"artifact": blob})
    second = int(made["number"])
    await report(control, second, "ready", beside=(first,))
    for to in ("validated", "approved", "published"):
        path = f"/models/risk/versions/{second}/transitions"
        await _done(control, "POST", path, json={"to": to})
    return first, second


async def _begin_canary(control: Control) -> Call:
    stable, canary = await two_published(control)
    await _done(control, "PUT", "/models/risk/rollout", json={"stable": stable})
    body = {"canary": {"version": canary, "percent": 5}, "reason": "a try"}
    return Call("/models/risk/rollout", body, own_reason="a try")


async def _roll_back(control: Control) -> Call:
    for number in await two_published(control):
        await _done(control, "PUT", "/models/risk/rollout", json={"stable": number})
    return Call("/models/risk/rollback", {"reason": "biased"}, own_reason="biased")


_PIN = "/applications/shop/pins/risk"


async def _pin(control: Control) -> Call:
    first, _ = await two_published(control)
    await _done(control, "PUT", "/applications/shop")
    await _done(control, "PUT", "/subscriptions/shop/risk", json={"plan": "unlimited"})
    return Call(_PIN, {"version": first, "reason": "tested"}, own_reason="tested")


async def _change_pin(control: Control) -> Call:
    await _done(control, "PUT", _PIN, json=(await _pin(control)).json)
    return Call(_PIN, {"version": 2})


async def _remove_pin(control: Control) -> Call:
    await _done(control, "PUT", _PIN, json=(await _pin(control)).json)
    return Call(_PIN)


async def _guarded(control: Control) -> None:
    stable, canary = await two_published(control)
    steps = [{"percent": 5}, {"percent": 50}]
    body = {"stable": stable, "canary": {"version": canary, "steps": steps}}
    await _done(control, "PUT", "/models/risk/rollout", json={"stable": stable})
    await _done(control, "PUT", "/models/risk/rollout", json=body)
    services = control.services
    Controller(services.database, control.clock, services.workers.status).run()


def canary_call(action: str) -> Callable[[Control], Awaitable[Call]]:
    """Something done by hand with a guarded canary."""

    async def prepare(control: Control) -> Call:
        await _guarded(control)
        if action == "resume":
            await _done(control, "POST", "/models/risk/rollout/pause", json={"reason": "wait"})
        return Call(f"/models/risk/rollout/{action}", {"reason": "seen"}, own_reason="seen")

    return prepare


async def _change_plan(control: Control) -> Call:
    await _done(control, "PUT", "/plans/gold", json={})
    return Call("/plans/gold", {"title": "Gold"})


async def _delete_plan(control: Control) -> Call:
    await _done(control, "PUT", "/plans/gold", json={})
    return Call("/plans/gold")


ISSUER = {
    "issuer": "https://login.example",
    "audiences": ["tollway"],
    "algorithms": ["RS256"],
    "jwks_uri": "https://login.example/keys",
}


async def _change_issuer(control: Control) -> Call:
    await _done(control, "PUT", "/issuers/login", json=ISSUER)
    return Call("/issuers/login", ISSUER | {"leeway_s": 5})


async def _delete_issuer(control: Control) -> Call:
    await _done(control, "PUT", "/issuers/login", json=ISSUER)
    return Call("/issuers/login")


async def _user(control: Control) -> str:
    """The secret of a session of the publisher ann."""
    body = {"role": "publisher", "password": PASSWORD}
    await _done(control, "PUT", "/users/ann", json=body)
    login = {"name": "ann", "password": PASSWORD}
    begun = await control.anonymous.post("/api/v1/sessions", json=login)
    return str(begun.json()["secret"])


async def _sign_up(_control: Control) -> Call:
    body = {"name": "newcomer", "password": PASSWORD}
    return Call("/signup", body, secret="", actor=("anonymous", "anonymous"))


async def _change_user(control: Control) -> Call:
    await _user(control)
    return Call("/users/ann", {"title": "Ann"})


async def _delete_user(control: Control) -> Call:
    await _user(control)
    return Call("/users/ann")


async def _change_password(control: Control) -> Call:
    body = {"old": PASSWORD, "new": "another fine password"}
    return Call("/users/me/password", body, secret=await _user(control), actor=ANN)


async def _log_in(control: Control) -> Call:
    await _user(control)
    return Call("/sessions", {"name": "ann", "password": PASSWORD}, secret="", actor=ANN)


def _end_sessions(path: str) -> Callable[[Control], Awaitable[Call]]:
    async def prepare(control: Control) -> Call:
        return Call(path, secret=await _user(control), actor=ANN)

    return prepare


async def _make_token(control: Control) -> Call:
    return Call("/tokens", {"label": "script"}, secret=await _user(control), actor=ANN)


async def _revoke_token(control: Control) -> Call:
    headers = {"Authorization": f"Bearer {await _user(control)}"}
    made = await _done(control, "POST", "/tokens", headers=headers)
    return Call(f"/tokens/{made['id']}/revoke")


async def _grant(control: Control) -> Call:
    await _done(control, "PUT", "/models/risk")
    await _user(control)
    return Call("/models/risk/grants/ann")


async def _take_back_grant(control: Control) -> Call:
    call = await _grant(control)
    await _done(control, "PUT", call.path)
    return call


async def _transfer_model(control: Control) -> Call:
    await _grant(control)
    return Call("/models/risk/owner", {"user": "ann"})


async def _application(control: Control) -> None:
    await _done(control, "PUT", "/applications/shop")


async def _subscribe(control: Control) -> Call:
    await _application(control)
    await _done(control, "PUT", "/models/risk")
    return Call("/subscriptions/shop/risk", {"plan": "unlimited"})


async def _unsubscribe(control: Control) -> Call:
    call = await _subscribe(control)
    await _done(control, "PUT", call.path, json=call.json)
    return Call(call.path)


async def _make_key(control: Control) -> Call:
    await _application(control)
    return Call("/keys", {"application": "shop"})


async def _revoke_key(control: Control) -> Call:
    await _application(control)
    made = await _done(control, "POST", "/keys", json={"application": "shop"})
    return Call(f"/keys/{made['id']}/revoke")


async def _rotate_key(control: Control) -> Call:
    call = await _revoke_key(control)
    return Call(call.path.replace("revoke", "rotate"), {"overlap_s": 60})


async def _change_key(control: Control) -> Call:
    call = await _revoke_key(control)
    return Call(call.path.removesuffix("/revoke"), {"label": "till"})


async def _change_application(control: Control) -> Call:
    await _application(control)
    return Call("/applications/shop", {"origins": ["https://shop.example"]})


async def _end_application(control: Control) -> Call:
    await _application(control)
    return Call("/applications/shop")


async def _change_consumer(control: Control) -> Call:
    await _done(control, "PUT", "/consumers/acme")
    return Call("/consumers/acme", {"title": "Acme"})


async def _delete_consumer(control: Control) -> Call:
    await _done(control, "PUT", "/consumers/acme")
    return Call("/consumers/acme")


async def _change_subscription(control: Control) -> Call:
    call = await _unsubscribe(control)
    return Call(call.path, {"plan": "free"})


def _decide(decision: str) -> Callable[[Control], Awaitable[Call]]:
    """A decision on the wish of somebody who does not manage the model."""

    async def prepare(control: Control) -> Call:
        call = await _unsubscribe(control)
        await _done(control, "PUT", "/plans/gold", json={"approval": "publisher"})
        theirs = Reach("default", frozenset())
        control.services.subscriptions.put("shop", "risk", "gold", reach=theirs)
        return Call(f"{call.path}/{decision}", {"reason": "as agreed"}, own_reason="as agreed")

    return prepare


WEBHOOK = {"url": "http://127.0.0.1:9/", "events": ["plan.*"]}
_DAY = {"from": "2026-11-25T00:00:00Z", "to": "2026-11-26T00:00:00Z"}


def _on_webhook(suffix: str, json: object = None) -> Callable[[Control], Awaitable[Call]]:
    async def prepare(control: Control) -> Call:
        made = await _done(control, "POST", "/webhooks", json=WEBHOOK)
        return Call(f"/webhooks/{made['id']}{suffix}", json)

    return prepare


async def _replay_delivery(control: Control) -> Call:
    made = await _done(control, "POST", "/webhooks", json=WEBHOOK)
    path = f"/webhooks/{made['id']}"
    sent = await _done(control, "POST", f"{path}/test")
    return Call(f"{path}/deliveries/{sent['id']}/replay")


CASES: dict[str, list[Case]] = {
    "PUT /models/{model}": [
        Case("model.created", "model", "risk", simple("/models/risk")),
        Case("model.changed", "model", "risk", _change_model),
    ],
    "POST /models/{model}/versions": [
        Case("version.registered", "version", "risk/2", _register_version)
    ],
    "PATCH /models/{model}/versions/{number}": [
        Case("version.unloaded", "version", "risk/1", _unload_version),
        Case("version.loaded", "version", "risk/1", _load_version),
    ],
    "POST /models/{model}/versions/{number}/transitions": [
        Case("version.approved", "version", "risk/1", _approve_version),
        Case("version.rejected", "version", "risk/1", _reject_version),
    ],
    "POST /models/{model}/versions/{number}/approvals": [
        Case("approval.given", "approval", "risk/1", _approve),
        Case("approval.refused", "approval", "risk/1", _refuse),
    ],
    "POST /models/{model}/versions/{number}/approval-requests": [
        Case("approval.requested", "approval", "risk/1", _ask_for_approval)
    ],
    "PUT /models/{model}/requirements": [
        Case("requirements.created", "requirements", "risk/1", _state_requirements),
        Case("requirements.changed", "requirements", "risk/2", _change_requirements),
    ],
    "POST /models/{model}/versions/{number}/evidence": [
        Case("evidence.added", "evidence", None, _add_evidence)
    ],
    "PUT /models/{model}/versions/{number}/deprecation": [
        Case("version.deprecated", "version", "risk/1", _deprecate),
        Case("version.deprecation_changed", "version", "risk/1", _change_deprecation),
    ],
    "PUT /models/{model}/aliases/{alias}": [
        Case("alias.created", "alias", "risk/next", _make_alias)
    ],
    "DELETE /models/{model}/aliases/{alias}": [
        Case("alias.removed", "alias", "risk/next", _remove_alias)
    ],
    "DELETE /models/{model}/captures": [
        Case("captures.removed", "model", "risk", _remove_captures)
    ],
    "PUT /models/{model}/rollout": [
        Case("alias.created", "alias", "risk/stable", _move_traffic),
        Case("rollout.changed", "rollout", "risk", _begin_canary),
    ],
    "POST /models/{model}/rollback": [
        Case("rollout.rolled_back", "rollout", "risk", _roll_back),
    ],
    "POST /models/{model}/rollout/pause": [
        Case("canary.paused", "canary", "risk/2", canary_call("pause"))
    ],
    "POST /models/{model}/rollout/resume": [
        Case("canary.resumed", "canary", "risk/2", canary_call("resume"))
    ],
    "POST /models/{model}/rollout/advance": [
        Case("canary.advanced", "canary", "risk/2", canary_call("advance"))
    ],
    "POST /models/{model}/rollout/abort": [
        Case("canary.aborted", "canary", "risk/2", canary_call("abort"))
    ],
    "PUT /plans/{plan}": [
        Case("plan.created", "plan", "gold", simple("/plans/gold", {})),
        Case("plan.changed", "plan", "gold", _change_plan),
    ],
    "DELETE /plans/{plan}": [Case("plan.deleted", "plan", "gold", _delete_plan)],
    "PUT /issuers/{issuer}": [
        Case("issuer.created", "issuer", "login", simple("/issuers/login", ISSUER)),
        Case("issuer.changed", "issuer", "login", _change_issuer),
    ],
    "DELETE /issuers/{issuer}": [Case("issuer.deleted", "issuer", "login", _delete_issuer)],
    "PUT /consumers/{consumer}": [
        Case("consumer.created", "consumer", "acme", simple("/consumers/acme")),
        Case("consumer.changed", "consumer", "acme", _change_consumer),
    ],
    "DELETE /consumers/{consumer}": [
        Case("consumer.deleted", "consumer", "acme", _delete_consumer)
    ],
    "PUT /applications/{application}": [
        Case("application.created", "application", "shop", simple("/applications/shop")),
        Case("application.changed", "application", "shop", _change_application),
    ],
    "DELETE /applications/{application}": [
        Case("application.deleted", "application", "shop", _end_application)
    ],
    "PUT /subscriptions/{application}/{model}": [
        Case("subscription.created", "subscription", "shop/risk", _subscribe),
        Case("subscription.changed", "subscription", "shop/risk", _change_subscription),
    ],
    "POST /subscriptions/{application}/{model}/approve": [
        Case("subscription.approved", "subscription", "shop/risk", _decide("approve"))
    ],
    "POST /subscriptions/{application}/{model}/refuse": [
        Case("subscription.refused", "subscription", "shop/risk", _decide("refuse"))
    ],
    "DELETE /subscriptions/{application}/{model}": [
        Case("subscription.deleted", "subscription", "shop/risk", _unsubscribe)
    ],
    "PUT /applications/{application}/pins/{model}": [
        Case("pin.created", "pin", "shop/risk", _pin),
        Case("pin.changed", "pin", "shop/risk", _change_pin),
    ],
    "DELETE /applications/{application}/pins/{model}": [
        Case("pin.deleted", "pin", "shop/risk", _remove_pin)
    ],
    "POST /signup": [
        Case("user.created", "user", "newcomer", _sign_up),
    ],
    "PUT /users/{user}": [
        Case("user.created", "user", "ann", simple("/users/ann", {"password": PASSWORD})),
        Case("user.changed", "user", "ann", _change_user),
    ],
    "DELETE /users/{user}": [Case("user.deleted", "user", "ann", _delete_user)],
    "PUT /users/me/password": [Case("user.password_changed", "user", "ann", _change_password)],
    "POST /sessions": [Case("user.logged_in", "user", "ann", _log_in)],
    "DELETE /sessions": [Case("session.ended", "session", None, _end_sessions("/sessions"))],
    "DELETE /sessions/{session}": [
        Case("session.ended", "session", None, _end_sessions("/sessions/current"))
    ],
    "POST /tokens": [Case("token.created", "token", None, _make_token)],
    "POST /tokens/{token}/revoke": [Case("token.revoked", "token", None, _revoke_token)],
    "PUT /models/{model}/grants/{user}": [Case("grant.created", "grant", "risk/ann", _grant)],
    "DELETE /models/{model}/grants/{user}": [
        Case("grant.removed", "grant", "risk/ann", _take_back_grant)
    ],
    "PUT /models/{model}/owner": [Case("model.transferred", "model", "risk", _transfer_model)],
    "PUT /configuration": [
        Case(
            "consumer.created",
            "consumer",
            "acme",
            simple("/configuration", {"consumers": {"acme": {}}}),
        )
    ],
    "POST /webhooks": [
        Case("webhook.created", "webhook", None, simple("/webhooks", WEBHOOK)),
    ],
    "PUT /webhooks/{webhook}": [
        Case("webhook.changed", "webhook", None, _on_webhook("", {"title": "x"})),
    ],
    "DELETE /webhooks/{webhook}": [Case("webhook.deleted", "webhook", None, _on_webhook(""))],
    "POST /webhooks/{webhook}/rotate": [
        Case("webhook.rotated", "webhook", None, _on_webhook("/rotate")),
    ],
    "POST /webhooks/{webhook}/test": [
        Case("webhook.tested", "webhook", None, _on_webhook("/test")),
    ],
    "POST /webhooks/{webhook}/replay": [
        Case("webhook.replayed", "webhook", None, _on_webhook("/replay", _DAY)),
    ],
    "POST /webhooks/{webhook}/deliveries/{delivery}/replay": [
        Case("webhook.replayed", "webhook", None, _replay_delivery),
    ],
    "POST /keys": [Case("key.created", "key", None, _make_key)],
    "PUT /keys/{key}": [Case("key.changed", "key", None, _change_key)],
    "PATCH /keys/{key}": [Case("key.changed", "key", None, _change_key)],
    "POST /keys/{key}/rotate": [Case("key.rotated", "key", None, _rotate_key)],
    "POST /keys/{key}/revoke": [Case("key.revoked", "key", None, _revoke_key)],
}
"""``METHOD PATH`` below ``/api/v1`` as the OpenAPI document has it -> calls that succeed."""

_UPLOAD = "bytes that no version needs change nothing; the version that needs them is recorded"
NO_CHANGE: dict[str, str] = {
    "POST /inspections": "an artifact is read, and nothing is registered",
    "POST /blobs/uploads": _UPLOAD,
    "PATCH /blobs/uploads/{id}": _UPLOAD,
    "POST /blobs/uploads/{id}/complete": _UPLOAD,
    "DELETE /blobs/uploads/{id}": _UPLOAD,
    "POST /models/{model}/versions/{number}/evaluations": "it reads rows and asks an engine; the "
    "evidence that comes of it is recorded when it is kept, as what it is",
    "DELETE /models/{model}/versions/{number}/evaluations/{id}": "a process ends that had changed "
    "nothing",
    "POST /audit/verify": "it reads the log, and writes there only of damage that it finds",
}
"""Writing routes that leave no entry -> why."""
