"""``/blobs`` and their resumable uploads. Bytes stream in both directions."""

import asyncio
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse

from protocol import problems
from registry.access import ARTIFACT_READERS, PUBLISHERS, Actor, Require
from registry.blobs import Blobs, blob_not_found
from registry.blobstore import CHUNK_BYTES
from registry.digests import DIGEST_PATTERN
from registry.inputs import MAX_EXACT, UploadInput
from registry.outputs import BlobOutput, PresentOutput, UploadOutput
from registry.routes_application import TheRegistry
from registry.store.blobs import BlobRecord
from registry.uploads import OffsetConflict, Piece

OFFSET = "Upload-Offset"
LENGTH = "Upload-Length"
IDLE_S = 30.0
"""How long a piece may bring nothing: nobody else can touch the upload while it is open."""

_BYTES = "application/octet-stream"
_RANGE = re.compile(r"bytes=([0-9]{1,18})-")

DigestPath = Annotated[str, Path(pattern=DIGEST_PATTERN)]
UploadId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
UploadOffset = Annotated[
    int, Header(ge=0, le=MAX_EXACT, description="Where the piece begins: the present offset.")
]


def blob_router(require: Require) -> APIRouter:
    """Routes of blobs and uploads."""
    router = APIRouter(tags=["blobs"])
    _add_uploads(router, require)
    _add_blobs(router, require)
    return router


def _add_uploads(router: APIRouter, require: Require) -> None:
    publisher = Annotated[Actor, Depends(require(*PUBLISHERS))]

    def own(registry: TheRegistry, id: UploadId, actor: publisher) -> Actor:
        """Uploads belong to their creator; admins reach all."""
        registry.uploads.get(id, None if actor.models is None else actor.name)
        return actor

    uploader = Annotated[Actor, Depends(own)]

    @router.post("/blobs/uploads", status_code=201, responses={200: {"model": PresentOutput}})
    def begin_upload(
        registry: TheRegistry, body: UploadInput, response: Response, actor: publisher
    ) -> UploadOutput | PresentOutput:
        """Announce an upload; 200 when the blob is there already."""
        known = not body.fresh and registry.permissions.reads_blob(actor, body.digest)
        begun = registry.uploads.begin(body.digest, body.size, actor=actor.name, known=known)
        if isinstance(begun, BlobRecord):
            response.status_code = HTTPStatus.OK
            response.headers["Location"] = f"/api/v1/blobs/{begun.digest}"
            return PresentOutput(digest=begun.digest, size=begun.size)
        response.headers["Location"] = f"/api/v1/blobs/uploads/{begun.id}"
        response.headers[OFFSET] = "0"
        return UploadOutput.of(begun, 0)

    @router.head("/blobs/uploads/{id}")
    def upload_offset(registry: TheRegistry, id: UploadId, _actor: uploader) -> Response:
        """How many bytes have arrived, in ``Upload-Offset``."""
        record = registry.uploads.get(id)
        offset = registry.uploads.offset(id)
        return Response(
            headers={OFFSET: str(offset), LENGTH: str(record.size), "Cache-Control": "no-store"}
        )

    @router.patch("/blobs/uploads/{id}", status_code=204, openapi_extra=_RAW_BODY)
    async def append(
        registry: TheRegistry,
        id: UploadId,
        request: Request,
        upload_offset: UploadOffset,
        _actor: uploader,
    ) -> Response:
        """Bring one piece; what arrived stays when the connection breaks or brings nothing more."""
        length = request.headers.get("content-length", "")
        try:
            piece = await run_in_threadpool(
                registry.uploads.open_piece,
                id,
                upload_offset,
                int(length) if length.isdecimal() else None,
            )
        except OffsetConflict as conflict:
            return _conflict(conflict)
        try:
            stalled = await _receive(request, piece)
        finally:
            piece.close()
        if stalled:
            stands = f"nothing came for {IDLE_S:.0f} s; the upload stands at offset {piece.offset}"
            answer = _conflict(OffsetConflict(piece.offset, stands))
            answer.headers["Connection"] = "close"  # what may still come is no other request
            return answer
        return Response(status_code=HTTPStatus.NO_CONTENT, headers={OFFSET: str(piece.offset)})

    @router.post("/blobs/uploads/{id}/complete", status_code=201, response_model=BlobOutput)
    def complete_upload(
        registry: TheRegistry, id: UploadId, response: Response, _actor: uploader
    ) -> object:
        """Check the digest and make the upload a blob."""
        try:
            record = registry.uploads.complete(id)
        except OffsetConflict as conflict:
            return _conflict(conflict)
        response.headers["Location"] = f"/api/v1/blobs/{record.digest}"
        return BlobOutput.of(record)

    @router.delete("/blobs/uploads/{id}", status_code=204)
    def cancel_upload(registry: TheRegistry, id: UploadId, _actor: uploader) -> None:
        """Forget the upload and its bytes."""
        registry.uploads.cancel(id)


