"""Every route, every role, another tenant's ids: nothing leaks, nothing changes (OWASP API security
top ten of 2023: 1, broken object level, 3, property level and 5, function level authorisation)."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from fastapi.routing import iter_route_contexts
from sqlalchemy.engine.interfaces import DBAPICursor

from control.middleware import UNGUARDED
from control.settings import ControlSettings
from registry.access import Role
from tests.control.running import Control, connect
from tests.control.tenants import Tenant, tenant, user
from tests.control.walked import AUDITED, OPEN, ROLES, WALK, Expected, ids

API = "/api/v1"
OWN_PACE = ("audit_checkpoints", "webhook_cursor", "usage_")
"""Beginnings of the tables that control's jobs write by themselves, and no route here does."""
LOG = frozenset({"audit", "audit_head"})
Dump = dict[str, frozenset[tuple[object, ...]]]
"""Table -> its rows."""


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """Who reaches what is decided above the database; the stores' own tests run on both."""
    return f"sqlite:///{tmp_path / 'tollway.db'}"


@pytest.fixture
def settings(settings: ControlSettings) -> ControlSettings:
    """Without limits that the walk would run into."""
    none = dict.fromkeys(
        ("rate_login", "rate_login_name", "rate_sign_up", "rate_credentials", "rate_user"), ""
    )
    return settings.model_copy(update={**none, "rate_address": ""})


class World(NamedTuple):
    """Two tenants; the roles ask as ``red``, with the ids of ``blue``."""

    control: Control
    red: Tenant
    blue: Tenant
    names: dict[str, str]
    """Role -> user's name."""
    kept: dict[str, httpx.AsyncClient]
    """Role -> a session in it that still goes on."""

    def client(self, role: str) -> httpx.AsyncClient:
        """A new session in the role, so that a route may end it."""
        accounts = self.control.services.accounts
        with self.control.services.database.write() as connection:
            name = self.names[role]
            made = accounts.sessions.begin(connection, name, _role(role), "", "")
        return connect(self.control.app, made.secret)

    def lasting(self, role: str) -> httpx.AsyncClient:
        """A session in the role, the same one until ``end``."""
        if role not in self.kept:
            self.kept[role] = self.client(role)
        return self.kept[role]

    async def end(self) -> None:
        """The next sessions are new ones."""
        while self.kept:
            await self.kept.popitem()[1].aclose()


@pytest.fixture
async def world(control: Control) -> AsyncIterator[World]:
    red, blue = await tenant(control, "red"), await tenant(control, "blue")
    names = {"publisher": red.owner, "consumer": red.caller}
    for role in ("sponsor", "auditor"):
        client, _ = await user(control, f"red-{role}", role)
        await client.aclose()
        names[role] = f"red-{role}"
    made = World(control, red, blue, names, {})
    yield made
    await made.end()
    await red.close()
    await blue.close()


def _role(name: str) -> Role:
    from control.identity.roles import role_named

    found = role_named(name)
    assert found is not None
    return found


def management_routes(control: Control) -> set[str]:
    """``METHOD PATH`` of every route that a client can reach."""
    found = set()
    for context in iter_route_contexts(control.app.routes):
        path = context.path or ""
        if path.startswith(API) and path not in UNGUARDED:
            found |= {f"{method} {path.removeprefix(API)}" for method in context.methods or ()}
    return found


async def test_every_route_is_walked(control: Control) -> None:
    routes = management_routes(control)

    assert routes - set(WALK) == set(), "add a line to tests/control/walked.py"
    assert set(WALK) - routes == set(), "these routes are gone"


async def test_no_role_reads_or_changes_what_is_another_tenants(world: World) -> None:
    wrong: list[str] = []
    for route, expected in WALK.items():
        models = [world.blue.private]
        if "{model}" in route:
            models.append(world.blue.public)
        for model in models:
            for role in ROLES:
                wrong += await _walk(world, route, expected, role, model)

    assert wrong == [], "\n".join(wrong)


async def test_without_a_credential_nothing_is_answered_or_changed(world: World) -> None:
    before = dump(world.control)
    for route, expected in WALK.items():
        method, path, body, headers = _request(world, route, expected, world.blue.private)
        answer = await world.control.anonymous.request(method, path, json=body, headers=headers)
        if route == "POST /signup":
            assert answer.status_code == 403
        elif route in OPEN:
            assert answer.status_code == 404
        else:
            assert answer.status_code == 401, route
        assert leaks(world.blue, answer, path) == []
    assert _without(dump(world.control), LOG) == _without(before, LOG)


