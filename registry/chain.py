"""The chain of audit entries: what is hashed, and how.

Each entry holds the SHA-256 of its own canonical JSON (RFC 8785), and that JSON holds the hash of
the entry before it, so that none can be edited, removed, moved or put in without a trace.
"""

import hashlib
from collections.abc import Mapping
from typing import Final

import msgspec
import rfc8785

GENESIS: Final = "0" * 64
"""What stands where the first entry would have an earlier one's hash."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the log, without its own hash. ``before`` and ``after`` are JSON texts."""

    seq: int
    """1, 2, 3 ... without a gap."""
    at_ms: int
    actor: str
    role: str
    address: str
    request_id: str
    reason: str
    action: str
    """``KIND.VERB`` in the past tense: ``key.created``, ``alias.moved``."""
    kind: str
    key: str
    before: str | None
    after: str | None
    previous: str


FIELDS: Final = Entry.__struct_fields__
"""The names of what is hashed."""


def entry_hash(entry: Entry) -> str:
    """SHA-256 of the entry's canonical JSON, hex."""
    return content_hash(msgspec.structs.asdict(entry))


def content_hash(fields: Mapping[str, object]) -> str:
    """SHA-256 of the canonical JSON of ``fields``, hex.

    Raises ``ValueError`` for what canonical JSON cannot hold: no entry that was recorded does.
    """
    try:
        return hashlib.sha256(rfc8785.dumps(dict(fields))).hexdigest()  # type: ignore[arg-type]
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise ValueError(str(error)) from error
