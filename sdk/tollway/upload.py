"""Resumable, digest-checked uploads of blobs."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import msgspec

from tollway import errors
from tollway.registry import Waiter
from tollway.resources import Blob
from tollway.transport import Transport

CHUNK_BYTES = 4 * 1024 * 1024
"""Bytes per request: what a dropped connection costs at most."""
FINISH_S = 600.0
"""How long the server may take over all the bytes at once: hashing, syncing, inspecting them."""
_STALLED = 5
"""Chunks in a row that may fail to move the offset before the upload is given up."""
_CONFLICT = 409
_NOT_FOUND = 404
_FOUND = 200


class _Upload(msgspec.Struct):
    id: str = ""
    offset: int = 0
    exists: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """Bytes to upload: in memory, or a file that is read piece by piece."""

    content: bytes | Path

    def open(self) -> BinaryIO:
        """A seekable stream over the bytes."""
        return BytesIO(self.content) if isinstance(self.content, bytes) else self.content.open("rb")

    def blob(self, path: str = "") -> Blob:
        """Digest and size of the bytes; ``path`` is the name inside the bundle."""
        digest, size = hashlib.sha256(), 0
        with self.open() as stream:
            while piece := stream.read(CHUNK_BYTES):
                digest.update(piece)
                size += len(piece)
        return Blob(digest=f"sha256:{digest.hexdigest()}", size=size, path=path)


def upload(
    transport: Transport,
    source: Source,
    blob: Blob,
    sent: Callable[[int], None],
    waiter: Waiter,
) -> None:
    """Bring ``source`` to the server, going on where a broken connection left off.

    ``sent`` is told how many bytes have arrived. Nothing is sent when the server has the blob.
    """
    request = {"digest": blob.digest, "size": blob.size}
    begun = transport.read(
        transport.request("POST", "/api/v1/blobs/uploads", json=request), _Upload
    )
    if begun.exists:
        sent(blob.size)
        return
    path = f"/api/v1/blobs/uploads/{begun.id}"
    target = _Target(transport, path, blob)
    with source.open() as stream:
        _send(target, stream, begun.offset, sent)
    if waiter.until(lambda: _finished(target), FINISH_S) is None:
        raise errors.TimedOut(
            f"the server has not finished checking {blob.digest} after {FINISH_S:.0f} s; deploy"
            " again, nothing that it has is sent twice"
        )


@dataclass(frozen=True, slots=True)
class _Target:
    transport: Transport
    path: str
    blob: Blob


def _finished(target: _Target) -> bool | None:
    """Have the server make the upload a blob; None while an earlier attempt is still at it."""
    transport, blob = target.transport, target.blob
    response = transport.request(
        "POST",
        f"{target.path}/complete",
        accept=frozenset({_NOT_FOUND, _CONFLICT}),
        timeout_s=FINISH_S,
    )
    if response.status_code == _CONFLICT:
        if _offset(response.headers.get("Upload-Offset"), blob.size) != blob.size:
            raise errors.from_response(response.status_code, response.content)
        return True if _exists(transport, blob) else None
    if response.status_code == _NOT_FOUND and not _exists(transport, blob):
        # Else a repeated request found the upload already turned into the blob.
        raise errors.ServerError(f"the upload of {blob.digest} is gone from the server")
    return True


def _send(target: _Target, stream: BinaryIO, offset: int, sent: Callable[[int], None]) -> None:
    blob = target.blob
    stalled = 0
    while offset < blob.size:
        sent(offset)
        stream.seek(offset)
        chunk = stream.read(min(CHUNK_BYTES, blob.size - offset))
        if not chunk:
            raise errors.InvalidRequestError(
                "the file became shorter while it was uploaded; deploy it again when it is complete"
            )
        # Repeating it is safe: the server refuses any offset but its own and says which that is.
        response = target.transport.request(
            "PATCH",
            target.path,
            content=chunk,
            headers={"Upload-Offset": str(offset), "Content-Type": "application/octet-stream"},
            accept=frozenset({_CONFLICT}),
        )
        there = _offset(response.headers.get("Upload-Offset"), blob.size)
        if there is None and response.status_code == _CONFLICT:
            raise errors.from_response(response.status_code, response.content)
        following = offset + len(chunk) if there is None else there
        stalled = 0 if following > offset else stalled + 1
        if stalled >= _STALLED:
            raise errors.ConnectionFailed(f"the upload stays at byte {following} of {blob.size}")
        offset = following
    sent(blob.size)


def _offset(header: str | None, size: int) -> int | None:
    if header is None or not header.isdecimal():
        return None
    return min(int(header), size)


def _exists(transport: Transport, blob: Blob) -> bool:
    response = transport.request(
        "HEAD", f"/api/v1/blobs/{blob.digest}", accept=frozenset({_NOT_FOUND})
    )
    return response.status_code == _FOUND
