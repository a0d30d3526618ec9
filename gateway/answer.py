"""What the gateway answers with, before any web framework sees it."""

import msgspec

from protocol.errors import STATUS, Code, TollwayError
from protocol.failures import Failure, failure_of
from protocol.frames import NO_HEADER, WARNED, Frame

Headers = list[tuple[bytes, bytes]]

CONTENT_TYPE_JSON = (b"content-type", b"application/json")
CONTENT_TYPE_BINARY = (b"content-type", b"application/octet-stream")
RETRY_AFTER = (b"retry-after", b"1")
OUTSIDE_CONTRACT = (b"tollway-contract", b"violated")
"""Of an answer to a request that breaks a data contract in the mode ``warn``."""
_RETRY_CODES = frozenset({Code.NOT_READY, Code.QUEUE_FULL, Code.UNAVAILABLE})
_UNREAD_CODES = frozenset({Code.TOO_LARGE, Code.BODY_TIMEOUT})
"""After these, what is left of the request is not read."""
FAILURES_FROM = 400
"""Statuses from here on are no predictions."""
_NUMBERS = frozenset(Failure)
_NO_BODY: list[tuple[bytes, bytes]] = []


EXPOSED = (
    b"Deprecation, Inference-Header-Content-Length, Link, RateLimit, RateLimit-Policy, "
    b"Retry-After, Server-Timing, Sunset, Tollway-Contract, Tollway-Prediction-Id, "
    b"Tollway-Variant, Tollway-Version, X-Request-Id"
)
"""Response headers that a page may read beside the few that it always may."""


def readable_by(origin: bytes) -> Headers:
    """The headers that let pages of ``origin`` read an answer."""
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", EXPOSED),
        (b"vary", b"Origin"),
    ]


class Answer:
    """Status, headers (lower-case names, without ``content-length``) and body."""

    __slots__ = ("body", "closes", "failure", "headers", "status")

    def __init__(
        self,
        status: int,
        headers: Headers,
        body: bytes,
        closes: bool = False,
        failure: Failure | None = None,
    ) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.closes = closes
        """Whether the connection ends with this answer: what is left of the request is not read."""
        self.failure = failure
        """Why it is no prediction."""


def error_answer(error: TollwayError, headers: Headers = _NO_BODY) -> Answer:
    """``{"error": "..."}``, as clients of the prediction protocols expect it."""
    extra: Headers = [CONTENT_TYPE_JSON, *headers]
    if error.retry_after_s is not None:
        extra.append((b"retry-after", b"%d" % error.retry_after_s))
    elif error.code in _RETRY_CODES:
        extra.append(RETRY_AFTER)
    if error.code is Code.UNAUTHENTICATED:
        extra.append((b"www-authenticate", b'Bearer realm="tollway"'))
    body = msgspec.json.encode({"error": error.public})
    closes = error.code in _UNREAD_CODES
    return Answer(error.status, extra, body, closes, failure_of(error.code))


def engine_answer(reply: Frame, headers: Headers) -> Answer:
    """What an engine replied. Goes on with the list ``headers``."""
    if reply.d == NO_HEADER:
        headers.append(CONTENT_TYPE_JSON)
    else:
        headers.append(CONTENT_TYPE_BINARY)
        headers.append((b"inference-header-content-length", b"%d" % reply.d))
    if reply.flags & WARNED:
        headers.append(OUTSIDE_CONTRACT)
    if reply.status == STATUS[Code.QUEUE_FULL]:
        headers.append(RETRY_AFTER)
    return Answer(reply.status, headers, reply.body, failure=_failure(reply))


def _failure(reply: Frame) -> Failure | None:
    if reply.status < FAILURES_FROM:
        return None
    return Failure(reply.b) if reply.flags and reply.b in _NUMBERS else Failure.OTHER


def server_timing(queue_us: int, infer_us: int, total_s: float) -> tuple[bytes, bytes]:
    """``Server-Timing`` (W3C): milliseconds in the engine's queue, in its run, and the rest."""
    rest_ms = max(0.0, total_s * 1000 - (queue_us + infer_us) / 1000)
    timing = b"queue;dur=%.3f, infer;dur=%.3f, gateway;dur=%.3f"
    return (b"server-timing", timing % (queue_us / 1000, infer_us / 1000, rest_ms))
