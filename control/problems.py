"""What control itself refuses, before or beside the domain, as problem documents."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Final

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
    """What is wrong, in words that do not depend on how the software checks it."""
    kind, context = str(error.get("type")), error.get("ctx")
    known = context if isinstance(context, Mapping) else {}
    if kind == "json_invalid":
        return str(known.get("error", "invalid"))
    if kind in _PLAIN:
        return _PLAIN[kind]
    if kind in _LENGTHS:
        words, bound, unit = _LENGTHS[kind]
        number = known.get(bound)
        return f"must have {words} {number} {unit}{'' if number == 1 else 's'}"
    text = str(error.get("msg", "invalid"))
    for framework, plain in _WORDS:
        if text.startswith(framework):
            return plain + text.removeprefix(framework)
    return text


_PLAIN: Final = {
    "missing": "is required",
    "extra_forbidden": "is not known here",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "string_type": "must be a text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "timezone_aware": "must say its time zone, as in 2027-01-15T08:00:00Z",
    "datetime_from_date_parsing": "must be a time, as in 2027-01-15T08:00:00Z",
    "datetime_parsing": "must be a time, as in 2027-01-15T08:00:00Z",
}
"""Type of an error -> the message."""
_LENGTHS: Final = {
    "too_short": ("at least", "min_length", "item"),
    "too_long": ("at most", "max_length", "item"),
    "string_too_short": ("at least", "min_length", "character"),
    "string_too_long": ("at most", "max_length", "character"),
}
"""Type of an error -> words, the bound's name in its context, what is counted."""
_WORDS: Final = (("Value error, ", ""), ("Input should ", "must "), ("String should ", "must "))
"""Beginnings of other messages, and what stands there instead."""
