"""Who a token is at the gateway, and how long that is remembered."""

import asyncio
from typing import Any

import pytest

from policies import jwt
from policies.api_key import ApiKeyPolicy
from policies.base import Call, Identity
from policies.identify import IdentifyPolicy
from policies.jwt.jwks import JwksCache, JwksTimes
from policies.jwt.policy import JwtPolicy
from policies.jwt.refusals import Reason, TokenError
from protocol.errors import Code, TollwayError
from tests.fixtures.issuers import NOW, claims, jwk, key_set, private_key, token
from tests.policies.jwt.conftest import Clock, Endpoint, document

EC = private_key("P-256")


@pytest.fixture
async def policy(cache: JwksCache, endpoint: Endpoint, now: Clock, monotonic: Clock) -> JwtPolicy:
    endpoint.body = key_set(jwk(EC, "k1"))
    built = JwtPolicy(cache, now, monotonic)
    built.put(document())
    return built


def signed(payload: dict[str, Any] | None = None, **more: Any) -> bytes:
    return token(payload, algorithm="ES256", key=EC, **more)


async def identity(policy: JwtPolicy, credential: bytes) -> Identity:
    call = Call(model="iris", credential=credential)
    waiting = policy.check(call)
    if waiting is not None:
        await waiting
    assert call.identity is not None
    return call.identity


async def test_a_token_is_its_application_under_a_name_that_is_no_secret(
    policy: JwtPolicy,
) -> None:
    found = await identity(policy, signed())
    assert found == Identity(key="jwt-login", application="shop", expires_at=NOW + 630)
    assert found.role is None


async def test_a_token_of_a_manager_manages_nothing_at_the_gateway(policy: JwtPolicy) -> None:
    policy.put(document(role_claim="groups", roles={"admins": "admin"}))
    found = await identity(policy, signed(claims(groups=["admins"])))
    assert found.role is None
    assert not found.manages("iris")


async def test_only_the_first_token_waits_and_only_for_its_keys(
    policy: JwtPolicy, endpoint: Endpoint
) -> None:
    call = Call(model="iris", credential=signed())
    waiting = policy.check(call)
    assert waiting is not None
    await waiting
    for credential in (signed(), signed(claims(sub="u2"))):
        assert policy.check(Call(model="iris", credential=credential)) is None
    assert len(endpoint.asked) == 1


@pytest.mark.parametrize(
    ("changes", "says", "application"),
    [
        ({}, {}, "shop"),
        ({"application_claim": "client.id"}, {"client": {"id": "mobile"}}, "mobile"),
        ({"application_claim": "https://x.y/app"}, {"https://x.y/app": "mobile"}, "mobile"),
        ({"application_claim": "azp"}, {"azp": ["mobile"]}, "mobile"),
        ({"applications": {"c-1": "mobile"}}, {"azp": "c-1"}, "mobile"),
        (
            {"application_claim": "groups", "applications": {"g2": "mobile"}},
            {"groups": ["g1", "g2", 3]},
            "mobile",
        ),
        ({"applications": {"c-1": "mobile"}}, {"azp": "mobile"}, None),
        ({"applications": {"c-1": "mobile"}}, {"azp": "c-2"}, None),
        ({}, {"azp": ...}, None),
        ({}, {"azp": ""}, None),
        ({}, {"azp": "Not A Name"}, None),
        ({}, {"azp": "shop\n"}, None),
        ({}, {"azp": 7}, None),
        ({}, {"azp": {"shop": 1}}, None),
        ({}, {"azp": ["shop", "mobile"]}, None),
        ({"application_claim": "azp.x"}, {}, None),
        ({"application_claim": "a.b.c"}, {"a": {"b": []}}, None),
    ],
)
async def test_a_claim_says_which_application_calls(
    policy: JwtPolicy, changes: dict[str, Any], says: dict[str, Any], application: str | None
) -> None:
    policy.put(document(**changes))
    credential = signed(claims(**says))
    if application is not None:
        assert (await identity(policy, credential)).application == application
        return
    with pytest.raises(TollwayError) as caught:
        await identity(policy, credential)
    assert caught.value.code is Code.FORBIDDEN
    assert policy.remembered == 0


@pytest.mark.parametrize(
    ("changes", "says", "scopes"),
    [
        ({}, {"scope": "predict"}, None),
        ({"scope_claim": "scope"}, {"scope": "openid predict explain"}, {"predict", "explain"}),
        ({"scope_claim": "scope"}, {"scope": ["predict", "email"]}, {"predict"}),
        ({"scope_claim": "scope"}, {"scope": "admin"}, set()),
        ({"scope_claim": "scope"}, {}, set()),
        ({"scope_claim": "scope"}, {"scope": None}, set()),
        ({"scope_claim": "scope"}, {"scope": {"predict": True}}, set()),
        ({"scope_claim": "scp", "scopes": {"m.p": "predict"}}, {"scp": "m.p x"}, {"predict"}),
        ({"scope_claim": "scp", "scopes": {"m.p": "predict"}}, {"scp": "predict"}, set()),
    ],
)
async def test_a_token_may_do_what_its_scopes_say(
    policy: JwtPolicy, changes: dict[str, Any], says: dict[str, Any], scopes: set[str] | None
) -> None:
    policy.put(document(**changes))
    assert (await identity(policy, signed(claims(**says)))).scopes == scopes


