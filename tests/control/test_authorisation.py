"""No route answers without a credential, except the few that are listed; roles are checked."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts

from control.middleware import OPEN, UNGUARDED, is_open, require, without_credential
from control.portal.middleware import is_portal
from control.reach import EVERYTHING
from control.resources import KeyRequest
from control.routes_flat import FlatRoute
from protocol import keys
from registry.access import EVERYONE
from tests.control.running import Control, connect


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """Who may do what does not depend on the database."""
    return f"sqlite:///{tmp_path / 'tollway.db'}"


PARAMETERS = {"digest": "sha256:" + "0" * 64, "number": "1", "version": "1"}


def routes(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Every (method, path) of the application, parameters filled in."""
    for context in iter_route_contexts(app.routes):
        path = context.path
        assert path is not None, context
        filled = re.sub(r"\{(\w+)(:\w+)?\}", lambda m: PARAMETERS.get(m[1], "x"), path)
        for method in sorted(context.methods or ()):
            yield method, filled


def guarded(app: FastAPI) -> list[tuple[str, str]]:
    """All but the portal's, which lead to a login: ``tests/control/portal/test_session.py``."""
    return [
        (method, path)
        for method, path in routes(app)
        if not is_open(method, path) and not is_portal(path) and path != "/"
    ]


def test_the_list_of_open_paths_is_this_one() -> None:
    assert {"/healthz", "/readyz", "/metrics", "/api/v1/openapi.json"} == UNGUARDED
    assert {("POST", "/api/v1/sessions"), ("POST", "/api/v1/signup")} == OPEN
    assert is_open("GET", "/api/v1/oidc/corp/login")
    assert is_open("GET", "/api/v1/oidc/corp/callback")
    for method, path in (
        ("POST", "/api/v1/oidc/corp/login"),
        ("GET", "/api/v1/oidc/corp/login/more"),
        ("GET", "/api/v1/sessions"),
        ("GET", "/api/v1/oidc/a/b/login"),
    ):
        assert not is_open(method, path)


async def test_every_route_refuses_a_request_without_a_credential(control: Control) -> None:
    found = guarded(control.app)
    assert len(found) > 40

    for method, path in found:
        answer = await control.anonymous.request(method, path)

        assert answer.status_code == 401, (method, path)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        if method != "HEAD":
            assert answer.json()["code"] == "unauthenticated"


@pytest.mark.parametrize(
    "credential",
    [
        "nonsense",
        "tw_admin_0000000000000000000000000000",
        keys.generate("admin"),
        keys.generate("live"),
        "",
        "tw_admin_" + "é" * 28,
    ],
    # The secrets are random: their names must be the same in every process of a parallel run.
    ids=["no-shape", "bad-checksum", "unknown-token", "unknown-key", "empty", "not-ascii"],
)
async def test_every_route_refuses_a_credential_that_is_not_known(
    control: Control, credential: str
) -> None:
    headers = {b"Authorization": b"Bearer " + credential.encode()}
    for method, path in guarded(control.app):
        answer = await control.anonymous.request(method, path, headers=headers)

        assert answer.status_code == 401, (method, path)


async def test_the_open_paths_answer_without_a_credential(control: Control) -> None:
    for path in UNGUARDED:
        assert (await control.anonymous.get(path)).status_code == 200


async def test_internal_routes_take_the_cluster_token_alone(control: Control) -> None:
    for method, path in guarded(control.app):
        if path.startswith("/internal/"):
            assert (await control.admin.request(method, path)).status_code == 401
        else:
            assert (await control.cluster.request(method, path)).status_code == 401


async def test_an_api_key_of_an_application_is_no_management_token(control: Control) -> None:
    await control.admin.put("/api/v1/applications/shop")
    key = control.services.keys.create(
        KeyRequest(application="shop"), created_by="admin", reach=EVERYTHING
    )
    async with connect(control.app, key.secret) as client:
        assert (await client.get("/api/v1/plans")).status_code == 401


async def token(control: Control, role: str) -> httpx.AsyncClient:
    secret = keys.generate("user")
    pepper = control.settings.key_pepper_path.read_bytes().strip()
    hash = keys.secret_hash(secret.encode(), pepper)
    control.services.tokens.put(f"user-{role}", hash, role, f"{role}@example.org")  # type: ignore[arg-type]
    return connect(control.app, secret)


def test_every_management_route_says_which_roles_it_allows(control: Control) -> None:
    for context in iter_route_contexts(control.app.routes):
        path = context.path or ""
        if path.startswith("/api/") and path not in UNGUARDED:
            assert isinstance(context.original_route, FlatRoute)
            (method,) = context.methods or ()
            original = context.original_route.original_route
            assert isinstance(original, APIRoute)
            found = list(_dependencies(original))
            if is_open(method, path):
                assert without_credential in found, path
            else:
                assert any(_is_role_check(one) for one in found), path


def _dependencies(route: APIRoute) -> Iterator[object]:
    waiting = [route.dependant]
    while waiting:
        one = waiting.pop()
        waiting += one.dependencies
        yield one.call


def _is_role_check(call: object) -> bool:
    return getattr(call, "__qualname__", "").startswith(f"{require.__qualname__}.")


async def test_a_role_decides_what_may_be_done(control: Control) -> None:
    async with await token(control, "auditor") as auditor:
        assert (await auditor.get("/api/v1/keys")).status_code == 200
        refused = await auditor.put("/api/v1/consumers/acme")
    async with await token(control, "publisher") as publisher:
        assert (await publisher.put("/api/v1/consumers/acme")).status_code == 201
        assert (await publisher.get("/api/v1/changes")).status_code == 403
    async with await token(control, "consumer") as consumer:
        assert (await consumer.get("/api/v1/plans")).status_code == 200
        assert (await consumer.get("/api/v1/keys")).json()["items"] == []

    assert refused.status_code == 403
    assert refused.json()["code"] == "forbidden"
    assert "auditor" in refused.json()["detail"]


async def test_an_expired_token_is_refused(control: Control) -> None:
    secret = keys.generate("user")
    pepper = control.settings.key_pepper_path.read_bytes().strip()
    hash = keys.secret_hash(secret.encode(), pepper)
    control.services.tokens.put("u1", hash, "admin", "u", control.clock.now_ms + 1000)
    async with connect(control.app, secret) as client:
        assert (await client.get("/api/v1/plans")).status_code == 200
        control.clock.advance(1)
        assert (await client.get("/api/v1/plans")).status_code == 401


async def test_a_token_with_a_role_that_is_unknown_may_do_nothing(control: Control) -> None:
    async with await token(control, "emperor") as client:
        assert (await client.get("/api/v1/plans")).status_code == 401


def test_every_role_of_the_contract_exists() -> None:
    assert EVERYONE == ("admin", "publisher", "sponsor", "consumer", "auditor")
