"""Who sees and changes which application, key and subscription; what ends with an application."""

import asyncio

import httpx
import msgspec
import pytest
import sqlalchemy as sa

from control.reach import EVERYTHING, reach_of
from control.store import schema
from control.store.tables import api_keys, applications, consumers, subscriptions
from protocol.configuration import ApplicationDoc, KeyDoc
from registry.access import Actor
from registry.store.audit import audit
from registry.store.changes import changes
from registry.store.database import Database
from tests.control.acting import Cast
from tests.control.running import Control
from tests.control.test_management import add_model
from tests.control.test_subscriptions import add_version


class World:
    """Two consumers with an application, a key and a subscription each."""

    def __init__(self, cast: Cast) -> None:
        self.admin = cast.client(Actor("root", "admin"))
        self.auditor = cast.client(Actor("aud", "auditor"))
        self.acme = cast.client(Actor("ann", "consumer", consumer="acme"))
        self.globex = cast.client(Actor("bob", "consumer", consumer="globex"))
        self.nobody = cast.client(Actor("new", "consumer"))
        self.sponsor = cast.client(Actor("spo", "sponsor", consumer="acme"))
        self.publisher = cast.client(Actor("pub", "publisher", "press", frozenset({"risk"})))
        self.keys: dict[str, str] = {}

    async def fill(self, control: Control) -> None:
        for model in ("risk", "fraud"):
            add_model(control, model)
            add_version(control, model, 1, "published")
        for consumer, client in (("acme", self.acme), ("globex", self.globex)):
            await self.admin.put(f"/api/v1/consumers/{consumer}")
            assert (await client.put(f"/api/v1/applications/{consumer}-app")).status_code == 201
            made = await client.post("/api/v1/keys", json={"application": f"{consumer}-app"})
            assert made.status_code == 201, made.text
            self.keys[consumer] = made.json()["id"]
        for path in ("acme-app/risk", "globex-app/fraud"):
            client = self.acme if path.startswith("acme") else self.globex
            made = await client.put(f"/api/v1/subscriptions/{path}", json={"plan": "free"})
            assert made.status_code == 201, made.text


