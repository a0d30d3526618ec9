"""How often keys are fetched, and which of them work, whatever the endpoint does."""

import asyncio
from collections.abc import Callable
from itertools import pairwise

import pytest

from policies.jwt.jwks import JwksCache, JwksTimes
from policies.jwt.refusals import Reason, TokenError
from policies.jwt.verifier import TokenVerifier
from tests.fixtures.issuers import jwk, key_set, private_key, token
from tests.policies.jwt.conftest import Clock, Endpoint, document

OLD, NEW = private_key("rsa"), private_key("rsa", 2)


async def reason(verifier: TokenVerifier, credential: bytes) -> Reason | None:
    """Why it is refused; None when it is not."""
    try:
        await verifier.verified(credential)
    except TokenError as error:
        return error.reason
    return None


async def settled(cache: JwksCache) -> None:
    """Let the fetches that a tick begins come to their end."""
    cache.tick()
    for _ in range(5):
        await asyncio.sleep(0)


def by_new(kid: str | None = "k2") -> bytes:
    return token(key=NEW, kid=kid)


async def test_keys_are_fetched_once_for_many_tokens_at_once(
    verifier: TokenVerifier, endpoint: Endpoint
) -> None:
    found = await asyncio.gather(*(verifier.verified(token()) for _ in range(50)))
    assert len(found) == 50
    assert len(endpoint.asked) == 1


async def test_keys_are_there_before_they_are_needed(
    cache: JwksCache, verifier: TokenVerifier
) -> None:
    await settled(cache)
    assert verifier.verify(token())


async def test_a_rotation_works_at_once(verifier: TokenVerifier, endpoint: Endpoint) -> None:
    assert await reason(verifier, token()) is None
    endpoint.body = key_set(jwk(OLD, "k1"), jwk(NEW, "k2"))
    assert await reason(verifier, by_new()) is None
    assert await reason(verifier, token()) is None
    assert len(endpoint.asked) == 2


async def test_a_rotation_works_at_once_where_keys_have_no_ids(
    verifier: TokenVerifier, endpoint: Endpoint
) -> None:
    endpoint.body = key_set(jwk(OLD))
    assert await reason(verifier, token(kid=None)) is None
    endpoint.body = key_set(jwk(NEW))
    assert await reason(verifier, by_new(None)) is None


async def test_a_flood_of_unknown_keys_makes_one_fetch_each_interval(
    verifier: TokenVerifier, endpoint: Endpoint, monotonic: Clock
) -> None:
    assert await reason(verifier, token()) is None
    for second in range(20):
        monotonic.at = 200.0 + second
        floods = (reason(verifier, token(kid=f"x{second}-{n}")) for n in range(20))
        assert set(await asyncio.gather(*floods)) == {Reason.KEY}
    assert len(endpoint.asked) == 1 + 20 / JwksTimes().refetch_s
    assert await reason(verifier, token()) is None


async def test_an_endpoint_that_fails_is_asked_once_each_interval(
    verifier: TokenVerifier, endpoint: Endpoint, monotonic: Clock
) -> None:
    endpoint.fails = True
    for second in range(20):
        monotonic.at = 200.0 + second
        assert await reason(verifier, token()) is Reason.KEYS_AWAY
    assert len(endpoint.asked) == 20 / JwksTimes().refetch_s
    endpoint.fails = False
    monotonic.at = 220.0
    assert await reason(verifier, token()) is None


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"keys": []}', b'{"keys": [{"kty": "oct"}]}'])
async def test_known_keys_outlive_an_endpoint_that_errs_or_answers_nonsense(
    cache: JwksCache, verifier: TokenVerifier, endpoint: Endpoint, monotonic: Clock, body: bytes
) -> None:
    await settled(cache)
    endpoint.body = body
    for hour in range(1, 12):
        monotonic.at = 100.0 + hour * 3600
        await settled(cache)
        assert await reason(verifier, token()) is None
    assert cache.failures["login"] == 11
    monotonic.at = 100.0 + 12 * 3600 + 1
    await settled(cache)
    assert await reason(verifier, token()) is Reason.KEYS_AWAY


async def test_a_withdrawn_key_works_for_a_short_time_and_then_never_again(
    cache: JwksCache, verifier: TokenVerifier, endpoint: Endpoint, monotonic: Clock
) -> None:
    endpoint.body = key_set(jwk(OLD, "k1"), jwk(NEW, "k2"))
    await settled(cache)
    endpoint.body = key_set(jwk(NEW, "k2"))
    monotonic.at += JwksTimes().refresh_s
    await settled(cache)
    assert await reason(verifier, token()) is None
    assert await reason(verifier, token(kid=None)) is not None
    monotonic.at += JwksTimes().withdrawn_s
    assert await reason(verifier, token()) is Reason.KEY
    await settled(cache)
    assert await reason(verifier, token()) is Reason.KEY
    assert await reason(verifier, by_new()) is None


