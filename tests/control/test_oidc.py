"""Tokens of issuers on the management API, and logins through a provider, over real HTTP."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from sqlalchemy.exc import OperationalError

from control.identity.issuer_tokens import IssuerTokens
from control.settings import ControlSettings
from protocol.configuration import IssuerDoc
from tests.control.accounts import audited, make, works
from tests.control.running import START_MS, Control, connect
from tests.fixtures.issuers import token
from tests.fixtures.oidc_provider import CLIENT_ID, CLIENT_SECRET, OidcProvider

LOGIN = "/api/v1/oidc/corp/login"
CALLBACK = "/api/v1/oidc/corp/callback"


@pytest.fixture
def database_url(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """SQLite, but for the tests that ask for PostgreSQL."""
    if "on_postgresql" in request.fixturenames:
        url: str = request.getfixturevalue("postgres_url")
        return url
    return f"sqlite:///{tmp_path / 'tollway.db'}"


@pytest.fixture
def on_postgresql() -> None:
    """Marks a test that runs on PostgreSQL."""


@pytest.fixture
def provider() -> Iterator[OidcProvider]:
    with OidcProvider(START_MS // 1000).running() as running:
        yield running


@pytest.fixture
def settings(settings: ControlSettings, tmp_path: Path) -> ControlSettings:
    secret = tmp_path / "client.secret"
    secret.write_text(CLIENT_SECRET + "\n")
    return settings.model_copy(
        update={
            "public_url": "https://models.example.org",
            "oidc_client_ids": {"corp": CLIENT_ID},
            "oidc_client_secret_files": {"corp": secret},
        }
    )


@pytest.fixture
async def corp(control: Control, provider: OidcProvider) -> OidcProvider:
    """The provider, configured as the issuer ``corp``."""
    body = {
        "issuer": provider.issuer,
        "audiences": [CLIENT_ID],
        "algorithms": ["RS256"],
        "jwks_uri": f"{provider.issuer}/keys",
        "role_claim": "groups",
        "roles": {"model-makers": "publisher", "operators": "admin", "callers": "consumer"},
    }
    made = await control.admin.put("/api/v1/issuers/corp", json=body)
    assert made.status_code == 201, made.text
    return provider


def bearer(control: Control, corp: OidcProvider, **claims: Any) -> httpx.AsyncClient:
    signed = token(corp.claims(**claims), key=corp.key).decode()
    return connect(control.app, signed)


async def begin(control: Control) -> httpx.Response:
    answer = await control.anonymous.get(LOGIN)
    assert answer.status_code == 302, answer.text
    return answer


async def finish(control: Control, query: dict[str, str]) -> httpx.Response:
    return await control.anonymous.get(CALLBACK, params=query)


def send_cookie(control: Control, answer: httpx.Response) -> None:
    """What a browser does; httpx keeps a Secure cookie from an http address."""
    name, _, rest = answer.headers["set-cookie"].partition("=")
    control.anonymous.headers["Cookie"] = f"{name}={rest.partition(';')[0]}"


async def log_in(control: Control, corp: OidcProvider) -> httpx.Response:
    answer = await begin(control)
    send_cookie(control, answer)
    return await finish(control, corp.log_in(answer.headers["location"]))


async def test_a_token_with_a_mapped_role_acts_under_its_issuer_and_subject(
    control: Control, corp: OidcProvider
) -> None:
    async with bearer(control, corp) as client:
        me = (await client.get("/api/v1/users/me")).json()
        assert (me["name"], me["role"], me["credential"]) == ("corp:u-1", "publisher", "jwt")
        assert (me["consumer"], me["models"]) == (None, [])
        assert (await client.put("/api/v1/models/risk")).status_code == 201
        assert (await client.get("/api/v1/users/me")).json()["models"] == ["risk"]
        assert (await client.post("/api/v1/tokens", json={})).status_code == 403
    (entry,) = audited(control, "model.created")
    assert (entry["actor"], entry["role"]) == ("corp:u-1", "publisher")
    async with bearer(control, corp, sub="u-2") as other:
        assert (await other.get("/api/v1/models/risk")).status_code == 404


async def test_a_token_reaches_the_consumer_of_its_application_or_nothing(
    control: Control, corp: OidcProvider
) -> None:
    await control.admin.put("/api/v1/consumers/acme")
    await control.admin.put("/api/v1/applications/shop", json={"consumer": "acme"})
    async with bearer(control, corp, azp="shop") as client:
        assert (await client.get("/api/v1/applications/shop")).status_code == 200
    async with bearer(control, corp) as client:
        assert (await client.get("/api/v1/applications/shop")).status_code == 404
        assert (await client.get("/api/v1/applications")).json()["items"] == []


@pytest.mark.parametrize(
    "claims",
    [{"groups": ["guests"]}, {"groups": ...}, {"aud": "other"}, {"exp": START_MS // 1000 - 60},
     {"iss": "https://elsewhere.example"}, {"sub": ...}],
)  # fmt: skip
async def test_a_token_that_gives_no_role_is_refused(
    control: Control, corp: OidcProvider, claims: dict[str, Any]
) -> None:
    async with bearer(control, corp, **claims) as client:
        answer = await client.get("/api/v1/plans")

    assert answer.status_code == 401
    assert "Bearer" in answer.headers["WWW-Authenticate"]


async def test_an_issuer_that_is_removed_lets_nobody_in(
    control: Control, corp: OidcProvider
) -> None:
    async with bearer(control, corp) as client:
        assert await works(client)
        await control.admin.delete("/api/v1/issuers/corp")
        assert not await works(client)


async def test_the_first_login_makes_a_user_and_the_next_finds_them(
    control: Control, corp: OidcProvider
) -> None:
    first, second = await log_in(control, corp), await log_in(control, corp)

    assert (first.status_code, second.status_code) == (200, 200), first.text
    assert first.headers["Cache-Control"] == "no-store"
    user = (await control.admin.get("/api/v1/users/ann-example")).json()
    assert (user["role"], user["issuer"], user["title"]) == ("publisher", "corp", "Ann Example")
    assert user["has_password"] is False
    assert {first.json()["user"], second.json()["user"]} == {"ann-example"}
    assert len((await control.admin.get("/api/v1/users")).json()["items"]) == 1
    async with connect(control.app, first.json()["secret"]) as session:
        assert (await session.get("/api/v1/users/me")).json()["consumer"] == "ann-example"
    async with bearer(control, corp) as client:
        assert (await client.get("/api/v1/users/me")).json()["name"] == "ann-example"


async def test_a_login_never_takes_over_a_user_of_that_name_or_address(
    control: Control, corp: OidcProvider
) -> None:
    await make(control, "ann-example", role="admin", email="ann@example.org")
    answer = await log_in(control, corp)

    assert answer.json()["user"].startswith("ann-example-")
    assert answer.json()["role"] == "publisher"


@pytest.mark.usefixtures("on_postgresql")
async def test_the_role_follows_the_issuer_at_every_login(
    control: Control, corp: OidcProvider
) -> None:
    first = await log_in(control, corp)
    async with connect(control.app, first.json()["secret"]) as session:
        corp.changes = {"groups": ["operators"]}
        assert (await log_in(control, corp)).json()["role"] == "admin"
        assert not await works(session)
    corp.changes = {"groups": ["callers"]}
    assert (await log_in(control, corp)).json()["role"] == "consumer"
    refused = await control.admin.put("/api/v1/users/ann-example", json={"role": "admin"})
    assert refused.status_code == 409
    corp.changes = {"groups": []}
    assert (await log_in(control, corp)).status_code == 403


async def test_a_disabled_user_comes_in_neither_by_login_nor_by_token(
    control: Control, corp: OidcProvider
) -> None:
    await log_in(control, corp)
    await control.admin.put("/api/v1/users/ann-example", json={"disabled": True})

    assert (await log_in(control, corp)).status_code == 403
    async with bearer(control, corp) as client:
        assert not await works(client)


async def test_the_browser_is_sent_with_state_nonce_and_pkce_and_a_cookie_for_it_alone(
    control: Control, corp: OidcProvider
) -> None:
    answer = await begin(control)
    query = parse_qs(urlsplit(answer.headers["location"]).query)

    assert answer.headers["location"].startswith(f"{corp.issuer}/authorize?")
    assert query["client_id"] == [CLIENT_ID]
    assert query["redirect_uri"] == ["https://models.example.org/api/v1/oidc/corp/callback"]
    assert len(query["state"][0]) == len(query["nonce"][0]) == 43
    cookie = answer.headers["set-cookie"]
    for attribute in ("HttpOnly", "Secure", "SameSite=lax", "Path=/api/v1/oidc"):
        assert attribute in cookie


async def test_a_login_is_good_once_and_in_its_own_browser(
    control: Control, corp: OidcProvider
) -> None:
    answer = await begin(control)
    back = corp.log_in(answer.headers["location"])
    assert (await finish(control, back)).status_code == 401  # without the cookie
    send_cookie(control, await begin(control))
    assert (await finish(control, back)).status_code == 401  # with that of another login
    assert audited(control, "login.failed")
    send_cookie(control, answer)
    assert (await finish(control, back)).status_code == 200  # nobody else has ended it
    assert (await finish(control, back)).status_code == 401


async def test_a_login_ends_after_ten_minutes(control: Control, corp: OidcProvider) -> None:
    answer = await begin(control)
    send_cookie(control, answer)
    back = corp.log_in(answer.headers["location"])
    control.clock.advance(601)

    assert (await finish(control, back)).status_code == 401


@pytest.mark.parametrize(
    "changes",
    [{"nonce": "another"}, {"nonce": ...}, {"aud": ["x", CLIENT_ID], "azp": "x"},
     {"aud": "another"}, {"exp": START_MS // 1000 - 60}, {"sub": ...}],
)  # fmt: skip
async def test_an_id_token_for_another_login_is_refused(
    control: Control, corp: OidcProvider, changes: dict[str, Any]
) -> None:
    corp.changes = changes
    answer = await log_in(control, corp)

    assert answer.status_code in (401, 403)
    assert (await control.admin.get("/api/v1/users")).json()["items"] == []


@pytest.mark.parametrize("spoilt", [{"code": "other"}, {"code": ""}, {"state": "x"}, {"iss": "x"}])
async def test_an_answer_that_is_not_the_providers_is_refused(
    control: Control, corp: OidcProvider, spoilt: dict[str, str]
) -> None:
    answer = await begin(control)
    send_cookie(control, answer)
    back = corp.log_in(answer.headers["location"])

    assert (await finish(control, back | spoilt)).status_code == 401


async def test_a_wrong_client_secret_lets_nobody_in(control: Control, corp: OidcProvider) -> None:
    corp.secret = "another"
    answer = await log_in(control, corp)

    assert answer.status_code == 401
    assert CLIENT_SECRET not in answer.text


@pytest.mark.parametrize(
    "discovery",
    [{"issuer": "https://evil.example"}, {"authorization_endpoint": "http://evil.example/a"},
     {"authorization_endpoint": 1}],
)  # fmt: skip
async def test_a_provider_that_describes_itself_wrongly_is_not_used(
    control: Control, corp: OidcProvider, discovery: dict[str, Any]
) -> None:
    corp.discovery = discovery
    assert (await control.anonymous.get(LOGIN)).status_code == 503


async def test_a_provider_that_errs_is_told_as_such(control: Control, corp: OidcProvider) -> None:
    corp.status = 500
    answer = await control.anonymous.get(LOGIN)

    assert answer.status_code == 503
    assert answer.headers["Retry-After"]


async def test_there_is_no_login_through_an_issuer_that_is_not_set_up(control: Control) -> None:
    assert (await control.anonymous.get("/api/v1/oidc/other/login")).status_code == 404
    assert (await control.anonymous.get("/api/v1/oidc/corp/login")).status_code == 404


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 -- another task's state
            await asyncio.sleep(0.01)


async def test_keys_whose_endpoint_failed_are_here_after_its_return_before_any_token_comes(
    control: Control, corp: OidcProvider
) -> None:
    corp.keys_status, seconds = 503, [100.0]
    issuers = control.services.issuers
    tokens = IssuerTokens(control.settings, issuers, control.clock, monotonic=lambda: seconds[-1])
    running = asyncio.create_task(tokens.run())
    await until(lambda: tokens.keys.failures.get("corp"))

    corp.keys_status = 200
    seconds.append(101.0)
    await until(lambda: tokens.keys.keys("corp"))
    corp.keys_status = 503

    found = await tokens.verified(token(corp.claims(), key=corp.key))
    assert (found.issuer, tokens.keys.fetches["corp"]) == ("corp", 2)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_issuers_that_cannot_be_read_for_a_while_end_nothing(
    control: Control, corp: OidcProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuers = control.services.issuers
    tokens = IssuerTokens(control.settings, issuers, control.clock)
    whole, failures = issuers.documents, [OperationalError("SELECT", None, Exception("away"))]

    def documents() -> list[IssuerDoc]:
        if failures:
            raise failures.pop()
        return whole()

    monkeypatch.setattr("control.identity.issuer_tokens.LEARN_S", 0.01)
    monkeypatch.setattr(issuers, "documents", documents)
    running = asyncio.create_task(tokens.run())
    await until(lambda: tokens.keys.keys("corp"))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
