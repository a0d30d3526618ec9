"""What control itself refuses, before or beside the domain, as problem documents."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus

from protocol.errors import Code
from protocol.problems import FieldError, Problem, problem

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


def _message(error: Mapping[str, object]) -> str:
    context = error.get("ctx")
    if error.get("type") == "json_invalid" and isinstance(context, Mapping):
        return str(context.get("error", "invalid"))
    return str(error.get("msg", "invalid"))
