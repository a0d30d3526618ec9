"""Conditions on a resource's present state, and the headers that state them (RFC 9110).

A condition is the ETag that the resource must have, :data:`ANY`, :data:`ABSENT`, or None for no
condition. It is checked in the transaction that makes the change.
"""

import re
from typing import Final

from protocol.errors import Code, TollwayError

ANY: Final = "*"
"""It must exist, in whatever state."""
ABSENT: Final = ""
"""It must not exist."""

_TAG = re.compile(r'"([\x21\x23-\x7e]+)"')


def holds(expected: str | None, present: str | None) -> bool:
    """Whether the condition holds for a resource whose ETag is ``present``; None: there is none."""
    if expected is None:
        return True
    if present is None:
        return expected == ABSENT
    return expected in (ANY, present)


def quoted(etag: str) -> str:
    """``etag`` as a header has it."""
    return f'"{etag}"'


def expected_state(if_match: str | None, if_none_match: str | None) -> str | None:
    """What the headers expect: an ETag, ``ANY``, ``ABSENT``, or None without a condition.

    Raises ``MALFORMED`` for anything but one strong tag or ``*``: a condition that is not
    understood must not be taken for none.
    """
    if if_match is not None and if_none_match is not None:
        raise TollwayError(Code.MALFORMED, "send If-Match or If-None-Match, not both")
    if if_none_match is not None:
        if if_none_match.strip() != "*":
            raise TollwayError(Code.MALFORMED, "If-None-Match is only understood as '*' here")
        return ABSENT
    if if_match is None:
        return None
    if if_match.strip() == "*":
        return ANY
    tag = _TAG.fullmatch(if_match.strip())
    if tag is None:
        raise TollwayError(Code.MALFORMED, 'If-Match must be one strong tag, as in "abc", or *')
    return tag[1]


def required_state(if_match: str | None, if_none_match: str | None) -> str:
    """As :func:`expected_state`; raises ``PRECONDITION_REQUIRED`` without a condition."""
    expected = expected_state(if_match, if_none_match)
    if expected is None:
        raise TollwayError(
            Code.PRECONDITION_REQUIRED,
            'send If-Match: "ETAG" to move what is there, or If-None-Match: * to make it',
        )
    return expected
