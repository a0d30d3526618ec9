"""Digests as they come from outside, and of files."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from protocol.errors import Code, TollwayError
from registry.blobstore import CHUNK_BYTES

DIGEST_PATTERN = r"^sha256:[0-9a-f]{64}$"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def check_digest(digest: str) -> str:
    """Return ``digest`` when it is ``sha256:`` and 64 hex digits; raise ``INVALID`` otherwise."""
    if _DIGEST.fullmatch(digest) is None:
        raise TollwayError(
            Code.INVALID, f"digest {digest[:80]!r} is not 'sha256:' and 64 lower-case hex digits"
        )
    return digest


def file_chunks(path: Path) -> Iterable[bytes]:
    """The bytes of ``path`` in chunks."""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def digest_of(chunks: Iterable[bytes]) -> str:
    """``sha256:`` and the hex digest of the chunks together."""
    sha = hashlib.sha256()
    for chunk in chunks:
        sha.update(chunk)
    return "sha256:" + sha.hexdigest()


def digest_mismatch(announced: str, found: str) -> TollwayError:
    """The error for bytes that are not those announced."""
    return TollwayError(
        Code.DIGEST_MISMATCH,
        f"the bytes received have digest {found}, announced was {announced}; upload them again",
    )
