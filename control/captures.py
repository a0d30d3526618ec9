"""Captured payloads: who may read them, and what the management API shows."""

import re
from base64 import b64encode
from typing import Final, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from control.reach import reach_of
from control.resources import MAX_TIME_MS
from control.store.captures import CaptureRow, Captures, Sought
from protocol.captures import CEILING_BYTES, Captured, decode_batch
from protocol.errors import Code, TollwayError
from protocol.frames import NO_HEADER, Operation
from protocol.receipts import parse_id
from registry.access import Actor
from registry.clock import rfc3339

_CURSOR: Final = re.compile(r"(\d{1,15})-([0-9a-f-]{1,64})")
_NAME: Final = 63
_SHORT: Final = 16
_MAX_ID: Final = 64
_MAX_INTEGER: Final = 2**31 - 1

Path = Literal["v2_infer", "v1_predict"]
_PATHS: Final[dict[int, Path]] = {
    Operation.V2_INFER: "v2_infer",
    Operation.V1_PREDICT: "v1_predict",
}


class Capture(BaseModel):
    """A captured prediction, without its payload."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(description="Id of the prediction.")
    at: str
    model: str
    version: int
    variant: str
    application: str | None = Field(description="Null for a management token.")
    path: Path = Field(description="What was asked for: `/v2/.../infer` or `/v1/...:predict`.")
    rows: int
    bytes: int = Field(description="Of request and answer together.")
    shared_run: bool = Field(
        description="Whether the engine ran it together with other requests: then numbers may "
        "differ in their last bits from a run of its own."
    )
    request_header_length: int | None = Field(
        description="`Inference-Header-Content-Length` of a binary request."
    )
    request_coding: str | None = Field(description="Content coding in which it came.")
    answer_header_length: int | None
    answer_coding: str | None


class CapturePayload(Capture):
    """A captured prediction. Bodies are plain, whatever coding they were sent in."""

    request: str = Field(description="Body of the request, base64.")
    answer: str = Field(description="Body of the answer, base64.")


class Removed(BaseModel):
    """How many captures were removed."""

    removed: int


def decode_captures(body: bytes) -> list[Captured]:
    """What a gateway has sent. Raises ``INVALID``."""
    try:
        found = decode_batch(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # Not what is wrong with it: a payload has no place in an error.
        raise TollwayError(Code.INVALID, "not a batch of captures") from error
    if not all(_is_storable(one) for one in found):
        raise TollwayError(Code.INVALID, "a capture holds what cannot be stored")
    return found


def _is_storable(one: Captured) -> bool:
    short = (one.variant, one.request_coding, one.answer_coding)
    return (
        parse_id(one.id) is not None
        and len(one.id) <= _MAX_ID
        and 0 <= one.at_ms <= MAX_TIME_MS
        and max(len(one.application), len(one.model)) <= _NAME
        and all(len(text) <= _SHORT for text in short)
        and not any("\0" in text for text in (one.application, one.model, *short))
        and 0 < one.version <= _MAX_INTEGER
        and one.operation in _PATHS
        and 0 <= one.rows <= NO_HEADER
        and min(one.request_header, one.answer_header) >= 0
        and max(one.request_header, one.answer_header) <= NO_HEADER
        and len(one.request) + len(one.answer) <= CEILING_BYTES
    )


class CaptureReading:
    """Answers for captures. Thread-safe; calls block."""

    def __init__(self, store: Captures) -> None:
        self._store = store

    def page(self, sought: Sought, limit: int, after: str) -> tuple[list[Capture], str | None]:
        """The newest first, and where the next page begins. Who asks manages the model."""
        rows = self._store.page(sought, limit + 1, _cursor(after))
        following = f"{rows[limit - 1].at_ms}-{rows[limit - 1].id}" if len(rows) > limit else None
        return [_capture(row) for row in rows[:limit]], following

    def payload(self, actor: Actor, id: str) -> CapturePayload:
        """A capture with its payload. That it was read is in the audit log.

        Those may read it who manage the model, and the consumer whose application has sent it;
        for all others there is none. Raises ``NOT_FOUND``.
        """
        found = self._store.find(id)
        if found is None or not may_read(actor, found[0].model, found[1]):
            raise _none(id)
        bodies = self._store.read(id)
        if bodies is None:
            raise _none(id)
        request, answer = (b64encode(body).decode() for body in bodies)
        facts = _capture(found[0]).model_dump()
        return CapturePayload.model_validate({**facts, "request": request, "answer": answer})


def may_read(actor: Actor, model: str, consumer: str | None) -> bool:
    """Whether payloads of the model that an application of ``consumer`` has sent are for them."""
    if actor.role == "consumer":
        return consumer is not None and reach_of(actor).has_consumer(consumer)
    return reads_payloads(actor, model)


def reads_payloads(actor: Actor, model: str) -> bool:
    """Whether payloads of the model's predictions are for them, whoever has sent these."""
    return actor.role in {"admin", "publisher"} and actor.manages_model(model)


def _none(id: str) -> TollwayError:
    return TollwayError(
        Code.NOT_FOUND,
        f"there is no captured payload of {id[:80]!r}: capture keeps the share of the predictions "
        "that the model's publisher has set (capture_percent), for capture_days; what was answered "
        "a moment ago may still come",
    )


def _capture(row: CaptureRow) -> Capture:
    return Capture(
        id=row.id,
        at=rfc3339(row.at_ms),
        model=row.model,
        version=row.version,
        variant=row.variant,
        application=row.application or None,
        path=_PATHS[row.operation],
        rows=row.rows,
        bytes=row.bytes,
        shared_run=row.shared,
        request_header_length=_length(row.request_header),
        request_coding=row.request_coding or None,
        answer_header_length=_length(row.answer_header),
        answer_coding=row.answer_coding or None,
    )


def _length(header: int) -> int | None:
    return None if header == NO_HEADER else header


def _cursor(after: str) -> tuple[int, str] | None:
    if not after:
        return None
    found = _CURSOR.fullmatch(after)
    if found is None:
        raise TollwayError(Code.INVALID, "query.after: not the `next` of a page")
    return int(found[1]), found[2]
