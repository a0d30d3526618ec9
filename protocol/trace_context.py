"""W3C Trace Context: the ``traceparent`` and ``tracestate`` headers.

https://www.w3.org/TR/trace-context/ -- what does not follow it is ignored, never refused: a trace
is about a request, not part of it.
"""

import re
from typing import Final

import msgspec

SAMPLED: Final = 0x01
MAX_TRACESTATE_BYTES: Final = 512
"""What the standard asks everybody to pass on; a longer one is dropped whole."""
_PARENT: Final = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?",
    re.DOTALL,
)
_MEMBER: Final = re.compile(
    r"(?:[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
    r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
_MAX_MEMBERS: Final = 32


class TraceContext(msgspec.Struct, frozen=True, gc=False):
    """A span that others' spans are children of."""

    trace_id: int
    """128 bits, not 0."""
    span_id: int
    """64 bits, not 0."""
    sampled: bool
    """Whether who began the trace records it."""

    @property
    def traceparent(self) -> bytes:
        """The header that makes the receiver's spans children of this one."""
        return b"00-%032x-%016x-%02x" % (self.trace_id, self.span_id, self.sampled)


def parse_traceparent(value: bytes) -> TraceContext | None:
    """The caller's span; None when the header is not valid."""
    found = _PARENT.fullmatch(value)
    if found is None or (found[1] == b"00" and found[5] is not None):
        return None
    sampled = bool(int(found[4], 16) & SAMPLED)
    return TraceContext(int(found[2], 16), int(found[3], 16), sampled)


def parse_tracestate(value: bytes) -> list[tuple[str, str]]:
    """The members, in their order; empty when any of them is not valid."""
    if not value or len(value) > MAX_TRACESTATE_BYTES or not value.isascii():
        return []
    members: dict[str, str] = {}
    for part in value.decode().split(","):
        member = part.strip(" \t")
        if not member:
            continue  # the standard allows empty ones
        key, _, text = member.partition("=")
        if _MEMBER.fullmatch(member) is None or key in members:
            return []
        members[key] = text
    return list(members.items()) if len(members) <= _MAX_MEMBERS else []
