"""Which keys of a key set are used, and for what."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.jwt.keys import MAX_KEYS, RSA_ALGORITHMS, parse_key_set
from tests.fixtures.issuers import b64, jwk, key_set, number, private_key

RSA = jwk(private_key("rsa"), "good")


@pytest.mark.parametrize(
    ("entry", "algorithms"),
    [
        (RSA, RSA_ALGORITHMS),
        (RSA | {"alg": "RS512", "use": "sig", "x5c": ["MII="], "x5t": "a"}, {"RS512"}),
        (RSA | {"key_ops": ["verify"]}, RSA_ALGORITHMS),
        (jwk(private_key("P-256"), "e"), {"ES256"}),
        (jwk(private_key("P-384"), "e"), {"ES384"}),
        (jwk(private_key("P-521"), "e"), {"ES512"}),
        (jwk(private_key("Ed25519"), "o"), {"EdDSA"}),
    ],
)
def test_a_key_verifies_what_its_type_and_size_allow(
    entry: dict[str, Any], algorithms: set[str]
) -> None:
    (key,) = parse_key_set(key_set(entry)).keys
    assert key.algorithms == algorithms
    assert key.kid == entry["kid"]


EC = jwk(private_key("P-256"), "bad")
BAD: list[Any] = [
    jwk(private_key("small"), "bad"),
    RSA | {"n": number((1 << 8200) + 1)},
    RSA | {"n": RSA["n"] + "="},
    RSA | {"n": "+" + RSA["n"][1:]},
    RSA | {"n": None},
    RSA | {"e": number(2)},
    RSA | {"e": number(1)},
    RSA | {"e": number((1 << 64) + 1)},
    RSA | {"d": "AQAB"},
    RSA | {"use": "enc"},
    RSA | {"key_ops": ["encrypt"]},
    RSA | {"key_ops": "verify"},
    RSA | {"alg": "HS256"},
    RSA | {"alg": "none"},
    RSA | {"alg": "ES256"},
    RSA | {"alg": ["RS256"]},
    RSA | {"kid": 1},
    RSA | {"kid": "k" * 257},
    RSA | {"kty": "EC"},
    EC | {"kty": "RSA"},
    EC | {"alg": "ES384"},
    EC | {"crv": "P-384"},
    EC | {"crv": "secp256k1"},
    EC | {"crv": ["P-256"]},
    EC | {"y": EC["x"]},
    EC | {"x": b64(b"\0" * 32), "y": b64(b"\0" * 32)},
    EC | {"x": "AA" + EC["x"]},
    {"kty": "oct", "k": "AAAA", "kid": "bad"},
    {"kty": "OKP", "crv": "X25519", "x": b64(b"\1" * 32), "kid": "bad"},
    {"kty": "OKP", "crv": "Ed25519", "x": b64(b"\1" * 31), "kid": "bad"},
    {},
    None,
    "key",
]


@pytest.mark.parametrize("entry", BAD)
def test_a_bad_key_is_left_out_and_spoils_no_other(entry: Any) -> None:
    found = parse_key_set(key_set(entry, RSA))
    assert [key.kid for key in found.keys] == ["good"]
    assert sum(found.ignored.values()) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html></html>",
        b"[]",
        b"{}",
        b'{"keys": {}}',
        b'{"keys": []}',
        key_set(*BAD),
        b'{"keys": [], "keys": []}',
        b'{"keys": ' + b"[" * 50_000,
        json.dumps({"keys": [RSA] * (MAX_KEYS + 1)}).encode(),
        key_set(RSA).decode().encode("utf-16"),
    ],
)
def test_what_is_no_key_set_is_refused_whole(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_key_set(body)


def test_a_key_that_is_shown_twice_counts_once() -> None:
    assert len(parse_key_set(key_set(RSA, dict(reversed(RSA.items())))).keys) == 1


VALUES = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text(), max_size=2)


@given(
    st.sampled_from([RSA, EC, jwk(private_key("Ed25519"), "o")]),
    st.dictionaries(
        st.sampled_from(["kty", "crv", "n", "e", "x", "y", "alg", "use", "key_ops", "kid"]), VALUES
    ),
)
def test_a_damaged_key_is_used_or_left_out_and_nothing_else(
    entry: dict[str, Any], damage: dict[str, Any]
) -> None:
    with contextlib.suppress(ValueError):
        parse_key_set(key_set(entry | damage))
