"""Problem documents (RFC 9457): the one shape of every error that control answers with."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus

import msgspec

from protocol.errors import STATUS, Code, TollwayError

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:tollway:error:"


class FieldError(msgspec.Struct, frozen=True):
    """One field of the request that is not acceptable."""

    field: str
    """Where it stands: ``body.models.0``, ``query.limit``."""
    message: str


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Body of an error answer."""

    type: str
    """A URN that ends with the code."""
    title: str
    status: int
    detail: str
    code: str
    errors: tuple[FieldError, ...] = ()


_CODES_OF_STATUS: dict[int, Code] = {
    400: Code.MALFORMED,
    401: Code.UNAUTHENTICATED,
    403: Code.FORBIDDEN,
    404: Code.NOT_FOUND,
    405: Code.METHOD_NOT_ALLOWED,
    406: Code.NOT_ACCEPTABLE,
    413: Code.TOO_LARGE,
    415: Code.UNSUPPORTED_MEDIA_TYPE,
    422: Code.INVALID,
    503: Code.UNAVAILABLE,
}
"""Codes of what the framework itself refuses."""


def problem(
    code: Code, detail: str, *, status: int = 0, errors: Iterable[FieldError] = ()
) -> Problem:
    """The problem of ``code``; its status comes from the table of codes unless given."""
    number = status or STATUS[code]
    return Problem(
        type=TYPE_PREFIX + code.value,
        title=HTTPStatus(number).phrase,
        status=number,
        detail=detail,
        code=code.value,
        errors=tuple(errors),
    )


def of_error(error: TollwayError) -> Problem:
    """The problem that an error of the domain is answered with: its public message only."""
    return problem(error.code, error.public)


def of_status(status: int, detail: str) -> Problem:
    """The problem of a refusal by the framework, which knows only a status."""
    code = _CODES_OF_STATUS.get(status)
    if code is None:
        code = Code.INTERNAL if status >= HTTPStatus.INTERNAL_SERVER_ERROR else Code.MALFORMED
    return problem(code, detail, status=status)


def of_validation(errors: Iterable[Mapping[str, object]]) -> Problem:
    """The problem of a request that does not fit the route's declaration, naming each field.

    Takes errors in pydantic's form. What the client sent is never echoed: it may be a secret.
    """
    fields: list[FieldError] = []
    for error in errors:
        if error.get("type") == "json_invalid":
            return problem(Code.MALFORMED, f"the body is not JSON: {_message(error)}")
        place = error.get("loc")
        parts = place if isinstance(place, tuple | list) else ()
        fields.append(FieldError(".".join(str(part) for part in parts), _message(error)))
    detail = "; ".join(f"{field.field}: {field.message}" for field in fields)
    return problem(Code.INVALID, detail or "the request is not acceptable", errors=fields)


def internal() -> Problem:
    """The problem of a defect: says nothing about it. The log has the rest."""
    return problem(Code.INTERNAL, "an internal error; the log of control has the details")


def encode(body: Problem) -> bytes:
    """The problem as JSON."""
    return msgspec.json.encode(body)


def _message(error: Mapping[str, object]) -> str:
    context = error.get("ctx")
    if error.get("type") == "json_invalid" and isinstance(context, Mapping):
        return str(context.get("error", "invalid"))
    return str(error.get("msg", "invalid"))
