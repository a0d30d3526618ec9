"""Error codes of the whole system and the HTTP status each one is answered with.

Domain code raises :class:`TollwayError` with a code and two messages; it knows no HTTP. The edges
(gateway, control) turn a code into a response through :data:`STATUS`, the only such table.
"""

from enum import StrEnum

from protocol.keys import redacted


class Code(StrEnum):
    """Every way a request can fail. Documented in ``docs/reference/errors.md``."""

    MALFORMED = "malformed"
    """The body or a header cannot be parsed."""
    INVALID_TENSOR = "invalid_tensor"
    """A tensor does not fit its declared shape or type, or the model's signature."""
    UNAUTHENTICATED = "unauthenticated"
    """No credential, or one that is unknown, expired or revoked."""
    FORBIDDEN = "forbidden"
    """The credential is good but does not allow this."""
    NOT_SUBSCRIBED = "not_subscribed"
    """The application has no subscription to the model."""
    NOT_FOUND = "not_found"
    """No such path or resource."""
    MODEL_NOT_FOUND = "model_not_found"
    """No such model, or none that the caller may see."""
    VERSION_NOT_FOUND = "version_not_found"
    """The model has no such version or label, or none that the caller may see."""
    METHOD_NOT_ALLOWED = "method_not_allowed"
    """The path exists, the method does not."""
    NOT_ACCEPTABLE = "not_acceptable"
    """The response types that the client accepts cannot be produced."""
    CONFLICT = "conflict"
    """The resource exists already with other content, or its state forbids the change."""
    INCOMPATIBLE = "incompatible"
    """The version does not take or give what callers of the present one rely on."""
    ILLEGAL_TRANSITION = "illegal_transition"
    """The version's state has no such transition."""
    GONE = "gone"
    """The version was retired."""
    BROWNOUT = "brownout"
    """The version is deprecated, and refuses calls for a while as it will at its end."""
    PRECONDITION_FAILED = "precondition_failed"
    """``If-Match`` names another state than the present one."""
    TOO_LARGE = "too_large"
    """The body, batch or artifact exceeds its limit."""
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    """The content type or encoding is not one that the path takes."""
    INVALID = "invalid"
    """Well-formed, but a field's value is not acceptable."""
    CONTRACT_VIOLATION = "contract_violation"
    """A request's row is outside of the model's data contract, which is enforced."""
    UNEXPLAINABLE = "unexplainable"
    """The version's answers cannot be explained, whatever is sent."""
    INVALID_MODEL = "invalid_model"
    """The artifact is not an ONNX model that this system can run."""
    DIGEST_MISMATCH = "digest_mismatch"
    """The bytes received do not have the digest announced."""
    RATE_LIMITED = "rate_limited"
    """A rate limit of the plan is used up for now."""
    QUOTA_EXCEEDED = "quota_exceeded"
    """The plan's quota of this period is used up."""
    TOO_MANY_IN_FLIGHT = "too_many_in_flight"
    """The plan allows no more requests at once."""
    PRECONDITION_REQUIRED = "precondition_required"
    """The update needs ``If-Match`` or ``If-None-Match``."""
    NOT_READY = "not_ready"
    """No engine can answer for this version now."""
    QUEUE_FULL = "queue_full"
    """The engines' queues are full."""
    DEADLINE_UNREACHABLE = "deadline_unreachable"
    """The request could not have been answered within its deadline, and was not begun."""
    DEADLINE_EXCEEDED = "deadline_exceeded"
    """The request's deadline passed before the answer was there."""
    UNAVAILABLE = "unavailable"
    """A role that is needed for this request does not answer."""
    BODY_TIMEOUT = "body_timeout"
    """The deadline passed before the request's body was complete."""
    REMOTE_FAILED = "remote_failed"
    """The remote server that answers for the version failed, or answered what is no use."""
    INFERENCE_FAILED = "inference_failed"
    """The model itself failed on valid input."""
    INTERNAL = "internal"
    """A defect of this software."""


STATUS: dict[Code, int] = {
    Code.MALFORMED: 400,
    Code.INVALID_TENSOR: 400,
    Code.UNAUTHENTICATED: 401,
    Code.FORBIDDEN: 403,
    Code.NOT_SUBSCRIBED: 403,
    Code.NOT_FOUND: 404,
    Code.MODEL_NOT_FOUND: 404,
    Code.VERSION_NOT_FOUND: 404,
    Code.METHOD_NOT_ALLOWED: 405,
    Code.NOT_ACCEPTABLE: 406,
    Code.CONFLICT: 409,
    Code.INCOMPATIBLE: 409,
    Code.ILLEGAL_TRANSITION: 409,
    Code.GONE: 410,
    Code.BROWNOUT: 410,
    Code.PRECONDITION_FAILED: 412,
    Code.TOO_LARGE: 413,
    Code.UNSUPPORTED_MEDIA_TYPE: 415,
    Code.INVALID: 422,
    Code.CONTRACT_VIOLATION: 422,
    Code.UNEXPLAINABLE: 422,
    Code.INVALID_MODEL: 422,
    Code.DIGEST_MISMATCH: 422,
    Code.PRECONDITION_REQUIRED: 428,
    Code.RATE_LIMITED: 429,
    Code.QUOTA_EXCEEDED: 429,
    Code.TOO_MANY_IN_FLIGHT: 429,
    Code.NOT_READY: 503,
    Code.QUEUE_FULL: 503,
    Code.DEADLINE_UNREACHABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
    Code.BODY_TIMEOUT: 504,
    Code.UNAVAILABLE: 503,
    Code.REMOTE_FAILED: 502,
    Code.INFERENCE_FAILED: 400,
    Code.INTERNAL: 500,
}
"""HTTP status of each code. ``INFERENCE_FAILED`` is 400: a run fails on what the client sent (an
index out of range, a string that the graph cannot parse), and retrying it cannot help."""


class TollwayError(Exception):
    """A failure with a code, a message for the client and, where it helps, one for the log.

    ``public`` says what is wrong, where, and what to do; it never holds a secret or internals.
    ``internal`` goes to the log only. ``retry_after_s`` is set where it is known when the same
    request can succeed.
    """

    def __init__(
        self, code: Code, public: str, internal: str = "", *, retry_after_s: int | None = None
    ) -> None:
        # Messages repeat what was sent, and people paste secrets where names belong.
        public = redacted(public)
        super().__init__(public)
        self.retry_after_s = retry_after_s
        self.code = code
        self.public = public
        self.internal = redacted(internal)

    @property
    def status(self) -> int:
        """The HTTP status of the code."""
        return STATUS[self.code]
