"""Every writing route of the management API, called once with success: what it must leave in the
audit log.

A new route needs an entry here: in ``CASES``, or in ``NO_CHANGE`` with the reason why an auditor
has nothing to learn from it. A case prepares what the route needs, and gives the call itself.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from control.reach import Reach
from tests.control.audited_calls import PASSWORD, Call, done, simple
from tests.control.audited_models import (
    add_evidence,
    approve,
    approve_version,
    ask_for_approval,
    begin_canary,
    canary_call,
    change_deprecation,
    change_model,
    change_pin,
    change_requirements,
    deprecate,
    load_version,
    make_alias,
    move_traffic,
    pin,
    refuse,
    register_version,
    reject_version,
    remove_alias,
    remove_captures,
    remove_pin,
    roll_back,
    state_requirements,
    unload_version,
)
from tests.control.audited_people import (
    ISSUER,
    change_issuer,
    change_password,
    change_user,
    delete_issuer,
    delete_user,
    end_sessions,
    grant,
    log_in,
    make_token,
    revoke_token,
    sign_up,
    take_back_grant,
    transfer_model,
)
from tests.control.running import Control


class Case(NamedTuple):
    """``action``, ``kind`` and ``key`` of the entry that the call must leave. A key of None is the
    server's own choice."""

    action: str
    kind: str
    key: str | None
    prepare: Callable[[Control], Awaitable[Call]]


async def _change_plan(control: Control) -> Call:
    await done(control, "PUT", "/plans/gold", json={})
    return Call("/plans/gold", {"title": "Gold"})


async def _delete_plan(control: Control) -> Call:
    await done(control, "PUT", "/plans/gold", json={})
    return Call("/plans/gold")


async def _application(control: Control) -> None:
    await done(control, "PUT", "/applications/shop")


async def _subscribe(control: Control) -> Call:
    await _application(control)
    await done(control, "PUT", "/models/risk")
    return Call("/subscriptions/shop/risk", {"plan": "unlimited"})


async def _unsubscribe(control: Control) -> Call:
    call = await _subscribe(control)
    await done(control, "PUT", call.path, json=call.json)
    return Call(call.path)


async def _make_key(control: Control) -> Call:
    await _application(control)
    return Call("/keys", {"application": "shop"})


async def _revoke_key(control: Control) -> Call:
    await _application(control)
    made = await done(control, "POST", "/keys", json={"application": "shop"})
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
    await done(control, "PUT", "/consumers/acme")
    return Call("/consumers/acme", {"title": "Acme"})


async def _delete_consumer(control: Control) -> Call:
    await done(control, "PUT", "/consumers/acme")
    return Call("/consumers/acme")


async def _change_subscription(control: Control) -> Call:
    call = await _unsubscribe(control)
    return Call(call.path, {"plan": "free"})


def _decide(decision: str) -> Callable[[Control], Awaitable[Call]]:
    """A decision on the wish of somebody who does not manage the model."""

    async def prepare(control: Control) -> Call:
        call = await _unsubscribe(control)
        await done(control, "PUT", "/plans/gold", json={"approval": "publisher"})
        theirs = Reach("default", frozenset())
        control.services.subscriptions.put("shop", "risk", "gold", reach=theirs)
        return Call(f"{call.path}/{decision}", {"reason": "as agreed"}, own_reason="as agreed")

    return prepare


WEBHOOK = {"url": "http://127.0.0.1:9/", "events": ["plan.*"]}
_DAY = {"from": "2026-11-25T00:00:00Z", "to": "2026-11-26T00:00:00Z"}


def _on_webhook(suffix: str, json: object = None) -> Callable[[Control], Awaitable[Call]]:
    async def prepare(control: Control) -> Call:
        made = await done(control, "POST", "/webhooks", json=WEBHOOK)
        return Call(f"/webhooks/{made['id']}{suffix}", json)

    return prepare


async def _replay_delivery(control: Control) -> Call:
    made = await done(control, "POST", "/webhooks", json=WEBHOOK)
    path = f"/webhooks/{made['id']}"
    sent = await done(control, "POST", f"{path}/test")
    return Call(f"{path}/deliveries/{sent['id']}/replay")


