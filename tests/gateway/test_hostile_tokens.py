"""Tokens that an attacker would send, through a running gateway and both of its lanes.

Each is answered 401, none makes the gateway ask its issuer more than it should, and a good token
works afterwards.
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import uvicorn
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.app import Gateway, GatewaySecrets
from gateway.settings import GatewaySettings
from protocol.configuration import IssuerDoc
from runtime.server import serve_until
from tests.fixtures.issuers import (
    ISS,
    NOW,
    b64,
    claims,
    compact,
    hmac_token,
    jwk,
    key_set,
    private_key,
    signature,
    token,
)
from tests.fixtures.jwks_server import Behaviour, JwksServer
from tests.gateway.conftest import until
from tests.gateway.documents import World, worker
from tests.gateway.fake_engine import FakeEngine

INFER = "/v2/models/iris/infer"
ATTACKER = private_key("rsa", 66)
RSA, EC = private_key("rsa"), private_key("P-256")
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


def unsigned(**header: Any) -> bytes:
    head = json.dumps({"alg": "none"} | header).encode()
    return compact(head, json.dumps(claims()).encode(), lambda _: b"")


def public_pem() -> bytes:
    return RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def raw(header: bytes, payload: bytes) -> bytes:
    """These very texts, with a good signature over them."""
    return compact(header, payload, lambda message: signature(RSA, "RS256", message))


def resigned(good: bytes, signed: bytes) -> bytes:
    return good.rpartition(b".")[0] + b"." + b64(signed).encode()


def ecdsa(kind: str) -> bytes:
    good = token(algorithm="ES256", kid="e1")
    message = good.rpartition(b".")[0]
    assert isinstance(EC, ec.EllipticCurvePrivateKey)
    forged = {
        "zero": b"\0" * 64,
        "der": EC.sign(message, ec.ECDSA(hashes.SHA256())),
        "der of zero": b"\x30\x06\x02\x01\0\x02\x01\0",
    }
    return resigned(good, forged[kind])


GOOD_HEADER = b'{"alg": "RS256", "kid": "k1"}'
GOOD_PAYLOAD = json.dumps(claims()).encode()
FORGED: dict[str, Callable[[], bytes]] = {
    "alg none": unsigned,
    "alg none with a signature": lambda: unsigned(kid="k1") + token().rpartition(b".")[2],
    "alg None": lambda: unsigned(alg="None") + b"AA",
    "HMAC with the public key": lambda: hmac_token(public_pem()),
    "HMAC with a key of the set": lambda: hmac_token(b"secret", kid="oct"),
    "algorithm not listed": lambda: token(algorithm="PS256", key=private_key("rsa", 4), kid="ps"),
    "another hash": lambda: token(algorithm="RS512"),
    "embedded key": lambda: token(key=ATTACKER, header={"jwk": jwk(ATTACKER, "k1")}),
    "embedded certificate": lambda: token(key=ATTACKER, header={"x5c": ["MIIB"]}),
    "certificate elsewhere": lambda: token(header={"x5u": "https://evil.example"}),
    "unknown crit": lambda: token(header={"crit": ["x"], "x": 1}),
    "empty crit": lambda: token(header={"crit": []}),
    "no exp": lambda: token(claims(exp=...)),
    "exp in words": lambda: token(claims(exp="tomorrow")),
    "exp true": lambda: token(claims(exp=True)),
    "exp in the past": lambda: token(claims(exp=NOW - 31)),
    "exp at the end of time": lambda: token(claims(exp=2**62)),
    "exp in a century": lambda: token(claims(exp=NOW + 3_000_000_000)),
    "exp negative": lambda: token(claims(exp=-NOW)),
    "exp infinite": lambda: raw(GOOD_HEADER, GOOD_PAYLOAD.replace(b"1790000600", b"1e999")),
    "exp of many digits": lambda: token(claims(exp=10**400)),
    "exp not a number": lambda: raw(GOOD_HEADER, GOOD_PAYLOAD.replace(b"1790000600", b"NaN")),
    "nbf in the future": lambda: token(claims(nbf=NOW + 31)),
    "nbf in words": lambda: token(claims(nbf="now")),
    "iat in the future": lambda: token(claims(iat=NOW + 31)),
    "no aud": lambda: token(claims(aud=...)),
    "another aud": lambda: token(claims(aud=["other"])),
    "aud an object": lambda: token(claims(aud={"tollway": True})),
    "no iss": lambda: token(claims(iss=...)),
    "another iss": lambda: token(claims(iss="https://evil.example")),
    "iss a list": lambda: token(claims(iss=[ISS])),
    "duplicate alg": lambda: raw(b'{"alg":"none","alg":"RS256","kid":"k1"}', GOOD_PAYLOAD),
    "duplicate claim": lambda: raw(GOOD_HEADER, b'{"exp": 1,' + GOOD_PAYLOAD[1:]),
    "header a list": lambda: raw(b'["RS256"]', GOOD_PAYLOAD),
    "payload no JSON": lambda: raw(GOOD_HEADER, b"exp=1"),
    "payload not UTF-8": lambda: raw(GOOD_HEADER, GOOD_PAYLOAD[:-1] + b',"x":"\xff"}'),
    "payload too deep": lambda: raw(GOOD_HEADER, b'{"a":' * 1000 + b"1" + b"}" * 1000),
    "padding": lambda: token() + b"==",
    "base64 of another alphabet": lambda: token().replace(b"_", b"/").replace(b"-", b"+") + b"+",
    "characters between": lambda: token().replace(b".", b"!.", 1),
    "impossible length": lambda: token().rpartition(b".")[0] + b".A",
    "empty signature": lambda: token().rpartition(b".")[0] + b".",
    "too long": lambda: token(claims(x="x" * 9000)),
    "two dots": lambda: b"..",
    "signature cut": lambda: token()[:-8],
    "signature of another token": lambda: resigned(
        token(), signature(RSA, "RS256", token(claims(sub="u2")).rpartition(b".")[0])
    ),
    "signature by another key": lambda: token(key=ATTACKER),
    "signature of zeros": lambda: resigned(token(), b"\0" * 256),
    "ECDSA zero": lambda: ecdsa("zero"),
    "ECDSA in DER": lambda: ecdsa("der"),
    "ECDSA zero in DER": lambda: ecdsa("der of zero"),
    "RSA key too small": lambda: token(key=private_key("small"), kid="small"),
    "key of another curve": lambda: token(
        algorithm="ES384", kid="e384", header={"alg": "ES256"}
    ),
    "key of another type": lambda: token(kid="e1"),
    "ECDSA for an RSA key": lambda: token(algorithm="ES256", kid="k1"),
    "key for encryption": lambda: token(key=private_key("rsa", 3), kid="enc"),
    "key for another algorithm": lambda: token(key=private_key("rsa", 4), kid="ps"),
    "unknown kid": lambda: token(kid="unknown"),
    "kid a path": lambda: token(kid="../../../etc/passwd"),
    "kid a number": lambda: token(header={"kid": 1}),
    "no kid and two keys": lambda: token(kid=None, key=private_key("rsa", 3)),
    "a logout token": lambda: token(header={"typ": "logout+jwt"}),
}  # fmt: skip


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
