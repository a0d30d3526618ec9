"""What each role gets from each route when it asks with another tenant's ids.

Every route of the management API has a line here; a route without one fails the walk. Admins reach
everything and are not walked; auditors read everything and change nothing.
"""

from typing import NamedTuple

from tests.control.tenants import PASSWORD, Tenant

ROLES = ("publisher", "consumer", "sponsor", "auditor")
Statuses = dict[str, frozenset[int]]


class Expected(NamedTuple):
    """The statuses that each role may get, and what is sent."""

    statuses: Statuses
    body: object = None
    """JSON; ``{NAME}`` in it is filled in from the other tenant as in paths."""
    headers: tuple[tuple[str, str], ...] = ()
    query: str = ""
    """Filters by the other tenant's names."""
    public: Statuses | None = None
    """What holds where ``{model}`` is the other tenant's published one; None: the same."""
    own: bool = False
    """Whether it acts on the caller's own things: success is fine, if nothing of theirs changes."""


def each(publisher: int, consumer: int, sponsor: int, auditor: int) -> Statuses:
    """A status for each role."""
    given = (publisher, consumer, sponsor, auditor)
    return {role: frozenset({status}) for role, status in zip(ROLES, given, strict=True)}


NOBODY = each(403, 403, 403, 403)
"""For admins alone."""
LOOK = each(403, 403, 403, 200)
"""For admins and auditors."""
LIST = each(200, 200, 200, 200)
"""Everybody sees a list; of theirs nothing is in it."""
READ = each(404, 404, 404, 200)
"""Readable by who reaches it."""
CHANGE = each(404, 404, 403, 403)
"""Changed by publishers and consumers who reach it."""
MANAGE = each(404, 403, 403, 403)
"""Changed by publishers who reach it."""
SEEN = each(404, 404, 403, 200)
"""Read by publishers and consumers who reach it, and auditors."""
SEEN_LIST = each(200, 200, 403, 200)
"""A list for all but sponsors."""
HISTORY = each(404, 404, 404, 200)
OTHERS = each(403, 403, 403, 403)
FORBIDDEN_HISTORY = each(403, 403, 403, 200)

IF_MATCH = (("If-Match", "*"),)
OFFSET = (("Upload-Offset", "0"),)
CATALOGUE = Expected(READ, public=LIST)
MODEL_HISTORY = Expected(HISTORY, public=FORBIDDEN_HISTORY)
BLOB = {"digest": "{digest}", "size": 20}
EVIDENCE_LIST = Expected(each(404, 403, 404, 200), public=FORBIDDEN_HISTORY)
REQUIREMENTS = Expected(each(404, 403, 404, 404), public=each(403, 403, 403, 404))
EVIDENCE = {
    "manifest_digest": "{digest}",
    "rows": 1,
    "rows_digest": "{digest}",
    "main_metric": "accuracy",
    "metrics": {"accuracy": {"value": 1.0}},
}

ISSUER = {"issuer": "https://id.example.org", "audiences": ["tollway"], "algorithms": ["RS256"]}


def model_change(body: object = None, headers: tuple[tuple[str, str], ...] = ()) -> Expected:
    """A change of a model that is another's."""
    return Expected(MANAGE, body=body, headers=headers, public=OTHERS)


