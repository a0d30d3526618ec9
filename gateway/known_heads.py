"""What request heads say that were read before: clients repeat theirs byte for byte.

Parsing a head and reading its fields is half of what a small prediction costs a gateway. The same
bytes always say the same, so that they are read once. Whether the caller may do what they ask is
judged anew every time; nothing here is a decision.
"""

from copy import copy
from typing import Final

import msgspec

from policies.base import Call

LONGEST: Final = 2048
"""Bytes of a head that is remembered."""
MOST: Final = 4096
"""Heads that are remembered; then all are forgotten, and the common ones are soon known again."""
END: Final = b"\r\n\r\n"


class KnownHead(msgspec.Struct, frozen=True):
    """What one head says."""

    call: Call
    """As it stands before anything is decided."""
    body_bytes: int

    def said(self, started: float, client: str) -> Call:
        """A call of its own for a request that has this head."""
        call = copy(self.call)
        call.started = started
        call.client = client
        return call


class KnownHeads:
    """Heads of requests that were admitted, so that nobody fills this who may not call."""

    def __init__(self) -> None:
        self._known: dict[bytes, KnownHead] = {}
        self.get = self._known.get

    def __len__(self) -> int:
        return len(self._known)

    def learn(self, head: bytes, known: KnownHead) -> None:
        """Remember what ``head`` says, unless it is one of those that do not come again."""
        if known.call.request_id or known.call.traceparent:
            return
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[head] = known


def head_of(data: bytes) -> bytes:
    """The bytes at the start of ``data`` that look like a whole head; nothing if none does."""
    return data[: data.find(END, 0, LONGEST) + len(END)] if data.startswith(b"POST /") else b""


def is_memorable(head: bytes) -> bool:
    """Whether all readers agree on where ``head`` ends: a bare line end, which no parser should
    take, could end it earlier."""
    return head.endswith(END) and head.count(b"\n") == head.count(b"\r\n")
