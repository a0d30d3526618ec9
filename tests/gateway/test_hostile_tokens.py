"""Tokens that an attacker would send, through a running gateway and both of its lanes.

Each is answered 401, none makes the gateway ask its issuer more than it should, and a good token
works afterwards.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import uvicorn

from gateway.app import Gateway, GatewaySecrets
from gateway.settings import GatewaySettings
from protocol.configuration import IssuerDoc
from runtime.server import serve_until
from tests.fixtures.issuers import (
    ISS,
    NOW,
    b64,
    claims,
    jwk,
    key_set,
    private_key,
    token,
)
from tests.fixtures.jwks_server import Behaviour, JwksServer
from tests.gateway.conftest import until
from tests.gateway.documents import World, worker
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.forged import ATTACKER, EC, FORGED, RSA

INFER = "/v2/models/iris/infer"
KEYS = (
    jwk(RSA, "k1"),
    jwk(EC, "e1"),
    jwk(private_key("small"), "small"),
    jwk(private_key("P-384"), "e384"),
    jwk(private_key("rsa", 3), "enc", use="enc"),
    jwk(private_key("rsa", 4), "ps", alg="PS256"),
    {"kty": "oct", "k": b64(b"secret"), "kid": "oct"},
)


def issuer(server: JwksServer, **changes: Any) -> IssuerDoc:
    values: dict[str, Any] = {
        "name": "login",
        "issuer": ISS,
        "audiences": ("tollway",),
        "algorithms": ("RS256", "ES256"),
        "jwks_uri": server.uri,
    }
    return IssuerDoc(**(values | changes))


@pytest.fixture
async def jwks() -> AsyncIterator[JwksServer]:
    async with JwksServer(key_set(*KEYS)).running() as server:
        yield server


@pytest.fixture
async def gateway(
    settings: GatewaySettings, world: World, engine: FakeEngine, jwks: JwksServer
) -> AsyncIterator[Gateway]:
    """At a fixed time, with one issuer, and with no second fetch for unknown keys while it runs."""
    update = {"jwks_timeout_ms": 1500, "jwks_refetch_s": 600.0}
    settings = settings.model_copy(update=update)
    built = Gateway(settings, GatewaySecrets.read(settings), now=lambda: NOW)
    async with built.running():
        document = ("issuer", "login", issuer(jwks))
        built.catalog.apply([*world.changes(), worker((2, engine.path)), document], True)
        built.follower.synchronised.set()
        await until(lambda: built.upstream.is_ready(("iris", 2)) and built.routes.started)
        await until(lambda: bool(built.tokens.keys.keys("login")))
        yield built


@pytest.fixture
async def lanes(gateway: Gateway) -> AsyncIterator[list[httpx.AsyncClient]]:
    """The fast lane behind a socket, and the ASGI lane."""
    stop = asyncio.Event()
    config = uvicorn.Config(
        gateway.application, http=gateway.fast_lane.protocol(), lifespan="off", ws="none",
        log_config=None, timeout_graceful_shutdown=2,
    )  # fmt: skip
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    serving = asyncio.create_task(serve_until(stop, config, [listener]))
    limits = httpx.Limits(max_connections=300)
    async with (
        httpx.AsyncClient(base_url=url, limits=limits, trust_env=False) as fast,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(gateway.application), base_url="http://gateway"
        ) as asgi,
    ):
        yield [fast, asgi]
    stop.set()
    await serving


async def status(client: httpx.AsyncClient, credential: bytes) -> int:
    return (await answer(client, credential)).status_code


async def answer(client: httpx.AsyncClient, credential: bytes) -> httpx.Response:
    headers = {b"authorization": b"Bearer " + credential, b"content-type": b"application/json"}
    return await client.post(INFER, content=b"{}", headers=headers)


async def test_forged_tokens_are_refused_and_a_good_one_works_after_each(
    lanes: list[httpx.AsyncClient], jwks: JwksServer, engine: FakeEngine
) -> None:
    for name, client in zip(("fast", "asgi"), lanes, strict=True):
        taken = len(engine.frames)
        for number, (case, make) in enumerate(FORGED.items()):
            forged = make()
            refused = await answer(client, forged)
            assert refused.status_code == 401, (case, refused.text)
            assert set(refused.json()) == {"error"}
            assert refused.headers["www-authenticate"].startswith("Bearer")
            for segment in forged.decode().split("."):
                assert len(segment) < 4 or segment not in refused.text
            assert len(engine.frames) == taken, case
            # None of the good ones is remembered: each is verified.
            assert await status(client, token(claims(sub=f"{name}-{number}"))) == 200, case
            taken += 1
    assert jwks.requests == 2  # the first, and one for unknown keys


async def test_an_embedded_address_of_keys_is_never_asked(
    lanes: list[httpx.AsyncClient], jwks: JwksServer
) -> None:
    async with JwksServer(key_set(jwk(ATTACKER, "k1"))).running() as evil:
        for client in lanes:
            for name in ("jku", "x5u"):
                forged = token(key=ATTACKER, header={name: evil.uri})
                assert await status(client, forged) == 401
            assert await status(client, token()) == 200
        assert evil.requests == 0
    assert jwks.requests == 1


async def test_a_flood_of_unknown_keys_causes_one_fetch(
    lanes: list[httpx.AsyncClient], jwks: JwksServer
) -> None:
    for client in lanes:
        assert await status(client, token()) == 200
        floods = [status(client, token(kid=f"x{n}")) for n in range(100)]
        assert set(await asyncio.gather(*floods)) == {401}
        assert await status(client, token()) == 200
    assert jwks.requests == 2


BAD_ENDPOINTS: tuple[Behaviour, ...] = (
    "hangs", "drips", "errs", "redirects", "resets", "floods", "compresses", "cuts",
)  # fmt: skip


@pytest.mark.parametrize("behaviour", BAD_ENDPOINTS)
async def test_an_endpoint_that_misbehaves_delays_nobody_whose_key_is_known(
    lanes: list[httpx.AsyncClient], jwks: JwksServer, behaviour: Behaviour
) -> None:
    fast, asgi = lanes
    assert await status(fast, token()) == 200
    jwks.behaviour = behaviour
    unknown = [
        asyncio.create_task(status(client, token(kid=f"x{n}")))
        for client in lanes
        for n in range(9)
    ]
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        for n in range(5):  # others of the same key, so that none is remembered
            assert await status(fast, token(claims(sub=f"f{n}"))) == 200
            assert await status(asgi, token(claims(sub=f"a{n}"))) == 200
        assert set(await asyncio.gather(*unknown)) == {401}
    assert jwks.requests == 2
    await until(lambda: jwks.open == 0)


@pytest.mark.parametrize("behaviour", BAD_ENDPOINTS)
async def test_a_token_is_refused_while_its_issuers_keys_cannot_be_had(
    gateway: Gateway, lanes: list[httpx.AsyncClient], behaviour: Behaviour
) -> None:
    async with JwksServer(key_set(*KEYS)).running() as other:
        other.behaviour = behaviour
        document = issuer(other, name="other", issuer="https://other.example")
        gateway.catalog.apply([("issuer", "other", document)], False)
        mine = token(claims(iss="https://other.example"))
        async with asyncio.timeout(10):
            floods = [status(client, mine) for client in lanes for _ in range(20)]
            assert set(await asyncio.gather(*floods)) == {401}
        assert other.requests == 1
        assert await status(lanes[0], token()) == 200
        await until(lambda: other.open == 0)


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"keys": []}', key_set(KEYS[2], KEYS[6])])
async def test_a_set_that_shrinks_to_nothing_takes_no_key_away(
    lanes: list[httpx.AsyncClient], jwks: JwksServer, body: bytes
) -> None:
    assert await status(lanes[0], token()) == 200
    jwks.body = body
    for client in lanes:
        assert await status(client, token(kid="unknown")) == 401
        assert await status(client, token(claims(sub="another"))) == 200
    assert jwks.requests == 2


@contextlib.asynccontextmanager
async def another_gateway(
    settings: GatewaySettings, world: World, engine: FakeEngine, jwks: JwksServer, **changes: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway with other settings; one that ran before has left its disk copy."""
    settings = settings.model_copy(update=changes)
    built = Gateway(settings, GatewaySecrets.read(settings), now=lambda: NOW)
    transport = httpx.ASGITransport(built.application)
    async with (
        built.running(),
        httpx.AsyncClient(transport=transport, base_url="http://gateway") as client,
    ):
        document = ("issuer", "login", issuer(jwks))
        built.catalog.apply([*world.changes(), worker((2, engine.path)), document], True)
        await until(lambda: built.upstream.is_ready(("iris", 2)))
        yield client