CASES: dict[str, list[Case]] = {
    "PUT /models/{model}": [
        Case("model.created", "model", "risk", simple("/models/risk")),
        Case("model.changed", "model", "risk", change_model),
    ],
    "POST /models/{model}/versions": [
        Case("version.registered", "version", "risk/2", register_version)
    ],
    "PATCH /models/{model}/versions/{number}": [
        Case("version.unloaded", "version", "risk/1", unload_version),
        Case("version.loaded", "version", "risk/1", load_version),
    ],
    "POST /models/{model}/versions/{number}/transitions": [
        Case("version.approved", "version", "risk/1", approve_version),
        Case("version.rejected", "version", "risk/1", reject_version),
    ],
    "POST /models/{model}/versions/{number}/approvals": [
        Case("approval.given", "approval", "risk/1", approve),
        Case("approval.refused", "approval", "risk/1", refuse),
    ],
    "POST /models/{model}/versions/{number}/approval-requests": [
        Case("approval.requested", "approval", "risk/1", ask_for_approval)
    ],
    "PUT /models/{model}/requirements": [
        Case("requirements.created", "requirements", "risk/1", state_requirements),
        Case("requirements.changed", "requirements", "risk/2", change_requirements),
    ],
    "POST /models/{model}/versions/{number}/evidence": [
        Case("evidence.added", "evidence", None, add_evidence)
    ],
    "PUT /models/{model}/versions/{number}/deprecation": [
        Case("version.deprecated", "version", "risk/1", deprecate),
        Case("version.deprecation_changed", "version", "risk/1", change_deprecation),
    ],
    "PUT /models/{model}/aliases/{alias}": [
        Case("alias.created", "alias", "risk/next", make_alias)
    ],
    "DELETE /models/{model}/aliases/{alias}": [
        Case("alias.removed", "alias", "risk/next", remove_alias)
    ],
    "DELETE /models/{model}/captures": [Case("captures.removed", "model", "risk", remove_captures)],
    "PUT /models/{model}/rollout": [
        Case("alias.created", "alias", "risk/stable", move_traffic),
        Case("rollout.changed", "rollout", "risk", begin_canary),
    ],
    "POST /models/{model}/rollback": [
        Case("rollout.rolled_back", "rollout", "risk", roll_back),
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
        Case("issuer.changed", "issuer", "login", change_issuer),
    ],
    "DELETE /issuers/{issuer}": [Case("issuer.deleted", "issuer", "login", delete_issuer)],
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
        Case("pin.created", "pin", "shop/risk", pin),
        Case("pin.changed", "pin", "shop/risk", change_pin),
    ],
    "DELETE /applications/{application}/pins/{model}": [
        Case("pin.deleted", "pin", "shop/risk", remove_pin)
    ],
    "POST /signup": [
        Case("user.created", "user", "newcomer", sign_up),
    ],
    "PUT /users/{user}": [
        Case("user.created", "user", "ann", simple("/users/ann", {"password": PASSWORD})),
        Case("user.changed", "user", "ann", change_user),
    ],
    "DELETE /users/{user}": [Case("user.deleted", "user", "ann", delete_user)],
    "PUT /users/me/password": [Case("user.password_changed", "user", "ann", change_password)],
    "POST /sessions": [Case("user.logged_in", "user", "ann", log_in)],
    "DELETE /sessions": [Case("session.ended", "session", None, end_sessions("/sessions"))],
    "DELETE /sessions/{session}": [
        Case("session.ended", "session", None, end_sessions("/sessions/current"))
    ],
    "POST /tokens": [Case("token.created", "token", None, make_token)],
    "POST /tokens/{token}/revoke": [Case("token.revoked", "token", None, revoke_token)],
    "PUT /models/{model}/grants/{user}": [Case("grant.created", "grant", "risk/ann", grant)],
    "DELETE /models/{model}/grants/{user}": [
        Case("grant.removed", "grant", "risk/ann", take_back_grant)
    ],
    "PUT /models/{model}/owner": [Case("model.transferred", "model", "risk", transfer_model)],
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
