"""Verifies one signature with one key for one algorithm, by python-jose.

What that library leaves to its callers is done here. It takes the algorithm from the token when it
is given no list, lets a key of one type serve another's algorithms, chooses keys by trying all of
them, and reads base64 leniently. So it gets a token that :mod:`policies.jwt.compact` has read, a
list of one algorithm, and a key object made for just that algorithm - never the issuer's text.

PSS and EdDSA, which it does not have, come to it as key classes of ours: its own way to extend it.
"""

from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from jose import jws
from jose.backends.base import Key
from jose.backends.cryptography_backend import CryptographyECKey, CryptographyRSAKey
from jose.exceptions import JOSEError

from policies.jwt.compact import CompactToken
from policies.jwt.keys import EDDSA, VerificationKey

_PSS_HASHES: Final[dict[str, type[hashes.HashAlgorithm]]] = {
    "PS256": hashes.SHA256,
    "PS384": hashes.SHA384,
    "PS512": hashes.SHA512,
}
_ORDERS: Final = {
    "secp256r1": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "secp384r1": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,  # noqa: E501
    "secp521r1": 0x01FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFA51868783BF2F966B7FCC0148F709A5D03BB5C9B8899C47AEBB6FB71E91386409,  # noqa: E501
}
"""Orders of the curves' groups (SEC 2): both halves of a signature lie between 1 and this."""


class _PssKey(Key):
    """RSASSA-PSS with a salt as long as the hash (RFC 7518, section 3.5)."""

    def __init__(self, key: rsa.RSAPublicKey, algorithm: str) -> None:
        super().__init__(key, algorithm)
        self._key = key
        self._hash = _PSS_HASHES[algorithm]()

    def verify(self, msg: bytes, sig: bytes) -> bool:
        """Whether ``sig`` is the key's signature of ``msg``."""
        scheme = padding.PSS(padding.MGF1(self._hash), self._hash.digest_size)
        try:
            self._key.verify(sig, msg, scheme, self._hash)
        except InvalidSignature:
            return False
        return True


class _EdwardsKey(Key):
    """Ed25519 (RFC 8037)."""

    def __init__(self, key: ed25519.Ed25519PublicKey, algorithm: str) -> None:
        super().__init__(key, algorithm)
        self._key = key

    def verify(self, msg: bytes, sig: bytes) -> bool:
        """Whether ``sig`` is the key's signature of ``msg``."""
        try:
            self._key.verify(sig, msg)
        except InvalidSignature:
            return False
        return True


def signed_by(token: CompactToken, key: VerificationKey) -> bool:
    """Whether ``key`` made the token's signature, by the algorithm that its header names."""
    algorithm = token.algorithm
    if algorithm not in key.algorithms or not _plausible(token.signature, key):
        return False
    try:
        payload = jws.verify(token.text, _jose_key(key, algorithm), algorithms=[algorithm])
    except JOSEError:
        return False
    # Else two readers have understood one token differently.
    return payload == token.payload


def _plausible(signature: bytes, key: VerificationKey) -> bool:
    """Whether the signature has the form of its algorithm. ECDSA signatures are two numbers of a
    fixed length, not DER, and neither may be zero (CVE-2022-21449)."""
    public = key.public
    if isinstance(public, rsa.RSAPublicKey):
        return len(signature) == (public.key_size + 7) // 8
    if isinstance(public, ec.EllipticCurvePublicKey):
        size = (public.curve.key_size + 7) // 8
        halves = (int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big"))
        order = _ORDERS[public.curve.name]
        return len(signature) == 2 * size and all(0 < half < order for half in halves)
    return len(signature) == _EDWARDS_SIGNATURE


def _jose_key(key: VerificationKey, algorithm: str) -> Key:
    public = key.public
    if isinstance(public, ed25519.Ed25519PublicKey):
        assert algorithm == EDDSA
        return _EdwardsKey(public, algorithm)
    if isinstance(public, rsa.RSAPublicKey) and algorithm in _PSS_HASHES:
        return _PssKey(public, algorithm)
    if isinstance(public, rsa.RSAPublicKey):
        return CryptographyRSAKey(public, algorithm)
    return CryptographyECKey(public, algorithm)


_EDWARDS_SIGNATURE: Final = 64