async def test_the_consumer_of_one_tenant_is_no_member_of_another_by_a_claim(
    world: World,
) -> None:
    """OWASP API 3: properties that decide on reach cannot be set by those whom they bind."""
    async with world.client("consumer") as client:
        path = f"{API}/applications/red-new"
        answer = await client.put(path, json={"consumer": world.blue.caller})
        assert answer.status_code in (403, 404), answer.text
        path = f"{API}/applications/{world.red.application}"
        answer = await client.put(path, json={"consumer": world.blue.caller})
        assert answer.status_code in (403, 404), answer.text
        for field in ({"role": "admin"}, {"consumer": world.blue.caller}, {"disabled": False}):
            own = await client.put(f"{API}/users/{world.red.caller}", json=field)
            assert own.status_code == 403


async def test_a_configuration_with_anything_of_theirs_changes_nothing(world: World) -> None:
    blue = world.blue
    for section in (
        {"consumers": {blue.caller: {"title": "stolen"}}},
        {"applications": {blue.application: {"consumer": world.red.caller}}},
        {"models": {blue.private: {"title": "stolen"}}},
        {"models": {blue.public: {"title": "stolen", "aliases": {"stable": 1}}}},
        {"models": {blue.public: {"aliases": {"next": 1}}}},
        {"subscriptions": {blue.application: {blue.public: {"plan": "free"}}}},
        {"plans": {"standard": {"title": "stolen"}}},
        {"applications": {}, "models": {}, "consumers": {}, "subscriptions": {}},
    ):
        prunes = not any(section.values())
        async with world.client("publisher") as client:
            before = _theirs(dump(world.control), blue)
            query = {"prune": "true"} if prunes else {}
            answer = await client.put(f"{API}/configuration", json=section, params=query)
            assert _theirs(dump(world.control), blue) == before, section
        assert blue.marker not in answer.text
        if not prunes:
            assert 400 <= answer.status_code < 500, (section, answer.text)


async def _walk(world: World, route: str, expected: Expected, role: str, model: str) -> list[str]:
    """What is wrong with the answer to one request."""
    method, path, body, headers = _request(world, route, expected, model)
    allowed = expected.statuses
    if model == world.blue.public and expected.public is not None:
        allowed = expected.public
    client = world.lasting(role)
    before = dump(world.control)
    answer = await client.request(method, path, json=body, headers=headers)
    after = dump(world.control)
    if before["sessions"] != after["sessions"]:
        await world.end()  # one of them may have been its own
    place = f"{role}: {method} {path}"
    found = []
    if answer.status_code not in allowed[role]:
        found.append(f"{place}: {answer.status_code}, not {sorted(allowed[role])}: {answer.text}")
    if role != "auditor":
        told = "" if answer.request.content is None else answer.request.content.decode()
        found += [f"{place}: {leak}" for leak in leaks(world.blue, answer, path + told)]
    if route in AUDITED:
        before, after = _without(before, LOG), _without(after, LOG)
    if expected.own:
        before, after = _theirs(before, world.blue), _theirs(after, world.blue)
    found += [f"{place}: changed {table}" for table in before if before[table] != after[table]]
    return found


def _request(
    world: World, route: str, expected: Expected, model: str
) -> tuple[str, str, object, dict[str, str]]:
    method, _, template = route.partition(" ")
    known = ids(world.blue, model)

    def fill(text: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda match: known[match[1]], text)

    body = expected.body
    if body is not None:
        body = json.loads(re.sub(r"\{(\w+)\}", lambda m: known[m[1]], json.dumps(body)))
    query = f"?{fill(expected.query)}" if expected.query else ""
    return method, f"{API}{fill(template)}{query}", body, dict(expected.headers)


def leaks(tenant: Tenant, answer: httpx.Response, said: str) -> list[str]:
    """What of the tenant is in the answer, besides what the request itself said."""
    secrets = {
        tenant.marker, tenant.private, tenant.application, tenant.key, tenant.token,
        tenant.session, tenant.upload, tenant.webhook, tenant.owner, tenant.caller,
    }  # fmt: skip
    shown = answer.text + repr(answer.headers.raw)
    return [f"leaks {secret}" for secret in secrets if secret not in said and secret in shown]


def dump(control: Control) -> Dump:
    """Every row of every table, past SQLAlchemy: it is read a thousand times."""
    with control.services.database.read() as connection:
        cursor = connection.connection.cursor()
        cursor.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        tables = [name for (name,) in cursor.fetchall() if not name.startswith(OWN_PACE)]
        return {table: _rows(cursor, table) for table in tables}


def _rows(cursor: DBAPICursor, table: str) -> frozenset[tuple[object, ...]]:
    cursor.execute(f'SELECT * FROM "{table}"')
    return frozenset(cursor.fetchall())


def _without(found: Dump, tables: frozenset[str]) -> Dump:
    return {table: rows for table, rows in found.items() if table not in tables}


def _theirs(found: Dump, tenant: Tenant) -> Dump:
    """The rows that are about the tenant."""
    return {
        table: frozenset(row for row in rows if _is_about(repr(row), tenant))
        for table, rows in found.items()
    }


def _is_about(row: str, tenant: Tenant) -> bool:
    return f"'{tenant.name}-" in row or tenant.marker in row
