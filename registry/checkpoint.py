"""Checkpoints: signed statements of where the audit log ended at a moment.

A chain alone cannot tell that its end was cut off, or that it was computed anew as a whole. A
checkpoint can: it is signed with Ed25519 (RFC 8032) over its canonical JSON (RFC 8785), and kept
outside of the database as well. Checkpoints form a chain of their own.
"""

import hashlib
import re
from collections.abc import Iterable
from typing import Final

import msgspec
import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from protocol.errors import Code, TollwayError
from registry.chain import GENESIS

_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)
_ID_DIGITS: Final = 16


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``hash`` is the hash of entry ``seq``, the last one at ``at_ms``."""

    number: int
    """1, 2, 3 ... without a gap."""
    seq: int
    hash: str
    at_ms: int
    signer: str
    """The id of the key that made the signature."""
    previous: str
    """:func:`checkpoint_hash` of the checkpoint before."""
    signature: str
    """Hexadecimal."""


def checkpoint_hash(checkpoint: Checkpoint | None) -> str:
    """SHA-256 of the canonical JSON of the whole checkpoint, hex; ``GENESIS`` for none."""
    if checkpoint is None:
        return GENESIS
    return hashlib.sha256(rfc8785.dumps(msgspec.structs.asdict(checkpoint))).hexdigest()


def _statement(checkpoint: Checkpoint) -> bytes:
    """What is signed: everything but the signature."""
    fields = msgspec.structs.asdict(checkpoint)
    del fields["signature"]
    return rfc8785.dumps(fields)


def new_signing_key() -> str:
    """A private key, as PEM (PKCS #8)."""
    made = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return made.decode().strip()


class Signer:
    """Signs checkpoints with one private key."""

    def __init__(self, pem: bytes) -> None:
        """Raises ``INVALID`` for what is no private Ed25519 key."""
        try:
            key = serialization.load_pem_private_key(pem, None)
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise TollwayError(
                Code.INVALID, "the audit log's signing key is not a private Ed25519 key in PEM"
            )
        self._key = key
        self.public_pem = (
            key.public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            .decode()
        )
        self.id = key_id(key.public_key())

    def sign(self, seq: int, hash: str, at_ms: int, earlier: Checkpoint | None) -> Checkpoint:
        """The checkpoint that follows ``earlier``."""
        draft = Checkpoint(
            number=1 if earlier is None else earlier.number + 1,
            seq=seq,
            hash=hash,
            at_ms=at_ms,
            signer=self.id,
            previous=checkpoint_hash(earlier),
            signature="",
        )
        signature = self._key.sign(_statement(draft)).hex()
        return msgspec.structs.replace(draft, signature=signature)


def key_id(key: Ed25519PublicKey) -> str:
    """A name for the key: the first digits of its SHA-256."""
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:_ID_DIGITS]


class PublicKeys:
    """The keys whose checkpoints are believed."""

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

    def problem(self, checkpoint: Checkpoint) -> str | None:
        """Why the signature is not to be believed; None when it is genuine."""
        key = self._keys.get(checkpoint.signer)
        if key is None:
            return f"is signed with the unknown key {checkpoint.signer[:_ID_DIGITS]!r}"
        try:
            key.verify(bytes.fromhex(checkpoint.signature), _statement(checkpoint))
        except (InvalidSignature, ValueError, rfc8785.CanonicalizationError):
            return "has a signature that is not genuine"
        return None


def _public_key(block: str) -> Ed25519PublicKey:
    try:
        key = serialization.load_pem_public_key(block.encode())
    except ValueError:
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise TollwayError(Code.INVALID, "a public key of the audit log is not an Ed25519 key")
    return key