WALK: dict[str, Expected] = {
    # The registry.
    "GET /models": Expected(LIST),
    "GET /models/{model}": CATALOGUE,
    # Names are one for all: a taken one is told, with nothing else of the model.
    "PUT /models/{model}": Expected(each(409, 403, 403, 403), body={"title": "stolen"}),
    "GET /models/{model}/versions": CATALOGUE,
    "POST /models/{model}/versions": model_change({"artifact": BLOB}),
    "GET /models/{model}/versions/{number}": CATALOGUE,
    "PATCH /models/{model}/versions/{number}": model_change({"loaded": False}),
    "GET /models/{model}/versions/{number}/compatibility": Expected(
        READ, query="following=1", public=LIST
    ),
    # Of a blob that one has not brought oneself nothing is told.
    "POST /inspections": Expected(each(422, 403, 403, 403), body={"artifact": BLOB}),
    "GET /publishing": Expected(each(200, 403, 200, 200)),
    "GET /publishing/{model}/versions": EVIDENCE_LIST,
    "GET /models/{model}/versions/{number}/transitions": MODEL_HISTORY,
    "POST /models/{model}/versions/{number}/transitions": model_change({"to": "deprecated"}),
    "GET /models/{model}/versions/{number}/evidence": EVIDENCE_LIST,
    "POST /models/{model}/versions/{number}/evidence": model_change(EVIDENCE),
    "GET /models/{model}/versions/{number}/evidence/{digest}": Expected(
        each(404, 403, 404, 404), public=each(403, 403, 403, 404)
    ),
    "GET /models/{model}/versions/{number}/evaluations": EVIDENCE_LIST,
    "POST /models/{model}/versions/{number}/evaluations": model_change(
        {"upload": "0" * 32, "target": "y"}
    ),
    "GET /models/{model}/versions/{number}/evaluations/{id}": Expected(
        each(404, 403, 404, 404), public=each(403, 403, 403, 404)
    ),
    "DELETE /models/{model}/versions/{number}/evaluations/{id}": model_change(),
    "GET /models/{model}/shadows/{number}/report": EVIDENCE_LIST,
    "GET /approvals": Expected(each(200, 403, 200, 200)),
    "GET /models/{model}/versions/{number}/gate": EVIDENCE_LIST,
    "GET /models/{model}/versions/{number}/approvals": EVIDENCE_LIST,
    "POST /models/{model}/versions/{number}/approvals": Expected(
        each(403, 403, 404, 403), body={"decision": "approve"}, public=OTHERS
    ),
    "POST /models/{model}/versions/{number}/approval-requests": model_change({}),
    "GET /models/{model}/requirements": REQUIREMENTS,
    "PUT /models/{model}/requirements": Expected(
        each(404, 403, 404, 403), body={"problem": "stolen"}, public=OTHERS
    ),
    "GET /models/{model}/requirements/history": EVIDENCE_LIST,
    "GET /models/{model}/requirements/{number}": REQUIREMENTS,
    "GET /models/{model}/versions/{number}/deprecation": Expected(
        each(404, 404, 404, 404), public=each(404, 404, 404, 404)
    ),
    "GET /models/{model}/versions/{number}/transition-report": MODEL_HISTORY,
    "GET /models/{model}/retirement-report": MODEL_HISTORY,
    "PUT /models/{model}/versions/{number}/deprecation": model_change({"note": "stolen"}),
    "GET /models/{model}/aliases": CATALOGUE,
    "GET /models/{model}/aliases/{alias}": Expected(each(404, 404, 404, 404), public=LIST),
    "GET /models/{model}/aliases/{alias}/history": MODEL_HISTORY,
    "PUT /models/{model}/aliases/{alias}": model_change({"version": 1}, IF_MATCH),
    "DELETE /models/{model}/aliases/{alias}": model_change(headers=IF_MATCH),
    "GET /models/{model}/rollout": CATALOGUE,
    "PUT /models/{model}/rollout": model_change({"stable": 1}),
    "GET /models/{model}/rollout/history": MODEL_HISTORY,
    "POST /models/{model}/rollback": model_change(),
    "GET /models/{model}/rollout/decisions": MODEL_HISTORY,
    "GET /models/{model}/rollout/callers": MODEL_HISTORY,
    "GET /models/{model}/rollout/traffic": MODEL_HISTORY,
    "GET /models/{model}/rollout/evidence": Expected(
        each(404, 404, 404, 404), public=each(403, 403, 403, 404)
    ),
    "POST /models/{model}/rollout/pause": model_change(),
    "POST /models/{model}/rollout/resume": model_change(),
    "POST /models/{model}/rollout/advance": model_change(),
    "POST /models/{model}/rollout/abort": model_change(),
    "GET /models/{model}/owner": Expected(
        each(404, 403, 403, 200), public=each(403, 403, 403, 200)
    ),
    "PUT /models/{model}/owner": model_change({"user": "red-publisher"}),
    "GET /models/{model}/grants": Expected(
        each(404, 403, 403, 200), public=each(403, 403, 403, 200)
    ),
    "GET /models/{model}/grants/{user}": Expected(
        each(404, 403, 403, 404), public=each(403, 403, 403, 404)
    ),
    "PUT /models/{model}/grants/{user}": model_change(),
    "DELETE /models/{model}/grants/{user}": model_change(),
    "HEAD /blobs/{digest}": Expected(each(404, 403, 403, 200)),
    "GET /blobs/{digest}": Expected(each(404, 403, 403, 200)),
    # The bytes are there already: whoever has not brought them is not told.
    "POST /blobs/uploads": Expected(each(201, 403, 403, 403), body=BLOB, own=True),
    "HEAD /blobs/uploads/{id}": Expected(MANAGE),
    "PATCH /blobs/uploads/{id}": Expected(MANAGE, headers=OFFSET),
    "POST /blobs/uploads/{id}/complete": Expected(MANAGE),
    "DELETE /blobs/uploads/{id}": Expected(MANAGE),
    # Who calls.
    "GET /consumers": Expected(LIST),
    "GET /consumers/{consumer}": Expected(READ),
    "PUT /consumers/{consumer}": Expected(each(404, 403, 403, 403), body={"title": "stolen"}),
    "DELETE /consumers/{consumer}": Expected(NOBODY, query="cascade=true"),
    "GET /applications": Expected(LIST, query="consumer={consumer}"),
    "GET /applications/{application}": Expected(READ),
    "PUT /applications/{application}": Expected(
        each(404, 404, 403, 403), body={"title": "stolen", "consumer": "red-consumer"}
    ),
    "DELETE /applications/{application}": Expected(CHANGE),
    "GET /applications/{application}/pins": Expected(READ),
    "GET /applications/{application}/pins/{model}": Expected(each(404, 404, 404, 404)),
    "PUT /applications/{application}/pins/{model}": Expected(CHANGE, body={"version": 1}),
    "DELETE /applications/{application}/pins/{model}": Expected(CHANGE),
    "GET /models/{model}/pins": MODEL_HISTORY,
    "GET /applications/{application}/captures/{model}": Expected(each(404, 404, 403, 403)),
    "GET /applications/{application}/upgrades/{model}": Expected(
        each(404, 404, 403, 403), query="from=1&to=2"
    ),
    "GET /keys": Expected(LIST, query="application={application}"),
    "POST /keys": Expected(CHANGE, body={"application": "{application}"}),
    "GET /keys/{key}": Expected(READ),
    "PUT /keys/{key}": Expected(CHANGE, body={"label": "stolen"}),
    "PATCH /keys/{key}": Expected(CHANGE, body={"label": "stolen"}),
    "POST /keys/{key}/rotate": Expected(CHANGE, body={"overlap_s": 0}),
    "POST /keys/{key}/revoke": Expected(CHANGE),
    "GET /catalogue": Expected(LIST),
    "GET /catalogue/{model}": Expected(each(404, 404, 404, 404), public=LIST),
    "GET /catalogue/{model}/latency": Expected(each(404, 404, 404, 404), public=LIST),
    "GET /plans": Expected(LIST),
    "GET /plans/{plan}": Expected(LIST),
    "PUT /plans/{plan}": Expected(NOBODY, body={"title": "stolen"}),
    "DELETE /plans/{plan}": Expected(NOBODY),
    "GET /subscriptions": Expected(LIST, query="application={application}&model={private}"),
    "GET /subscriptions/{application}/{model}": Expected(READ),
    "PUT /subscriptions/{application}/{model}": Expected(CHANGE, body={"plan": "unlimited"}),
    "DELETE /subscriptions/{application}/{model}": Expected(CHANGE),
    "POST /subscriptions/{application}/{model}/approve": Expected(MANAGE),
    "POST /subscriptions/{application}/{model}/refuse": Expected(MANAGE, body={"reason": "no"}),
    # What was seen.
    "GET /usage": Expected(LIST, query="by=application,model"),
    "GET /quotas": Expected(LIST, query="application={application}&model={private}"),
    "GET /applications/{application}/statements": Expected(READ),
    "GET /applications/{application}/statements/{month}": Expected(READ),
    "GET /usage/latency": Expected(LIST),
    "GET /usage/refusals": Expected(LIST),
    "GET /settings": Expected(LOOK),
    "GET /workers": Expected(each(200, 403, 403, 200)),
    "GET /alerts": Expected(each(200, 403, 403, 200)),
    "GET /changes": Expected(LOOK),
    "GET /gateways": Expected(LOOK),
    "GET /issuers": Expected(LOOK),
    "GET /issuers/{issuer}": Expected(each(403, 403, 403, 404)),
    "PUT /issuers/{issuer}": Expected(NOBODY, body=ISSUER),
    "DELETE /issuers/{issuer}": Expected(NOBODY),
    "GET /audit": Expected(LOOK),
    "GET /audit/export": Expected(LOOK),
    "GET /audit/verify": Expected(LOOK),
    "GET /audit/entries/{seq}": Expected(LOOK),
    "POST /audit/verify": Expected(each(403, 403, 403, 202)),
    "GET /audit/answered": Expected(
        READ, query="application={application}&model={private}&at=2027-01-15T08:00:00Z"
    ),
    # Of a model that has no such version, and of one that nobody else sees.
    "GET /predictions/{prediction}": Expected(each(404, 404, 404, 404)),
    "GET /predictions/{prediction}/capture": Expected(each(404, 404, 403, 403)),
    "GET /models/{model}/captures": Expected(MANAGE, public=OTHERS),
    "DELETE /models/{model}/captures": model_change(),
    # Who hears of it.
    "GET /webhooks": Expected(SEEN_LIST),
    "POST /webhooks": Expected(
        each(404, 404, 403, 403), body={"url": "https://93.184.216.34/", "models": ["{private}"]}
    ),
    "GET /webhooks/event-types": Expected(LIST),
    "GET /webhooks/{webhook}": Expected(SEEN),
    "PUT /webhooks/{webhook}": Expected(CHANGE, body={"title": "stolen"}),
    "DELETE /webhooks/{webhook}": Expected(CHANGE),
    "POST /webhooks/{webhook}/rotate": Expected(CHANGE),
    "POST /webhooks/{webhook}/test": Expected(CHANGE),
    "GET /webhooks/{webhook}/deliveries": Expected(SEEN),
    "GET /webhooks/{webhook}/deliveries/{delivery}": Expected(each(404, 404, 403, 404)),
    "POST /webhooks/{webhook}/deliveries/{delivery}/replay": Expected(CHANGE),
    "POST /webhooks/{webhook}/replay": Expected(
        CHANGE, body={"from": "2027-01-15T08:00:00Z", "to": "2027-01-15T09:00:00Z"}
    ),
    "GET /configuration": Expected(each(200, 403, 403, 200)),
    # Sections are applied whole or not at all: one thing of theirs in it, and nothing happens.
    "PUT /configuration": Expected(
        each(404, 403, 403, 403),
        body={"applications": {"{application}": {"title": "stolen"}}},
        query="prune=true",
    ),
    # Users.
    "GET /users": Expected(LOOK),
    "GET /users/{user}": Expected(LOOK),
    "GET /users/{user}/models": Expected(LOOK),
    "PUT /users/{user}": Expected(NOBODY, body={"role": "consumer", "password": PASSWORD}),
    "DELETE /users/{user}": Expected(NOBODY),
    "GET /users/me": Expected(LIST),
    "PUT /users/me/password": Expected(
        each(403, 403, 403, 403), body={"old": "not the old one", "new": "another fine password"}
    ),
    "POST /signup": Expected(NOBODY, body={"name": "{user}", "password": PASSWORD}),
    "POST /sessions": Expected(
        each(401, 401, 401, 401), body={"name": "{user}", "password": "not the password"}
    ),
    "GET /sessions": Expected(LIST, query="user={user}"),
    "DELETE /sessions": Expected(each(204, 204, 204, 204), query="user={user}", own=True),
    "DELETE /sessions/{session}": Expected(each(404, 404, 404, 404)),
    "GET /oidc/{issuer}/login": Expected(each(404, 404, 404, 404)),
    "GET /oidc/{issuer}/callback": Expected(each(404, 404, 404, 404)),
    "POST /tokens": Expected(NOBODY, body={"user": "{user}"}),
    "GET /tokens": Expected(LIST, query="user={user}"),
    "GET /tokens/{token}": Expected(READ),
    "POST /tokens/{token}/revoke": Expected(each(404, 404, 404, 404)),
}
"""``METHOD PATH`` below ``/api/v1`` -> what the roles get."""

OPEN = frozenset({"GET /oidc/{issuer}/login", "GET /oidc/{issuer}/callback"})
"""Routes without a credential that find nothing here."""
AUDITED = frozenset({"PUT /users/me/password", "POST /sessions"})
"""Refusals that leave an entry in the audit log."""


def ids(tenant: Tenant, model: str) -> dict[str, str]:
    """What stands for the parameters of paths, bodies and queries."""
    return {
        "seq": "1",
        "model": model,
        "private": tenant.private,
        "number": "1",
        "alias": "stable",
        "digest": tenant.digest,
        "id": tenant.upload,
        "consumer": tenant.caller,
        "application": tenant.application,
        "key": tenant.key,
        "plan": "standard",
        "issuer": "corp",
        "user": tenant.owner,
        "session": tenant.session,
        "token": tenant.token,
        "webhook": tenant.webhook,
        "month": "2027-01",
        "delivery": "dlv-1",
        "prediction": "0123456789abcdef-1-1",
    }
