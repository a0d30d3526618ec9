"""The usage record: one line per answered prediction request."""

from typing import Final

import msgspec

from protocol.errors import Code

LIMITS: Final[dict[Code, str]] = {
    Code.RATE_LIMITED: "rate",
    Code.QUOTA_EXCEEDED: "quota",
    Code.TOO_MANY_IN_FLIGHT: "concurrency",
    Code.TOO_LARGE: "size",
}
"""The code of a refusal -> the kind of limit that refused."""


class UsageRecord(msgspec.Struct, frozen=True, array_like=True):
    """One acknowledged request, written as one JSON array on one line of the usage log."""

    at_ms: int
    """UNIX milliseconds when the answer was ready."""
    application: str
    """Empty for a management token."""
    key: str
    """Id of the key, never the secret."""
    model: str
    version: int
    """0 when the request was refused before a version was chosen."""
    variant: str
    status: int
    rows: int
    queue_us: int
    infer_us: int
    total_us: int
    bytes_in: int
    bytes_out: int
    prediction_id: str
    plan: str = ""
    """Name of the plan under which the request was taken in. Empty for a management token, for a
    request refused before its subscription was looked at, and in records of earlier gateways."""
    failed: bool = False
    """Whether the version failed on it, or its server, or this software: also where the status says
    that the request asked for what the model cannot do."""
    explanation: bool = False
    """Whether an explanation was asked for. It counts as a call; how long it took says nothing of
    how long predictions take."""
    limit: str = ""
    """The kind of limit that refused it (:data:`LIMITS`); empty: none did."""


class UsageReceipt(msgspec.Struct, frozen=True):
    """Answer to a shipped batch: the next byte offset that control wants of this segment."""

    next: int