async def test_a_verified_token_is_forgotten_when_its_issuer_changes(policy: JwtPolicy) -> None:
    good = signed()
    await identity(policy, good)
    policy.put(document(audiences=("other",)))
    with pytest.raises(TokenError):
        await identity(policy, good)
    policy.put(document())
    await identity(policy, good)
    policy.remove("login")
    with pytest.raises(TokenError):
        await identity(policy, good)


async def test_a_verified_token_is_forgotten_when_its_key_is_withdrawn(
    policy: JwtPolicy, cache: JwksCache, endpoint: Endpoint, monotonic: Clock
) -> None:
    good = signed()
    await identity(policy, good)
    endpoint.body = key_set(jwk(private_key("P-256", 2), "k2"))
    monotonic.at += JwksTimes().refresh_s
    cache.tick()
    for _ in range(5):
        await asyncio.sleep(0)
    assert await identity(policy, good)
    monotonic.at += JwksTimes().withdrawn_s
    cache.tick()
    assert policy.remembered == 0
    with pytest.raises(TokenError):
        await identity(policy, good)


async def test_a_verified_token_is_taken_until_it_expires(policy: JwtPolicy, now: Clock) -> None:
    good = signed()
    await identity(policy, good)
    now.at = NOW + 629.9
    assert policy.check(Call(model="iris", credential=good)) is None
    now.at = NOW + 630
    with pytest.raises(TokenError, match="has expired"):
        await identity(policy, good)
    assert policy.remembered == 0
    assert policy.refusals[Reason.EXPIRED] == 1


async def test_what_is_remembered_is_bounded_in_number_and_size(
    policy: JwtPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwt.policy, "CACHED_TOKENS", 5)
    tokens = [signed(claims(sub=f"u{n}")) for n in range(8)]
    for credential in tokens:
        await identity(policy, credential)
    assert policy.remembered == 5
    monkeypatch.setattr(jwt.policy, "CACHED_BYTES", 2 * len(tokens[0]))
    await identity(policy, signed(claims(sub="u9")))
    assert policy.remembered == 2


async def test_reading_the_configuration_anew_keeps_the_keys(
    policy: JwtPolicy, cache: JwksCache, endpoint: Endpoint
) -> None:
    await identity(policy, signed())
    endpoint.fails = True
    policy.clear()
    with pytest.raises(TokenError):
        await identity(policy, signed())
    policy.put(document())
    cache.tick()
    assert await identity(policy, signed())
    policy.clear()
    cache.tick()
    assert cache.fetches == {}


async def test_calls_that_wait_are_bounded(
    policy: JwtPolicy, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwt.policy, "WAITING_CALLS", 3)
    gate = asyncio.Event()
    endpoint.gate = gate.wait
    waiting = [policy.check(Call(model="iris", credential=signed())) for _ in range(3)]
    with pytest.raises(TokenError):
        policy.check(Call(model="iris", credential=signed()))
    gate.set()
    for one in waiting:
        assert one is not None
        await one
    assert policy.check(Call(model="iris", credential=signed())) is None


async def test_refusals_are_counted_by_reason(policy: JwtPolicy) -> None:
    await identity(policy, signed())
    for credential in (b"a.b.c", signed(kid="x"), signed(claims(aud="x")), signed(claims(aud="x"))):
        with pytest.raises(TokenError):
            await identity(policy, credential)
    counted = {reason: count for reason, count in policy.refusals.items() if count}
    assert counted == {Reason.MALFORMED: 1, Reason.KEY: 1, Reason.AUDIENCE: 2}


@pytest.mark.parametrize("fails", [True, False])
async def test_a_key_that_may_be_new_is_told_from_one_that_is_not_shown(
    policy: JwtPolicy, endpoint: Endpoint, fails: bool
) -> None:
    await identity(policy, signed())
    endpoint.fails = fails
    with pytest.raises(TokenError) as refused:
        await identity(policy, signed(kid="new"))
    assert refused.value.code is Code.UNAUTHENTICATED
    assert refused.value.reason is (Reason.KEYS_AWAY if fails else Reason.KEY)
    assert ("cannot be fetched at present: try again soon" in refused.value.public) is fails
    assert await identity(policy, signed())  # by the key that was known before


@pytest.mark.parametrize("parts", [1, 2, 4])
async def test_a_token_of_too_few_or_many_parts_is_not_taken_for_a_key(
    policy: JwtPolicy, parts: int
) -> None:
    identify = IdentifyPolicy(ApiKeyPolicy(b"pepper", lambda: NOW), policy)
    credential = b".".join((signed() + b".more").split(b".")[:parts])
    with pytest.raises(TokenError, match="three parts"):
        identify.check(Call(model="iris", credential=credential))
    assert policy.refusals[Reason.MALFORMED] == 1
