"""A new version by browser: a file in pieces, what its graph says, and the registration."""

import asyncio
import json
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from control.portal.api import ApiRefusal
from control.portal.publish_uploads import TASKS, registration, tensors
from control.portal.publish_versions import shape
from control.portal.rendering import page, redirect
from control.portal.session import TheForm, Visit
from control.portal.visitors import Publisher
from protocol.errors import Code, TollwayError
from protocol.manifest import sha256_digest
from protocol.problems import of_error
from registry.digests import DIGEST_PATTERN
from registry.outputs import (
    BlobOutput,
    InspectionOutput,
    ModelOutput,
    VersionOutput,
)

MAX_PIECE_BYTES: Final = 8 << 20
"""Of an upload; browsers send half of it."""
OFFSET: Final = "upload-offset"
_BYTES: Final = "application/octet-stream"
Digest = Annotated[str, Query(pattern=DIGEST_PATTERN)]
Size = Annotated[int, Query(ge=1, le=2**53 - 1)]
FileName = Annotated[str, Query(alias="name", max_length=200)]


def upload_pages() -> APIRouter:
    """``/portal/publish/uploads`` for scripts, and ``/portal/publish/models/{model}/upload``."""
    router = APIRouter()
    _add_uploads(router)
    _add_pages(router)
    return router


def _add_uploads(router: APIRouter) -> None:
    @router.post("/publish/uploads")
    async def begin(visit: Publisher, request: Request) -> Response:
        """Announce an upload."""
        content = await _bounded(request, 1 << 10)
        try:
            body = json.loads(content)
        except ValueError:
            raise TollwayError(Code.MALFORMED, "the announcement is no JSON") from None
        try:
            begun = await visit.api.call("POST", "/blobs/uploads", body)
        except ApiRefusal as refusal:
            return _refused(refusal)
        return JSONResponse(begun.json())

    @router.get("/publish/uploads/{id}")
    async def offset(visit: Publisher, id: str) -> Response:
        """How far an upload has come."""
        try:
            answer = await visit.api.call("HEAD", f"/blobs/uploads/{id}")
        except ApiRefusal as refusal:
            return _refused(refusal)
        return JSONResponse({"offset": int(answer.headers[OFFSET])})

    @router.patch("/publish/uploads/{id}")
    async def append(visit: Publisher, request: Request, id: str) -> Response:
        """Bring a piece."""
        headers = {OFFSET: request.headers.get(OFFSET, ""), "content-type": _BYTES}
        piece = await _bounded(request, MAX_PIECE_BYTES)
        try:
            answer = await visit.api.call("PATCH", f"/blobs/uploads/{id}", piece, headers=headers)
        except ApiRefusal as refusal:
            return _refused(refusal)
        return JSONResponse({"offset": int(answer.headers[OFFSET])})

    @router.post("/publish/uploads/{id}/complete")
    async def complete(visit: Publisher, id: str) -> Response:
        """Check the digest."""
        try:
            made = await visit.api.post(f"/blobs/uploads/{id}/complete", None, BlobOutput)
        except ApiRefusal as refusal:
            return _refused(refusal)
        return JSONResponse(made.model_dump())


def _add_pages(router: APIRouter) -> None:
    @router.get("/publish/models/{model}/upload")
    async def upload_page(visit: Publisher, model: str) -> Response:
        """Where a file is brought."""
        known = await visit.api.get(f"/models/{model}", ModelOutput)
        most = visit.services.settings.max_artifact_bytes
        return page(visit, "publish/upload.html", model=known, max_bytes=most)

    @router.get("/publish/models/{model}/register")
    async def register_page(
        visit: Publisher, model: str, artifact: Digest, size: Size, name: FileName = ""
    ) -> Response:
        """What is asked beside the file; reading its graph takes a while, and comes after."""
        known = await visit.api.get(f"/models/{model}", ModelOutput)
        shown = {"artifact": artifact, "size": size, "name": name}
        if not visit.is_htmx:
            return page(visit, "publish/register.html", model=known, file=shown, found=None)
        try:
            found = await _inspected(visit, artifact, size)
        except ApiRefusal as refusal:
            return page(visit, "publish/unreadable.html", model=known, refusal=refusal)
        return page(
            visit,
            "publish/registration.html",
            model=known,
            file=shown,
            found=tensors(found),
            tasks=TASKS,
            shape=shape,
            additive=found.additive,
            given={},
            refusal=None,
        )

    @router.post("/publish/models/{model}/register")
    async def register(visit: Publisher, form: TheForm, model: str) -> Response:
        """Register the version."""
        shown = {"artifact": form.text("artifact"), "size": form.text("size"), "name": ""}
        known, inspected = await asyncio.gather(
            visit.api.get(f"/models/{model}", ModelOutput),
            _inspected(visit, shown["artifact"], form.number("size")),
        )
        found = tensors(inspected)
        try:
            body = registration(form, found)
            golden = form.text("golden")
            if golden:
                body["golden"] = await _blob(visit, golden.encode())
            made = await visit.api.post(f"/models/{model}/versions", body, VersionOutput)
        except (ApiRefusal, TollwayError) as error:
            refusal = error if isinstance(error, ApiRefusal) else ApiRefusal(of_error(error))
            return page(
                visit,
                "publish/register.html",
                status=refusal.status,
                model=known,
                file=shown,
                found=found,
                tasks=TASKS,
                shape=shape,
                additive=inspected.additive,
                given=form.values(),
                refusal=refusal,
            )
        at = f"/portal/publish/models/{model}/versions/{made.number}"
        return redirect(visit, at, notice=f"Version {made.number} is registered.")


async def _inspected(
    visit: Visit, artifact: str, size: int | float | str | None
) -> InspectionOutput:
    body = {"artifact": {"digest": artifact, "size": size}}
    return await visit.api.post("/inspections", body, InspectionOutput)


async def brought(visit: Visit, content: bytes) -> str:
    """A small file that a form holds, as a whole upload. Returns its id."""
    announced = {"digest": sha256_digest(content), "size": len(content), "fresh": True}
    answer = await visit.api.call("POST", "/blobs/uploads", announced)
    id = str(answer.json()["id"])
    headers = {OFFSET: "0", "content-type": _BYTES}
    await visit.api.call("PATCH", f"/blobs/uploads/{id}", content, headers=headers)
    return id


async def _blob(visit: Visit, content: bytes) -> dict[str, object]:
    """A small file that a form holds, as a blob."""
    id = await brought(visit, content)
    made = await visit.api.post(f"/blobs/uploads/{id}/complete", None, BlobOutput)
    return made.model_dump(include={"digest", "size"})


async def _bounded(request: Request, most: int) -> bytes:
    read = bytearray()
    async for piece in request.stream():
        read += piece
        if len(read) > most:
            raise TollwayError(Code.TOO_LARGE, f"a piece has at most {most} bytes")
    return bytes(read)


def _refused(refusal: ApiRefusal) -> Response:
    """For the script, which says it."""
    return JSONResponse({"detail": refusal.problem.detail}, refusal.status)
