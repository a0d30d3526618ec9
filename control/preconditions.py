"""Entity tags and conditional updates (RFC 9110, sections 8.8.3 and 13.1), and what makes repeating
a POST safe."""

import hashlib
import re

from pydantic import BaseModel

from control.resources import Resource
from protocol.errors import Code, TollwayError

_TAG = re.compile(r'(W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_TAG_DIGITS = 32
MAX_IDEMPOTENCY_KEY = 255


def etag(resource: BaseModel) -> str:
    """The strong entity tag of a resource: it changes whenever what is managed about it does."""
    volatile = resource.volatile if isinstance(resource, Resource) else frozenset[str]()
    shown = resource.model_dump_json(exclude=set(volatile))
    digest = hashlib.sha256(shown.encode()).hexdigest()
    return f'"{digest[:_TAG_DIGITS]}"'


class Precondition:
    """``If-Match`` and ``If-None-Match`` of a request, as they were sent; None where absent."""

    def __init__(self, if_match: str | None = None, if_none_match: str | None = None) -> None:
        self._if_match = if_match
        self._if_none_match = if_none_match

    def check(self, current: BaseModel | None) -> None:
        """Raise ``PRECONDITION_FAILED`` unless ``current`` (None: there is none) is as expected.

        Call it in the transaction that changes the resource.
        """
        tag = None if current is None else etag(current)
        if self._if_match is not None and not _matches(self._if_match, tag, weak=False):
            present = "does not exist" if tag is None else f"has the tag {tag}"
            raise TollwayError(
                Code.PRECONDITION_FAILED,
                f"If-Match does not hold: the resource {present}; read it again and repeat",
            )
        if self._if_none_match is not None and _matches(self._if_none_match, tag, weak=True):
            raise TollwayError(
                Code.PRECONDITION_FAILED, "If-None-Match does not hold: the resource exists already"
            )


NO_PRECONDITION = Precondition()
"""Holds always."""


def check_idempotency_key(idempotency_key: str | None) -> None:
    """Raise ``INVALID`` for an ``Idempotency-Key`` that is empty or too long to be kept."""
    if idempotency_key is not None and not 0 < len(idempotency_key) <= MAX_IDEMPOTENCY_KEY:
        raise TollwayError(
            Code.INVALID, f"Idempotency-Key must have 1 to {MAX_IDEMPOTENCY_KEY} characters"
        )


def _matches(header: str, tag: str | None, *, weak: bool) -> bool:
    if tag is None:
        return False
    if header.strip() == "*":
        return True
    sent = [match.group(0) for match in _TAG.finditer(header)]
    if not sent:
        raise TollwayError(Code.MALFORMED, 'an entity tag is written in quotes: "..."')
    return tag in (one.removeprefix("W/") if weak else one for one in sent)
