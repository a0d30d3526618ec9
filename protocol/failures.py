"""Why predictions fail, in the words of Triton's ``nv_inference_request_failure``."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from protocol.errors import Code


class Failure(IntEnum):
    """A reason; its name is the metrics' label, its number is what frames carry."""

    OTHER = 0
    """The request itself: malformed, not allowed, for something that is not there."""
    REJECTED = 1
    """Not taken: a full queue, a limit, a deadline that cannot be kept, no engine."""
    CANCELED = 2
    """Its client went away."""
    BACKEND = 3
    """The model failed on it, its remote server, or this software."""


_FAILURES: Final[Mapping[Code, Failure]] = {
    Code.RATE_LIMITED: Failure.REJECTED,
    Code.QUOTA_EXCEEDED: Failure.REJECTED,
    Code.TOO_MANY_IN_FLIGHT: Failure.REJECTED,
    Code.NOT_READY: Failure.REJECTED,
    Code.QUEUE_FULL: Failure.REJECTED,
    Code.DEADLINE_UNREACHABLE: Failure.REJECTED,
    Code.DEADLINE_EXCEEDED: Failure.REJECTED,
    Code.UNAVAILABLE: Failure.REJECTED,
    Code.INFERENCE_FAILED: Failure.BACKEND,
    Code.REMOTE_FAILED: Failure.BACKEND,
    Code.INTERNAL: Failure.BACKEND,
}


def failure_of(code: Code) -> Failure:
    """The reason that an error counts as."""
    return _FAILURES.get(code, Failure.OTHER)
