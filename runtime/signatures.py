"""Ed25519 signatures (RFC 8032): a key that signs, and the keys that are believed."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from protocol.errors import Code, TollwayError
from runtime.files import secret_file, write_atomically

_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)
_ID_DIGITS: Final = 16


def new_signing_key() -> str:
    """A private key, as PEM (PKCS #8)."""
    made = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return made.decode().strip()


class SigningKey:
    """One private key."""

    def __init__(self, pem: bytes, what: str) -> None:
        """Raises ``INVALID`` for what is no private Ed25519 key; ``what`` names it in the error."""
        try:
            key = serialization.load_pem_private_key(pem, None)
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise TollwayError(Code.INVALID, f"{what} is not a private Ed25519 key in PEM")
        self._key = key
        self.public_pem = (
            key.public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            .decode()
        )
        self.id = key_id(key.public_key())

    def sign(self, statement: bytes) -> str:
        """The signature, hexadecimal."""
        return self._key.sign(statement).hex()


def make_key_pair(private: Path, public: Path) -> SigningKey:
    """The key in ``private``, made (mode 0600) when there is no such file; ``public`` gets its
    public half.

    Raises ``INVALID`` for a file that holds no such key.
    """
    key = SigningKey(secret_file(private, new_signing_key), f"the file {private.name}")
    if not public.exists() or public.read_text() != key.public_pem:
        write_atomically(public, key.public_pem.encode())
    return key


def key_id(key: Ed25519PublicKey) -> str:
    """A name for the key: the first digits of its SHA-256."""
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:_ID_DIGITS]


class PublicKeys:
    """The keys whose signatures are believed."""

    def __init__(self, pems: Iterable[str]) -> None:
        """Each text may hold several keys. Raises ``INVALID`` for one that is not Ed25519, and
        for a text without any."""
        self._keys: dict[str, Ed25519PublicKey] = {}
        for text in pems:
            blocks = _PEM.findall(text)
            if not blocks:
                raise TollwayError(Code.INVALID, "a public key file holds no public key in PEM")
            for block in blocks:
                key = _public_key(block)
                self._keys[key_id(key)] = key

    @property
    def ids(self) -> list[str]:
        """The ids of the keys."""
        return sorted(self._keys)

    def doubt(self, signer: str, signature: str, statement: bytes) -> str | None:
        """Why the signature is not to be believed; None when it is genuine."""
        key = self._keys.get(signer)
        if key is None:
            return f"is signed with the unknown key {signer[:_ID_DIGITS]!r}"
        try:
            key.verify(bytes.fromhex(signature), statement)
        except (InvalidSignature, ValueError):
            return "has a signature that is not genuine"
        return None


def _public_key(block: str) -> Ed25519PublicKey:
    try:
        key = serialization.load_pem_public_key(block.encode())
    except ValueError:
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise TollwayError(Code.INVALID, "a public key is not an Ed25519 key")
    return key