async def test_servers_that_show_old_and_new_sets_in_turn_refuse_nobody(
    verifier: TokenVerifier, endpoint: Endpoint, monotonic: Clock
) -> None:
    sets = [key_set(jwk(OLD, "k1")), key_set(jwk(NEW, "k2"))]
    for body, credential in zip(sets, (token(), by_new()), strict=True):
        endpoint.body = body
        assert await reason(verifier, credential) is None
    for turn in range(10):
        endpoint.body = sets[turn % 2]
        monotonic.at += JwksTimes().refetch_s
        assert await reason(verifier, token()) is None
        assert await reason(verifier, by_new()) is None


async def test_an_id_that_means_two_keys_means_none(
    verifier: TokenVerifier, endpoint: Endpoint
) -> None:
    endpoint.body = key_set(jwk(OLD, "k1"), jwk(NEW, "k1"))
    assert await reason(verifier, token()) is Reason.KEY
    endpoint.body = key_set(jwk(OLD, "k1"), jwk(NEW, "k2"))
    assert await reason(verifier, token(kid=None)) is Reason.KEY


async def test_another_address_of_the_keys_is_another_set(
    verifier: TokenVerifier, endpoint: Endpoint
) -> None:
    assert await reason(verifier, token()) is None
    endpoint.body = key_set(jwk(NEW, "k2"))
    verifier.put(document(jwks_uri="https://login.example/other"))
    assert await reason(verifier, token()) is Reason.KEY
    assert await reason(verifier, by_new()) is None
    assert endpoint.asked[-1] == "https://login.example/other"


async def test_an_issuer_that_is_removed_while_its_keys_are_fetched_is_gone(
    cache: JwksCache, verifier: TokenVerifier, endpoint: Endpoint
) -> None:
    gate = asyncio.Event()
    endpoint.gate = gate.wait
    waiting = asyncio.create_task(reason(verifier, token()))
    await until(lambda: bool(endpoint.asked))
    verifier.remove("login")
    gate.set()
    assert await waiting is Reason.ISSUER
    assert cache.fetches == {}


async def test_one_who_gives_up_waiting_takes_the_keys_from_nobody(
    verifier: TokenVerifier, endpoint: Endpoint
) -> None:
    gate = asyncio.Event()
    endpoint.gate = gate.wait
    tasks = [asyncio.create_task(reason(verifier, token())) for _ in range(3)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    await asyncio.sleep(0)
    gate.set()
    assert await asyncio.gather(*tasks[1:]) == [None, None]
    assert len(endpoint.asked) == 1


async def test_slow_endpoints_of_many_issuers_do_not_pile_up(monotonic: Clock) -> None:
    gate = asyncio.Event()
    endpoint = Endpoint(gate=gate.wait)
    cache = JwksCache(endpoint.fetch, monotonic=monotonic)
    for number in range(100):
        cache.put(f"i{number}", f"https://i{number}.example/keys")
    await settled(cache)
    await settled(cache)
    assert len(endpoint.asked) == 8
    gate.set()
    await until(lambda: len(endpoint.asked) == 100)
    await settled(cache)
    assert all(cache.keys(f"i{number}") for number in range(100))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 -- other tasks' state
            await asyncio.sleep(0)


async def test_the_cache_refreshes_by_itself_while_it_runs(
    cache: JwksCache, verifier: TokenVerifier, endpoint: Endpoint
) -> None:
    running = asyncio.create_task(cache.run())
    await until(lambda: bool(cache.keys("login")))
    assert verifier.verify(token())
    verifier.put(document(name="second", issuer="https://second.example"))
    await until(lambda: bool(cache.keys("second")))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def asked_at(
    cache: JwksCache, endpoint: Endpoint, monotonic: Clock, seconds: int
) -> list[int]:
    """When the endpoint is asked while the cache ticks each second, in seconds from now."""
    began, found = monotonic.at, []
    for second in range(seconds):
        monotonic.at = began + second
        before = len(endpoint.asked)
        await settled(cache)
        found += [second] * (len(endpoint.asked) - before)
    return found


async def test_an_endpoint_without_which_no_token_is_taken_is_asked_again_within_seconds(
    cache: JwksCache, verifier: TokenVerifier, endpoint: Endpoint, monotonic: Clock
) -> None:
    endpoint.fails = True
    asked = await asked_at(cache, endpoint, monotonic, 600)
    assert asked[:6] == [0, 1, 3, 7, 12, 17]
    assert {later - earlier for earlier, later in pairwise(asked[3:])} == {JwksTimes().refetch_s}
    endpoint.fails = False
    back = monotonic.at
    await asked_at(cache, endpoint, monotonic, 6)
    assert monotonic.at - back <= JwksTimes().refetch_s
    assert verifier.verify(token())


async def test_an_endpoint_whose_keys_are_known_is_asked_ever_more_seldom_while_it_fails(
    cache: JwksCache, verifier: TokenVerifier, endpoint: Endpoint, monotonic: Clock
) -> None:
    await settled(cache)
    endpoint.fails = True
    monotonic.at += JwksTimes().refresh_s
    asked = await asked_at(cache, endpoint, monotonic, 300)
    assert asked == [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]
    assert verifier.verify(token())
