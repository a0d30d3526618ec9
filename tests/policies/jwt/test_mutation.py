"""No token that differs from a good one in a single character is taken."""

import asyncio
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.jwt.jwks import JwksCache
from policies.jwt.refusals import TokenError
from policies.jwt.verifier import TokenVerifier
from tests.fixtures.issuers import FITTING, NOW, token
from tests.policies.jwt.conftest import Clock, Endpoint, document

GOOD = {algorithm: token(algorithm=algorithm) for algorithm in ("RS256", "PS256", "ES256", "EdDSA")}
CHARACTERS = (string.ascii_letters + string.digits + "-_").encode()


@pytest.fixture(scope="module")
def verifier() -> TokenVerifier:
    cache = JwksCache(Endpoint().fetch, monotonic=Clock(0.0))
    built = TokenVerifier(cache, Clock(NOW))
    built.put(document())
    asyncio.run(built.verified(GOOD["RS256"]))
    return built


def taken(verifier: TokenVerifier, credential: bytes) -> bool:
    try:
        verifier.verify(credential)
    except TokenError:
        return False
    return True


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(GOOD)), st.data())
def test_one_other_character_is_enough(
    verifier: TokenVerifier, algorithm: str, data: st.DataObject
) -> None:
    good = GOOD[algorithm]
    at = data.draw(st.integers(0, len(good) - 1))
    other = data.draw(st.sampled_from(CHARACTERS) | st.integers(0, 255))
    if other != good[at]:
        assert not taken(verifier, good[:at] + bytes([other]) + good[at + 1 :])
    assert not taken(verifier, good[:at] + good[at + 1 :])
    assert not taken(verifier, good[:at] + bytes([other]) + good[at:])


@pytest.mark.parametrize("algorithm", sorted(GOOD))
def test_the_last_character_has_no_other_spelling(verifier: TokenVerifier, algorithm: str) -> None:
    """The last character of a signature carries bits that mean nothing."""
    good = GOOD[algorithm]
    assert taken(verifier, good)
    assert algorithm in FITTING
    for other in CHARACTERS:
        if other != good[-1]:
            assert not taken(verifier, good[:-1] + bytes([other]))