@pytest.fixture
async def world(control: Control, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(Cast(control, monkeypatch))
    await made.fill(control)
    return made


async def seen(client: httpx.AsyncClient) -> dict[str, list[str]]:
    """What the lists of an actor hold."""
    found = {}
    for kind in ("consumers", "applications", "keys", "subscriptions"):
        answer = await client.get(f"/api/v1/{kind}")
        assert answer.status_code == 200, answer.text
        found[kind] = [one.get("name") or f"{one['application']}" for one in answer.json()["items"]]
    return found


async def test_lists_hold_what_is_within_reach_and_nothing_else(world: World) -> None:
    everything = await seen(world.admin)
    own = {
        "consumers": ["acme"],
        "applications": ["acme-app"],
        "keys": ["acme-app"],
        "subscriptions": ["acme-app"],
    }

    assert everything["applications"] == ["acme-app", "globex-app"]
    assert await seen(world.auditor) == everything
    assert await seen(world.acme) == own
    assert await seen(world.sponsor) == own
    assert await seen(world.nobody) == {key: [] for key in own}
    assert await seen(world.publisher) == {
        **{key: [] for key in own},
        "subscriptions": ["acme-app"],
    }


async def test_what_is_anothers_does_not_exist(world: World) -> None:
    key = f"/api/v1/keys/{world.keys['acme']}"
    attempts: list[tuple[str, str, object]] = [
        ("GET", "/api/v1/consumers/acme", None),
        ("GET", "/api/v1/applications/acme-app", None),
        ("PUT", "/api/v1/applications/acme-app", {"title": "mine"}),
        ("PUT", "/api/v1/applications/acme-app", {"consumer": "globex"}),
        ("DELETE", "/api/v1/applications/acme-app", None),
        ("PUT", "/api/v1/applications/new-app", {"consumer": "acme"}),
        ("PUT", "/api/v1/applications/globex-app", {"consumer": "acme"}),
        ("GET", key, None),
        ("PATCH", key, {"label": "mine"}),
        ("POST", key + "/rotate", {"overlap_s": 0}),
        ("POST", key + "/revoke", None),
        ("POST", "/api/v1/keys", {"application": "acme-app"}),
        ("GET", "/api/v1/subscriptions/acme-app/risk", None),
        ("PUT", "/api/v1/subscriptions/acme-app/risk", {"plan": "unlimited"}),
        ("PUT", "/api/v1/subscriptions/acme-app/fraud", {"plan": "unlimited"}),
        ("DELETE", "/api/v1/subscriptions/acme-app/risk", None),
    ]
    for client in (world.globex, world.nobody):
        for method, path, body in attempts:
            answer = await client.request(method, path, json=body)
            assert answer.status_code == 404, (method, path, answer.text)
            assert "acme" not in answer.text.replace(path, "") or "acme" in str((path, body))
    assert (await seen(world.acme))["subscriptions"] == ["acme-app"]
    assert (await world.acme.get("/api/v1/applications/acme-app")).json()["title"] == ""


async def test_a_missing_thing_and_anothers_are_told_in_the_same_words(world: World) -> None:
    for template in ("applications/{}", "subscriptions/{}/risk", "consumers/{}"):
        theirs = "acme" if "consumers" in template else "acme-app"
        hidden = await world.globex.get("/api/v1/" + template.format(theirs))
        absent = await world.globex.get("/api/v1/" + template.format("x-y-z"))
        assert hidden.text.replace(theirs, "x-y-z") == absent.text
    hidden = await world.globex.get(f"/api/v1/keys/{world.keys['acme']}")
    absent = await world.globex.get("/api/v1/keys/key-0")
    assert hidden.text == absent.text


async def test_roles_that_only_read_change_nothing(world: World) -> None:
    for client in (world.sponsor, world.auditor):
        for method, path in (
            ("PUT", "/api/v1/applications/acme-app"),
            ("DELETE", "/api/v1/applications/acme-app"),
            ("POST", f"/api/v1/keys/{world.keys['acme']}/revoke"),
            ("DELETE", "/api/v1/subscriptions/acme-app/risk"),
        ):
            assert (await client.request(method, path)).status_code == 403


async def test_a_publisher_manages_subscriptions_to_its_models(world: World) -> None:
    path = "/api/v1/subscriptions/acme-app/risk"
    moved = await world.publisher.put(path, json={"plan": "standard"})
    ended = await world.publisher.delete(path)
    other = await world.publisher.get("/api/v1/subscriptions/globex-app/fraud")

    assert [moved.status_code, ended.status_code, other.status_code] == [200, 204, 404]


def test_an_account_without_a_consumer_reaches_none() -> None:
    for role in ("consumer", "sponsor"):
        reach = reach_of(Actor("new", role))  # type: ignore[arg-type]
        assert not reach.has_consumer("default")
        assert not reach.has_model("risk")
    assert reach_of(Actor("root", "admin")) == EVERYTHING


def published(control: Control, kind: str) -> dict[str, bytes]:
    """The present document of each key of this kind."""
    return {
        one.key: bytes(one.doc)
        for one in control.services.stream.rows(0, 10_000)
        if one.kind == kind
    }


async def test_an_application_is_published_with_whether_it_may_be_captured(
    control: Control,
) -> None:
    path = "/api/v1/applications/shop"
    bodies: tuple[dict[str, object], ...] = (
        {}, {"capture": False}, {"title": "The shop"}, {"capture": True},
    )  # fmt: skip
    answered, told = [], []
    for body in bodies:
        answered.append((await control.admin.put(path, json=body)).json()["capture"])
        document = published(control, "application")["shop"]
        told.append(msgspec.json.decode(document, type=ApplicationDoc).capture)
    assert answered == told == [True, False, False, True]
    assert (await control.admin.put(path, json={"capture": "no"})).status_code == 422


async def test_an_application_is_published_with_its_origins(control: Control) -> None:
    wish = {"origins": ["https://b.example:443", "http://localhost:3000", "https://b.example"]}
    made = await control.admin.put("/api/v1/applications/shop", json=wish)
    kept = await control.admin.put("/api/v1/applications/shop", json={"title": "Shop"})
    none = await control.admin.put("/api/v1/applications/shop", json={"origins": []})

    assert made.json()["origins"] == ["http://localhost:3000", "https://b.example"]
    assert kept.json()["origins"] == made.json()["origins"]
    assert none.json()["origins"] == []
    document = msgspec.json.decode(published(control, "application")["shop"], type=ApplicationDoc)
    assert document == ApplicationDoc(name="shop", consumer="default")


@pytest.mark.parametrize("origin", ["*", "https://a.example/x", "a.example", "null"])
async def test_an_origin_that_is_none_is_refused(control: Control, origin: str) -> None:
    refused = await control.admin.put("/api/v1/applications/shop", json={"origins": [origin]})

    assert refused.status_code == 422
    assert "is not an origin" in refused.text


async def test_an_application_ends_with_everything_that_is_its_own(
    world: World, control: Control
) -> None:
    rotated = await world.acme.post(
        f"/api/v1/keys/{world.keys['acme']}/rotate", json={"overlap_s": 60}
    )
    assert rotated.status_code == 200
    ended = await world.acme.delete("/api/v1/applications/acme-app")

    assert ended.status_code == 204
    assert await seen(world.acme) == {
        "consumers": ["acme"], "applications": [], "keys": [], "subscriptions": [],
    }  # fmt: skip
    assert published(control, "application")["acme-app"] == b"null"
    assert published(control, "subscription")["acme-app/risk"] == b"null"
    key = world.keys["acme"]
    assert published(control, "key")[key] == published(control, "key")[f"{key}.2"] == b"null"
    assert published(control, "subscription")["globex-app/fraud"] != b"null"
    with control.services.database.read() as connection:
        query = sa.select(audit.c.action, audit.c.key).order_by(audit.c.seq.desc()).limit(3)
        recorded = {tuple(row) for row in connection.execute(query)}
    assert recorded == {
        ("key.revoked", key),
        ("subscription.deleted", "acme-app/risk"),
        ("application.deleted", "acme-app"),
    }


async def test_the_name_of_an_ended_application_stays_its_consumers(world: World) -> None:
    await world.acme.delete("/api/v1/applications/acme-app")
    by_other = await world.globex.put("/api/v1/applications/acme-app")
    by_admin = await world.admin.put("/api/v1/applications/acme-app", json={"consumer": "globex"})
    again = await world.acme.put("/api/v1/applications/acme-app")

    assert [by_other.status_code, by_admin.status_code, again.status_code] == [404, 409, 201]
    assert "not available" in by_other.json()["detail"]


async def test_a_consumer_with_applications_is_only_deleted_with_them(
    world: World, control: Control
) -> None:
    refused = await world.admin.delete("/api/v1/consumers/acme")
    stale = {"If-Match": '"old"'}
    unmatched = await world.admin.delete(
        "/api/v1/consumers/acme", params={"cascade": True}, headers=stale
    )
    ended = await world.admin.delete("/api/v1/consumers/acme", params={"cascade": True})
    again = await world.admin.delete("/api/v1/consumers/acme")

    assert [refused.status_code, unmatched.status_code] == [409, 412]
    assert "1 application:" in refused.json()["detail"]
    assert [ended.status_code, again.status_code] == [204, 404]
    assert (await seen(world.admin))["applications"] == ["globex-app"]
    with control.services.database.read() as connection:
        last = connection.execute(sa.select(audit.c.action).order_by(audit.c.seq.desc())).scalar()
    assert last == "consumer.deleted"


async def test_only_an_admin_deletes_consumers(world: World) -> None:
    for client in (world.publisher, world.acme, world.sponsor):
        assert (await client.delete("/api/v1/consumers/acme")).status_code == 403


async def test_the_same_application_made_twice_at_once_is_made_once(control: Control) -> None:
    answers = await asyncio.gather(
        *(control.admin.put("/api/v1/applications/shop") for _ in range(5))
    )

    assert sorted(answer.status_code for answer in answers) == [200] * 4 + [201]


def test_rows_of_an_earlier_schema_are_published_with_the_migration(database_url: str) -> None:
    database = Database(database_url)
    with database.write() as connection:
        schema.migrate(connection, "0001")
        schema.changes.initialise(connection)
        # In the words of that schema: the tables of the code have columns that it did not.
        for statement in (
            "INSERT INTO consumers VALUES ('acme', '', 0, 0)",
            "INSERT INTO applications VALUES ('shop', 'acme', '', 0, 0)",
            "INSERT INTO subscriptions VALUES ('shop', 'risk', 'unlimited', 0, 0)",
            (
                "INSERT INTO api_keys (id, hash, prefix, application, label, environment, "
                "created_ms, created_by) VALUES ('key-1', 'h', 'p', 'shop', '', 'test', 0, 'x')"
            ),
        ):
            connection.execute(sa.text(statement))
    schema.upgrade(database)

    with database.read() as connection:
        rows = connection.execute(sa.select(changes).order_by(changes.c.seq)).all()
        found = {(row.kind, row.key): row.doc.encode() for row in rows}
        counts = [
            connection.execute(sa.select(sa.func.count()).select_from(table)).scalar()
            for table in (consumers, applications, subscriptions, api_keys)
        ]
    application = msgspec.json.decode(found["application", "shop"], type=ApplicationDoc)
    key = msgspec.json.decode(found["key", "key-1"], type=KeyDoc)
    assert application == ApplicationDoc(name="shop", consumer="acme")
    assert (key.hash, key.environment) == ("h", "test")
    assert counts == [1, 1, 1, 1]
    database.close()


async def test_a_consumer_whose_users_are_still_there_is_not_deleted(control: Control) -> None:
    await control.admin.put("/api/v1/consumers/acme")
    user = {"role": "consumer", "consumer": "acme", "password": "correct horse battery"}
    made = await control.admin.put("/api/v1/users/ann", json=user)
    refused = await control.admin.delete("/api/v1/consumers/acme", params={"cascade": True})

    assert made.status_code == 201, made.text
    assert refused.status_code == 409
    assert "users" in refused.json()["detail"]
