"""An issuer's public keys, out of its JWK set (RFC 7517), and which algorithm each may verify."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from policies.jwt.compact import MAX_KID, JsonObject, base64url, json_object

RSA_ALGORITHMS: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
EC_CURVES: Final[dict[str, tuple[str, type[ec.EllipticCurve]]]] = {
    "P-256": ("ES256", ec.SECP256R1),
    "P-384": ("ES384", ec.SECP384R1),
    "P-521": ("ES512", ec.SECP521R1),
}
"""Curve -> the one algorithm that goes with it (RFC 7518, section 3.4)."""
EDDSA: Final = "EdDSA"
ALGORITHMS: Final = tuple(
    sorted(RSA_ALGORITHMS | {algorithm for algorithm, _ in EC_CURVES.values()} | {EDDSA})
)
"""All that an issuer may be configured with: signatures by a private key that only it has."""
MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 8192
"""Verifying takes longer the larger a key is."""
MAX_EXPONENT_BYTES: Final = 4
MAX_KEYS: Final = 100
ED25519_BYTES: Final = 32
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key. Equal to another that is the same key under the same id for the same use."""

    kid: str | None
    fingerprint: str
    """SHA-256 of the key itself, hex."""
    algorithms: frozenset[str]
    """What it may verify; never more than one family."""
    public: PublicKey = field(compare=False)


class KeySet(NamedTuple):
    """What a key set holds for verifying signatures."""

    keys: tuple[VerificationKey, ...]
    ignored: dict[str, int]
    """Why keys were left out -> how many of them."""


class _UnusableKeyError(Exception):
    """This key cannot be used; others of the set may."""


def parse_key_set(body: bytes) -> KeySet:
    """The keys of a JWK set. Keys of other types or uses, too small or damaged ones are left out.

    Raises ``ValueError`` for what is no key set, or for one without any usable key: an issuer that
    signs has one, so this is a fault of its endpoint and no news about its keys.
    """
    entries = json_object(body).get("keys")
    if not isinstance(entries, list):
        raise ValueError("not a JWK set: it has no list 'keys'")
    if len(entries) > MAX_KEYS:
        raise ValueError(f"the key set has more than {MAX_KEYS} keys")
    found: dict[VerificationKey, None] = {}
    ignored: Counter[str] = Counter()
    for entry in entries:
        try:
            found[_key(entry)] = None
        except _UnusableKeyError as reason:
            ignored[str(reason)] += 1
    if not found:
        raise ValueError("the key set has no key that could verify a signature")
    return KeySet(tuple(found), dict(ignored))


def _key(entry: object) -> VerificationKey:
    if not isinstance(entry, dict):
        raise _UnusableKeyError("not an object")
    kid = entry.get("kid")
    if kid is not None and (not isinstance(kid, str) or len(kid) > MAX_KID):
        raise _UnusableKeyError("kid is not a short text")
    if entry.get("use", "sig") != "sig":
        raise _UnusableKeyError("not for signatures")
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise _UnusableKeyError("not for verifying")
    # Whoever reads the set could sign with such a key.
    if _PRIVATE.intersection(entry):
        raise _UnusableKeyError("private or symmetric")
    try:
        algorithms, public = _public(entry)
        encoded = public.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    except (ValueError, UnsupportedAlgorithm):
        raise _UnusableKeyError("damaged") from None
    named = entry.get("alg")
    if named is not None:
        if not isinstance(named, str) or named not in algorithms:
            raise _UnusableKeyError("another algorithm")
        algorithms = frozenset({named})
    return VerificationKey(kid, hashlib.sha256(encoded).hexdigest(), algorithms, public)


def _public(entry: JsonObject) -> tuple[frozenset[str], PublicKey]:
    """The key, and what a key of its type and size may verify."""
    match entry.get("kty"):
        case "RSA":
            return RSA_ALGORITHMS, _rsa(entry)
        case "EC":
            return _elliptic(entry)
        case "OKP" if entry.get("crv") == "Ed25519":
            octets = _octets(entry, "x", ED25519_BYTES)
            return frozenset({EDDSA}), ed25519.Ed25519PublicKey.from_public_bytes(octets)
        case _:
            raise _UnusableKeyError("another type")


def _rsa(entry: JsonObject) -> rsa.RSAPublicKey:
    modulus = int.from_bytes(_octets(entry, "n"), "big")
    exponent = _octets(entry, "e")
    if modulus.bit_length() < MIN_RSA_BITS:
        raise _UnusableKeyError("RSA key too small")
    if modulus.bit_length() > MAX_RSA_BITS or len(exponent) > MAX_EXPONENT_BYTES:
        raise _UnusableKeyError("RSA key too large")
    return rsa.RSAPublicNumbers(int.from_bytes(exponent, "big"), modulus).public_key()


def _elliptic(entry: JsonObject) -> tuple[frozenset[str], ec.EllipticCurvePublicKey]:
    name = entry.get("crv")
    if not isinstance(name, str) or name not in EC_CURVES:
        raise _UnusableKeyError("another curve")
    algorithm, curve_type = EC_CURVES[name]
    curve = curve_type()
    size = (curve.key_size + 7) // 8
    x, y = (int.from_bytes(_octets(entry, part, size), "big") for part in ("x", "y"))
    # The library refuses points that are not on the curve.
    return frozenset({algorithm}), ec.EllipticCurvePublicNumbers(x, y, curve).public_key()


def _octets(entry: JsonObject, member: str, size: int | None = None) -> bytes:
    value = entry.get(member)
    if not isinstance(value, str):
        raise _UnusableKeyError("incomplete")
    octets = base64url(value.encode())
    if size is not None and len(octets) != size:
        raise ValueError(f"{member} has the wrong length")
    return octets
