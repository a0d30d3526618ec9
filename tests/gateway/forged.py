"""Tokens that were not signed by the issuer whom they name, or not as it signs."""

import json
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.fixtures.issuers import (
    ISS,
    NOW,
    b64,
    claims,
    compact,
    hmac_token,
    jwk,
    private_key,
    signature,
    token,
)

ATTACKER = private_key("rsa", 66)
RSA, EC = private_key("rsa"), private_key("P-256")


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
