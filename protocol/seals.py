"""Seals: control's signature over what a version is and why it may be called.

Whoever can write to the database or to the change stream, and has not control's private key, can
make no version answer that was not published by the rules: a gateway routes to none whose seal does
not verify.
"""

import hashlib
from typing import Final

import msgspec
import rfc8785

from protocol.manifest import Manifest

SCHEMA: Final = "tollway.seal/1"


class Grounds(msgspec.Struct, frozen=True, kw_only=True):
    """Why a version is in its state."""

    evidence: str = ""
    """What stood for all of its evidence, see ``protocol.evidence.evidence_digest``; empty: none
    was asked for."""
    requirements: int = 0
    """The version of the model's requirements that it was judged by; 0: there were none."""
    sponsor: str = ""
    """Whose approval they asked for; empty: nobody's."""
    approver: str = ""
    """Who gave it."""


class Seal(msgspec.Struct, frozen=True, kw_only=True):
    """A signed statement. ``signer`` is the id of the key, ``signature`` hexadecimal."""

    grounds: Grounds
    encoded: str
    """:func:`encoded_digest` of the manifest: tells that it is the one of the digest without
    canonical JSON, which takes fifty times as long. Where it differs, as it may between releases,
    the digest itself decides."""
    signer: str
    signature: str


def encoded_digest(manifest: Manifest) -> str:
    """SHA-256, hex, of the manifest as this release encodes it."""
    return hashlib.sha256(msgspec.json.encode(manifest, order="deterministic")).hexdigest()


def seal_statement(
    model: str, number: int, digest: str, state: str, grounds: Grounds, encoded: str
) -> bytes:
    """What is signed, as canonical JSON (RFC 8785). ``digest`` and ``encoded`` are of the
    manifest."""
    return rfc8785.dumps(
        {
            "schema": SCHEMA,
            "model": model,
            "number": number,
            "manifest": digest,
            "encoded": encoded,
            "state": state,
            "evidence": grounds.evidence,
            "requirements": grounds.requirements,
            "sponsor": grounds.sponsor,
            "approver": grounds.approver,
        }
    )
