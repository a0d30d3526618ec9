"""What a verifier takes and what it refuses, with every kind of key."""

import json
from typing import Any

import anyio.from_thread
import anyio.to_thread
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from policies.jwt.keys import ALGORITHMS
from policies.jwt.refusals import Reason, TokenError
from policies.jwt.verifier import TokenVerifier
from tests.fixtures.issuers import (
    NOW,
    b64,
    claims,
    compact,
    hmac_token,
    private_key,
    signature,
    token,
)
from tests.policies.jwt.conftest import Clock, Endpoint, document


async def refused(verifier: TokenVerifier, credential: bytes) -> Reason:
    with pytest.raises(TokenError) as caught:
        await verifier.verified(credential)
    return caught.value.reason


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_token_of_each_algorithm_is_taken(verifier: TokenVerifier, algorithm: str) -> None:
    found = await verifier.verified(token(algorithm=algorithm))
    assert (found.issuer, found.subject, found.application) == ("login", "u1", "shop")
    assert found.expires_at == NOW + 630


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_no_algorithm_is_taken_that_the_issuer_does_not_list(
    verifier: TokenVerifier, algorithm: str
) -> None:
    others = tuple(name for name in ALGORITHMS if name != algorithm)
    verifier.put(document(algorithms=others))
    assert await refused(verifier, token(algorithm=algorithm)) is Reason.ALGORITHM


async def test_a_key_serves_only_algorithms_of_its_own_kind(verifier: TokenVerifier) -> None:
    for algorithm in ("RS256", "ES256", "EdDSA"):
        for named in {"RS256", "ES256", "ES384", "EdDSA"} - {algorithm}:
            forged = token(algorithm=algorithm, header={"alg": named})
            assert await refused(verifier, forged) is Reason.SIGNATURE, (algorithm, named)


async def test_a_good_token_is_verified_from_a_thread_too(verifier: TokenVerifier) -> None:
    def work() -> str:
        return anyio.from_thread.run(verifier.verified, token()).subject

    assert await anyio.to_thread.run_sync(work) == "u1"


ABSURD = (-1, True, None, "1790000600", [], {}, 1e18, 2**63, 10**400, 253_402_300_800)
TIMES: list[tuple[dict[str, Any], Reason]] = [
    ({"exp": ...}, Reason.CLAIMS),
    *(({"exp": value}, Reason.CLAIMS) for value in ABSURD),
    ({"exp": 0}, Reason.EXPIRED),
    ({"exp": NOW - 30}, Reason.EXPIRED),
    ({"exp": NOW + 86_400 + 31}, Reason.LIFETIME),
    ({"exp": NOW + 600, "iat": NOW - 86_400}, Reason.LIFETIME),
    ({"nbf": NOW + 31}, Reason.NOT_YET),
    ({"iat": NOW + 31}, Reason.NOT_YET),
    ({"nbf": "1790000000"}, Reason.CLAIMS),
    ({"nbf": False}, Reason.CLAIMS),
    ({"iat": None}, Reason.CLAIMS),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "reason"), TIMES)
async def test_times_that_do_not_hold_are_refused(
    verifier: TokenVerifier, changes: dict[str, Any], reason: Reason
) -> None:
    assert await refused(verifier, token(claims(**changes))) is reason


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": NOW - 29},
        {"exp": NOW + 86_400},
        {"exp": NOW + 600.5, "iat": NOW - 0.5},
        {"nbf": NOW + 30},
        {"iat": NOW + 30},
        {"iat": ...},
    ],
)
async def test_times_within_the_leeway_are_taken(
    verifier: TokenVerifier, changes: dict[str, Any]
) -> None:
    assert (await verifier.verified(token(claims(**changes)))).issuer == "login"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": ...}, Reason.CLAIMS),
        ({"iss": ["https://login.example"]}, Reason.CLAIMS),
        ({"iss": "https://login.example/"}, Reason.ISSUER),
        ({"iss": "https://LOGIN.example"}, Reason.ISSUER),
        ({"aud": ...}, Reason.CLAIMS),
        ({"aud": []}, Reason.CLAIMS),
        ({"aud": ["tollway", 1]}, Reason.CLAIMS),
        ({"aud": {"tollway": 1}}, Reason.CLAIMS),
        ({"aud": "tollway "}, Reason.AUDIENCE),
        ({"aud": ["other", "another"]}, Reason.AUDIENCE),
        ({"sub": 7}, Reason.CLAIMS),
        ({"sub": "x" * 256}, Reason.CLAIMS),
    ],
)
async def test_other_issuers_and_audiences_are_refused(
    verifier: TokenVerifier, changes: dict[str, Any], reason: Reason
) -> None:
    assert await refused(verifier, token(claims(**changes))) is reason


async def test_one_of_several_audiences_is_enough(verifier: TokenVerifier) -> None:
    assert await verifier.verified(token(claims(aud=["other", "tollway"])))