def _add_blobs(router: APIRouter, require: Require) -> None:
    allowed = Annotated[Actor, Depends(require(*ARTIFACT_READERS))]

    def reading(registry: TheRegistry, digest: DigestPath, actor: allowed) -> Actor:
        """Bytes are for those who brought them, or manage a version that needs them."""
        if not registry.permissions.reads_blob(actor, digest):
            raise blob_not_found(digest)
        return actor

    reader = Annotated[Actor, Depends(reading)]

    @router.head("/blobs/{digest}")
    def blob_headers(registry: TheRegistry, digest: DigestPath, _actor: reader) -> Response:
        """Whether the blob is there, and its size."""
        record = registry.blobs.get(digest)
        return Response(headers=_blob_headers(record), media_type=_BYTES)

    @router.get("/blobs/{digest}", response_class=StreamingResponse)
    def get_blob(
        registry: TheRegistry, digest: DigestPath, request: Request, _actor: reader
    ) -> StreamingResponse:
        """The blob's bytes; ``Range: bytes=N-`` asks for those from N on."""
        return blob_response(registry.blobs, digest, request.headers)


def blob_response(blobs: Blobs, digest: str, request: Mapping[str, str]) -> StreamingResponse:
    """An answer that streams the blob; blocks while it looks for it. Raises ``NOT_FOUND``.

    ``request`` has the request's headers. ``Range: bytes=N-`` is answered with the bytes from N on,
    which is what resuming a transfer needs; any other range gets the whole (RFC 9110, 14.2).
    """
    record = blobs.get(digest)
    start = _start(request, record)
    _, chunks = blobs.open(digest, start)
    headers = _blob_headers(record)
    if start == 0:
        return StreamingResponse(chunks, headers=headers, media_type=_BYTES)
    headers["Content-Length"] = str(record.size - start)
    headers["Content-Range"] = f"bytes {start}-{record.size - 1}/{record.size}"
    return StreamingResponse(chunks, HTTPStatus.PARTIAL_CONTENT, headers=headers, media_type=_BYTES)


def _start(request: Mapping[str, str], record: BlobRecord) -> int:
    """Where the answer begins: 0 unless a range is asked for that is there and still holds."""
    match = _RANGE.fullmatch(request.get("range", ""))
    if match is None or request.get("if-range", _etag(record)) != _etag(record):
        return 0
    start = int(match.group(1))
    return start if start < record.size else 0


async def _receive(request: Request, piece: Piece) -> bool:
    """Write the body as it comes, through threads, at most a chunk of it in memory.

    Returns whether it stalled. What came is kept: the client asks for the offset and goes on.
    """
    held = bytearray()
    stream = aiter(request.stream())
    stalled = False
    try:
        while True:
            async with asyncio.timeout(IDLE_S):
                held += await anext(stream)
            if len(held) >= CHUNK_BYTES:
                await run_in_threadpool(piece.write, bytes(held))
                held.clear()
    except (StopAsyncIteration, ClientDisconnect):
        pass  # whole, or nobody reads the answer
    except TimeoutError:
        stalled = True
    if held:
        await run_in_threadpool(piece.write, bytes(held))
    return stalled


def _etag(record: BlobRecord) -> str:
    return f'"{record.digest}"'


def _blob_headers(record: BlobRecord) -> dict[str, str]:
    return {
        "Content-Length": str(record.size),
        "ETag": _etag(record),
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, max-age=31536000, immutable",
    }


def _conflict(conflict: OffsetConflict) -> Response:
    """The one problem that carries a header of its own: where the upload stands."""
    return Response(
        problems.encode(problems.of_error(conflict)),
        status_code=conflict.status,
        headers={OFFSET: str(conflict.offset)},
        media_type=problems.MEDIA_TYPE,
    )


_RAW_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
