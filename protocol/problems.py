"""Problem documents (RFC 9457): the one shape of every error of the management API, whichever role
answers with it. Pure; edges turn it into a response."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

import msgspec

from protocol.errors import STATUS, Code, TollwayError
from protocol.keys import redacted

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:tollway:error:"


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


def problem(
    code: Code, detail: str, *, status: int = 0, errors: Iterable[FieldError] = ()
) -> Problem:
    """The problem of ``code``; its status comes from the table of codes unless given."""
    number = status or STATUS[code]
    return Problem(
        type=TYPE_PREFIX + code.value,
        title=HTTPStatus(number).phrase,
        status=number,
        detail=redacted(detail),
        code=code.value,
        errors=tuple(
            FieldError(redacted(error.field), redacted(error.message)) for error in errors
        ),
    )


def of_error(error: TollwayError) -> Problem:
    """The problem that an error of the domain is answered with: its public message only."""
    return problem(error.code, error.public)


def encode(body: Problem) -> bytes:
    """The problem as JSON."""
    return msgspec.json.encode(body)
