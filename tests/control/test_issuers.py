"""Issuers over the management API, and as gateways hear of them."""

import json
from typing import Any

import msgspec
import sqlalchemy as sa

from protocol.configuration import IssuerDoc
from registry.store.audit import audit
from tests.control.running import Control

PATH = "/api/v1/issuers/login"
LEAST: dict[str, Any] = {
    "issuer": "https://login.example",
    "audiences": ["tollway"],
    "algorithms": ["RS256"],
    "jwks_uri": "https://login.example/keys",
}
MOVED = "https://moved.example"
FULL: dict[str, Any] = LEAST | {
    "title": "Our login",
    "audiences": ["tollway", "also", "tollway"],
    "algorithms": ["RS256", "EdDSA", "ES256"],
    "application_claim": "client.id",
    "applications": {"c-1": "shop"},
    "scope_claim": "scp",
    "scopes": {"model.predict": "predict"},
    "role_claim": "groups",
    "roles": {"admins": "admin"},
    "leeway_s": 5,
    "max_lifetime_s": 3600,
}


def published(control: Control) -> list[IssuerDoc | None]:
    return [
        msgspec.json.decode(one.doc, type=IssuerDoc | None)
        for one in control.services.stream.rows(0, 1000)
        if (one.kind, one.key) == ("issuer", "login")
    ]


def recorded(control: Control) -> list[str]:
    query = sa.select(audit.c.action).where(audit.c.kind == "issuer").order_by(audit.c.seq)
    with control.services.database.read() as connection:
        return list(connection.execute(query).scalars())


async def test_an_issuer_is_made_published_and_recorded(control: Control) -> None:
    made = await control.admin.put(PATH, json=FULL)

    assert made.status_code == 201
    assert made.json() == FULL | {
        "name": "login",
        "audiences": ["also", "tollway"],
        "algorithms": ["ES256", "EdDSA", "RS256"],
        "created_at": made.json()["created_at"],
        "updated_at": made.json()["updated_at"],
    }
    assert (await control.admin.get(PATH)).headers["ETag"] == made.headers["ETag"]
    (document,) = published(control)
    assert document == IssuerDoc(
        name="login",
        issuer="https://login.example",
        audiences=("also", "tollway"),
        algorithms=("ES256", "EdDSA", "RS256"),
        jwks_uri="https://login.example/keys",
        application_claim="client.id",
        applications={"c-1": "shop"},
        scope_claim="scp",
        scopes={"model.predict": "predict"},
        role_claim="groups",
        roles={"admins": "admin"},
        leeway_s=5,
        max_lifetime_s=3600,
    )
    assert control.services.issuers.documents() == [document]
    assert recorded(control) == ["issuer.created"]


async def test_what_is_left_out_has_its_default_also_in_a_change(control: Control) -> None:
    await control.admin.put(PATH, json=FULL)

    changed = await control.admin.put(PATH, json=LEAST)

    assert changed.status_code == 200
    assert published(control)[-1] == IssuerDoc(
        name="login",
        issuer="https://login.example",
        audiences=("tollway",),
        algorithms=("RS256",),
        jwks_uri="https://login.example/keys",
    )
    assert recorded(control) == ["issuer.created", "issuer.changed"]


async def test_repeating_a_put_changes_nothing(control: Control) -> None:
    first = await control.admin.put(PATH, json=FULL)
    control.clock.advance(5)
    again = await control.admin.put(PATH, json=FULL)

    assert again.status_code == 200
    assert again.json() == first.json()
    assert len(published(control)) == len(recorded(control)) == 1


async def test_a_title_alone_is_no_news_to_gateways(control: Control) -> None:
    await control.admin.put(PATH, json=LEAST)
    await control.admin.put(PATH, json=LEAST | {"title": "Login"})

    assert len(published(control)) == 1
    assert recorded(control) == ["issuer.created", "issuer.changed"]


async def test_a_deleted_issuer_is_gone_everywhere(control: Control) -> None:
    await control.admin.put(PATH, json=LEAST)

    assert (await control.admin.delete(PATH)).status_code == 204

    assert (await control.admin.get(PATH)).status_code == 404
    assert (await control.admin.delete(PATH)).status_code == 404
    assert published(control)[-1] is None
    assert recorded(control) == ["issuer.created", "issuer.deleted"]
    assert (await control.admin.put(PATH, json=LEAST)).status_code == 201


async def test_a_change_is_refused_when_another_came_between(control: Control) -> None:
    made = await control.admin.put(PATH, json=LEAST)
    tag = {"If-Match": made.headers["ETag"]}
    assert (await control.admin.put(PATH, json=FULL, headers=tag)).status_code == 200

    assert (await control.admin.put(PATH, json=LEAST, headers=tag)).status_code == 412
    assert (await control.admin.delete(PATH, headers=tag)).status_code == 412
    again = await control.admin.put(PATH, json=LEAST, headers={"If-None-Match": "*"})
    assert again.status_code == 412