async def test_a_key_that_was_withdrawn_is_taken_no_more(
    settings: GatewaySettings, world: World, engine: FakeEngine, jwks: JwksServer
) -> None:
    """Also for a token that was verified before."""
    new = private_key("rsa", 5)
    async with another_gateway(
        settings, world, engine, jwks, jwks_withdrawn_s=0.0, jwks_refetch_s=0.1
    ) as client:
        assert await status(client, token()) == 200
        jwks.body = key_set(jwk(new, "k2"))
        assert await status(client, token(key=new, kid="k2")) == 200
        assert await status(client, token()) == 401


async def test_a_gateway_that_starts_while_the_issuer_is_away_knows_its_keys(
    settings: GatewaySettings, world: World, engine: FakeEngine, jwks: JwksServer
) -> None:
    async with another_gateway(settings, world, engine, jwks) as client:
        assert await status(client, token()) == 200
    jwks.behaviour = "errs"
    async with another_gateway(settings, world, engine, jwks) as client:
        assert await status(client, token()) == 200
        assert await status(client, token(key=ATTACKER)) == 401


async def test_a_rotation_works_at_once(lanes: list[httpx.AsyncClient], jwks: JwksServer) -> None:
    new = private_key("rsa", 5)
    for client in lanes:
        assert await status(client, token()) == 200
    jwks.body = key_set(*KEYS, jwk(new, "k2"))
    for client in lanes:
        assert await status(client, token(key=new, kid="k2")) == 200
        assert await status(client, token()) == 200
    assert jwks.requests == 2


async def test_a_client_that_cannot_wait_for_keys_is_told_in_time(
    gateway: Gateway, lanes: list[httpx.AsyncClient]
) -> None:
    async with JwksServer().running() as slow:
        slow.behaviour = "hangs"
        document = issuer(slow, name="slow", issuer="https://slow.example")
        gateway.catalog.apply([("issuer", "slow", document)], False)
        mine = token(claims(iss="https://slow.example"))
        headers = {b"authorization": b"Bearer " + mine, b"tollway-deadline-ms": b"50"}
        for client in lanes[:1]:
            response = await client.post(INFER, content=b"{}", headers=headers)
            assert response.status_code == 504, response.text


async def test_a_client_that_goes_away_while_keys_are_fetched_harms_nobody(
    gateway: Gateway, lanes: list[httpx.AsyncClient]
) -> None:
    async with JwksServer(key_set(*KEYS)).running() as slow:
        slow.behaviour = "hangs"
        document = issuer(slow, name="slow", issuer="https://slow.example")
        gateway.catalog.apply([("issuer", "slow", document)], False)
        mine = token(claims(iss="https://slow.example"))
        for client in lanes:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await status(client, mine)
        await until(lambda: slow.open == 0)
        assert await status(lanes[0], token()) == 200
