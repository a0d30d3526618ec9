"""Captures: payloads of predictions that a model's publisher may keep, on their way to control."""

from typing import Final

import msgspec

MAX_BATCH_BYTES: Final = 1 << 20
"""A batch has at most so many bytes of payload, or a single capture."""
CEILING_BYTES: Final = 8 << 20
"""Most that a capture can have, whatever a gateway is set to: control takes no larger body."""


class Captured(msgspec.Struct, frozen=True, kw_only=True):
    """One prediction with its payload, in MessagePack. Of the headers only what says how to read
    the bodies is there: never a credential."""

    id: str
    """Prediction id."""
    at_ms: int
    """UNIX milliseconds when the answer was ready."""
    application: str
    """Empty for a management token."""
    model: str
    version: int
    variant: str
    operation: int
    """:class:`protocol.frames.Operation`."""
    rows: int
    shared: bool
    """Whether the run was shared with other requests."""
    request_header: int
    """Inference-Header-Content-Length; :data:`protocol.frames.NO_HEADER`: none."""
    request_coding: str
    """Content coding in which the request came; the body here is the plain one."""
    answer_header: int
    answer_coding: str
    """Content coding that the client wanted the answer in."""
    request: bytes
    answer: bytes


encode_batch: Final = msgspec.msgpack.Encoder().encode
decode_batch: Final = msgspec.msgpack.Decoder(list[Captured]).decode
