"""Checkpoints: signed statements of where the audit log ended at a moment.

A chain alone cannot tell that its end was cut off, or that it was computed anew as a whole. A
checkpoint can: it is signed with Ed25519 (RFC 8032) over its canonical JSON (RFC 8785), and kept
outside of the database as well. Checkpoints form a chain of their own.
"""

import hashlib

import msgspec
import rfc8785

from registry.chain import GENESIS
from runtime import signatures
from runtime.signatures import SigningKey


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


class Signer:
    """Signs checkpoints with one private key."""

    def __init__(self, pem: bytes) -> None:
        """Raises ``INVALID`` for what is no private Ed25519 key."""
        self._key = SigningKey(pem, "the audit log's signing key")
        self.public_pem = self._key.public_pem
        self.id = self._key.id

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
        return msgspec.structs.replace(draft, signature=self._key.sign(_statement(draft)))


class PublicKeys(signatures.PublicKeys):
    """The keys whose checkpoints are believed."""

    def problem(self, checkpoint: Checkpoint) -> str | None:
        """Why the signature is not to be believed; None when it is genuine."""
        try:
            statement = _statement(checkpoint)
        except rfc8785.CanonicalizationError:
            return "has a signature that is not genuine"
        return self.doubt(checkpoint.signer, checkpoint.signature, statement)