async def test_an_iss_has_one_issuer(control: Control) -> None:
    await control.admin.put(PATH, json=LEAST)
    other = "/api/v1/issuers/other"

    refused = await control.admin.put(other, json=LEAST)

    assert refused.status_code == 409
    assert "belong to issuer 'login' already" in refused.json()["detail"]
    assert (await control.admin.put(PATH, json=LEAST | {"issuer": MOVED})).status_code == 200
    assert (await control.admin.put(other, json=LEAST)).status_code == 201


BAD: list[tuple[dict[str, Any], str]] = [
    ({"algorithms": ["HS256"]}, "algorithms"),
    ({"algorithms": ["none"]}, "algorithms"),
    ({"algorithms": ["RS256", "HS512"]}, "algorithms"),
    ({"algorithms": ["rs256"]}, "algorithms"),
    ({"algorithms": []}, "algorithms"),
    ({"audiences": []}, "audiences"),
    ({"audiences": [""]}, "audiences"),
    ({"audiences": "tollway"}, "audiences"),
    ({"issuer": ""}, "issuer"),
    ({"issuer": "a\u0000b"}, "issuer"),
    ({"issuer": "\ud800"}, "surrogate"),
    ({"issuer": "x" * 2049}, "issuer"),
    ({"issuer": "not a url"}, "issuer: not an https URL"),
    ({"issuer": "https://not a host"}, "issuer: not an https URL"),
    ({"issuer": "ftp://login.example"}, "issuer: not an https URL"),
    ({"issuer": "https://"}, "issuer: not an https URL"),
    ({"issuer": "http://login.example"}, "issuer: it must be https"),
    ({"issuer": "https://user:pass@login.example"}, "no credentials"),
    ({"issuer": "https://login.example/?tenant=1"}, "no query"),
    ({"issuer": "https://login.example/#"}, "no fragment"),
    ({"jwks_uri": "http://login.example/keys"}, "https"),
    ({"jwks_uri": "https://user:pass@login.example/keys"}, "credentials"),
    ({"jwks_uri": "file:///etc/passwd"}, "https"),
    ({"jwks_uri": "keys"}, "https"),
    ({"jwks_uri": "https://["}, "https"),
    ({"application_claim": "."}, "application_claim"),
    ({"scope_claim": "a..b"}, "scope_claim"),
    ({"leeway_s": True}, "leeway_s"),
    ({"application_claim": ""}, "application_claim"),
    ({"applications": {"c": "Not A Name"}}, "applications"),
    ({"scope_claim": "scp", "scopes": {"x": "everything"}}, "scopes"),
    ({"scopes": {"x": "predict"}}, "scope_claim"),
    ({"role_claim": "groups"}, "roles"),
    ({"roles": {"x": "admin"}}, "role_claim"),
    ({"role_claim": "groups", "roles": {"x": "root"}}, "roles"),
    ({"leeway_s": -1}, "leeway_s"),
    ({"leeway_s": 3600}, "leeway_s"),
    ({"max_lifetime_s": 0}, "max_lifetime_s"),
    ({"secret": "x"}, "secret"),
]


async def test_a_bad_value_is_refused_by_name_and_changes_nothing(control: Control) -> None:
    for changes, named in BAD:
        # Not the client's own encoder: it refuses a lone surrogate.
        body = json.dumps(LEAST | changes)
        headers = {"Content-Type": "application/json"}
        answer = await control.admin.put(PATH, content=body, headers=headers)

        assert answer.status_code == 422, (changes, answer.text)
        assert named in answer.text, changes
        assert "pass@" not in answer.text
    assert published(control) == []


async def test_an_issuer_on_the_same_machine_may_speak_http(control: Control) -> None:
    for issuer in ("http://127.0.0.1:9000", "http://[::1]/realms/shop", "http://localhost:9000"):
        body = LEAST | {"issuer": issuer, "jwks_uri": f"{issuer}/keys"}
        assert (await control.admin.put(PATH, json=body)).is_success, issuer


async def test_what_must_be_said_is_asked_for(control: Control) -> None:
    for left_out in LEAST:
        body = {name: value for name, value in LEAST.items() if name != left_out}
        answer = await control.admin.put(PATH, json=body)

        assert answer.status_code == 422
        assert left_out in answer.text


async def test_a_name_has_room_in_usage_records(control: Control) -> None:
    for name in ("Login", "a" * 29, "a_b", "-a"):
        assert (await control.admin.put(f"/api/v1/issuers/{name}", json=LEAST)).status_code == 422
    assert (await control.admin.put(f"/api/v1/issuers/{'a' * 28}", json=LEAST)).status_code == 201


async def test_issuers_are_listed_by_name_in_pages(control: Control) -> None:
    for name in ("b", "c", "a"):
        body = LEAST | {"issuer": f"https://{name}.example"}
        await control.admin.put(f"/api/v1/issuers/{name}", json=body)

    first = (await control.admin.get("/api/v1/issuers?limit=2")).json()
    rest = (await control.admin.get(f"/api/v1/issuers?after={first['next']}")).json()

    assert [one["name"] for one in first["items"]] == ["a", "b"]
    assert ([one["name"] for one in rest["items"]], rest["next"]) == (["c"], None)
