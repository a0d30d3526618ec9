"""A verifier with one issuer, whose endpoint and clocks the test controls."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from policies.jwt.fetch import JwksError
from policies.jwt.jwks import JwksCache, JwksTimes
from policies.jwt.keys import ALGORITHMS
from policies.jwt.verifier import TokenVerifier
from protocol.configuration import IssuerDoc
from tests.fixtures.issuers import AUDIENCE, FITTING, ISS, NOW, jwk, key_set, private_key

URI = "https://login.example/keys"


def document(**changes: Any) -> IssuerDoc:
    values: dict[str, Any] = {
        "name": "login",
        "issuer": ISS,
        "audiences": (AUDIENCE,),
        "algorithms": ALGORITHMS,
        "jwks_uri": URI,
    }
    return IssuerDoc(**(values | changes))


ALL_KEYS = key_set(*(jwk(private_key(kind), "k1") for kind in dict.fromkeys(FITTING.values())))
"""One key of each kind, all of the same id: which is meant follows from the algorithm."""


@dataclass
class Clock:
    at: float

    def __call__(self) -> float:
        return self.at


@dataclass
class Endpoint:
    """Answers with ``body``, or fails; what it is asked is counted."""

    body: bytes = ALL_KEYS
    fails: bool = False
    asked: list[str] = field(default_factory=list)
    gate: Callable[[], Any] | None = None
    """Awaited before the answer."""

    async def fetch(self, uri: str) -> bytes:
        self.asked.append(uri)
        if self.gate is not None:
            await self.gate()
        if self.fails:
            raise JwksError("answered with status 500")
        return self.body


@pytest.fixture
def now() -> Clock:
    return Clock(NOW)


@pytest.fixture
def monotonic() -> Clock:
    return Clock(100.0)


@pytest.fixture
def endpoint() -> Endpoint:
    return Endpoint()


@pytest.fixture
async def cache(endpoint: Endpoint, monotonic: Clock) -> JwksCache:
    return JwksCache(endpoint.fetch, monotonic=monotonic, times=JwksTimes())


@pytest.fixture
async def verifier(cache: JwksCache, now: Clock) -> TokenVerifier:
    built = TokenVerifier(cache, now)
    built.put(document())
    return built