@pytest.mark.parametrize(
    "header",
    [
        {"jwk": {"kty": "oct", "k": "AA"}},
        {"jku": "https://evil.example/keys"},
        {"x5u": "https://evil.example/cert"},
        {"x5c": ["AA=="]},
        {"crit": ["exp"]},
        {"crit": []},
        {"b64": False},
        {"zip": "DEF"},
        {"cty": "JWT"},
        {"enc": "A256GCM"},
        {"typ": "logout+jwt"},
        {"typ": "dpop+jwt"},
        {"typ": None},
        {"alg": None},
        {"alg": ["RS256"]},
        {"kid": None},
        {"kid": 1},
        {"kid": "k" * 257},
        {f"x-{n}": n for n in range(20)},
    ],
)
async def test_headers_that_lead_astray_are_refused_before_any_key_is_looked_for(
    verifier: TokenVerifier, endpoint: Endpoint, header: dict[str, Any]
) -> None:
    assert await refused(verifier, token(header=header)) is Reason.HEADER
    assert endpoint.asked == []


@pytest.mark.parametrize("header", [{"typ": "at+jwt"}, {"typ": "application/AT+JWT"}, {"x5t": "a"}])
async def test_headers_that_issuers_really_send_are_taken(
    verifier: TokenVerifier, header: dict[str, Any]
) -> None:
    assert await verifier.verified(token(header=header))


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", "HS256", "RS256\0", "rs256"])
async def test_no_spelling_of_another_algorithm_is_taken(
    verifier: TokenVerifier, name: str
) -> None:
    good = token().rsplit(b".", 1)
    unsigned = compact(
        json.dumps({"alg": name}).encode(), json.dumps(claims()).encode(), lambda _: b"\0"
    )
    assert await refused(verifier, unsigned) is Reason.ALGORITHM
    assert await refused(verifier, unsigned.rsplit(b".", 1)[0] + b".") is Reason.MALFORMED
    assert await refused(verifier, good[0] + b".") is Reason.MALFORMED


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_a_public_key_is_never_a_secret(verifier: TokenVerifier, algorithm: str) -> None:
    public = private_key("rsa").public_key()
    for encoding in (Encoding.PEM, Encoding.DER):
        secret = public.public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
        verifier.put(document(algorithms=("RS256", "ES256")))
        assert await refused(verifier, hmac_token(secret, algorithm)) is Reason.ALGORITHM
        # Not even if a document slipped through that lists it.
        verifier.put(document(algorithms=(algorithm, "RS256")))
        assert await refused(verifier, hmac_token(secret, algorithm)) is Reason.KEY


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "ES512"])
async def test_ecdsa_signatures_of_zero_and_in_der_are_refused(
    verifier: TokenVerifier, algorithm: str
) -> None:
    good = token(algorithm=algorithm)
    message, _, _ = good.rpartition(b".")
    key: Any = private_key({"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}[algorithm])
    size = len(signature(key, algorithm, b""))
    digest = {"ES256": hashes.SHA256, "ES384": hashes.SHA384, "ES512": hashes.SHA512}[algorithm]
    der = key.sign(message, ec.ECDSA(digest()))
    for forged in (
        b"\0" * size,
        b"\0" * (size // 2) + signature(key, algorithm, message)[size // 2 :],
        signature(key, algorithm, message)[: size // 2] + b"\0" * (size // 2),
        b"\xff" * size,
        der,
        b"\x30\x06\x02\x01\x00\x02\x01\x00",
        signature(key, algorithm, message) + b"\0",
    ):
        assert await refused(verifier, message + b"." + b64(forged).encode()) is Reason.SIGNATURE, (
            forged
        )
    assert await verifier.verified(good)


async def test_signatures_cannot_be_cut_or_exchanged(verifier: TokenVerifier) -> None:
    one, other = token(), token(claims(sub="u2"))
    message, _, signed = one.rpartition(b".")
    for forged in (signed[:-4], signed[4:], other.rpartition(b".")[2]):
        found = await refused(verifier, message + b"." + forged)
        assert found in {Reason.SIGNATURE, Reason.MALFORMED}


async def test_an_expired_token_causes_no_fetch(
    verifier: TokenVerifier, endpoint: Endpoint
) -> None:
    await refused(verifier, token(claims(exp=NOW - 100)))
    await refused(verifier, token(claims(iss="https://nobody.example")))
    assert endpoint.asked == []


async def test_a_token_ends_when_its_time_does(verifier: TokenVerifier, now: Clock) -> None:
    good = token()
    assert await verifier.verified(good)
    now.at = NOW + 629.9
    assert await verifier.verified(good)
    now.at = NOW + 630
    assert await refused(verifier, good) is Reason.EXPIRED


async def test_replacing_the_issuers_keeps_the_keys_of_those_that_stay(
    verifier: TokenVerifier, endpoint: Endpoint
) -> None:
    await verifier.verified(token())
    verifier.replace([document(audiences=("tollway", "more"))])
    assert verifier.verify(token(claims(aud="more")))
    assert len(endpoint.asked) == 1
    verifier.replace([document(name="renamed")])
    assert (await verifier.verified(token())).issuer == "renamed"
    verifier.replace([])
    assert await refused(verifier, token()) is Reason.ISSUER
