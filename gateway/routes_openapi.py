"""Each version's own OpenAPI document and request samples. Open for published models, as metadata
is; what nobody may see yet does not exist here.

Documents are made when they are asked for, and not kept: they cost a millisecond, and pages that
ask again send the ``ETag`` of what they have.
"""

import hashlib
import re
from typing import Final

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import Response

from gateway.catalog import ModelEntry
from gateway.routes import CatalogRoutes
from protocol.configuration import VersionDoc
from protocol.model_openapi import document, samples_of

_HOST: Final = re.compile(
    r"[A-Za-z0-9.\-_]{1,253}(:[0-9]{1,5})?|\[[0-9a-fA-F:.]{2,45}\](:[0-9]{1,5})?"
)
_UNKNOWN_HOST: Final = "localhost"


class OpenApiRoutes:
    """The handlers, over the catalog of the other routes."""

    def __init__(self, routes: CatalogRoutes) -> None:
        self._routes = routes

    def router(self) -> APIRouter:
        """The routes, beside V1's metadata."""
        router = APIRouter()
        for prefix in (
            "/v1/models/{model}",
            "/v1/models/{model}/versions/{version}",
            "/v1/models/{model}/labels/{label}",
        ):
            router.get(prefix + "/openapi.json")(self.openapi)
            router.get(prefix + "/samples")(self.samples)
        return router

    async def openapi(
        self, request: Request, model: str, version: str | None = None, label: str | None = None
    ) -> Response:
        """The document of a version; without one, of the version that answers."""
        entry, found = self._routes.find(model, version, label)
        content = document(
            found.manifest,
            number=found.number,
            digest=found.digest,
            state=found.state,
            url=_url(request),
            named=version is not None,
            contract=entry.contract,
            deprecation=found.deprecation,
        )
        return self._answered(request, found, content)

    async def samples(
        self, request: Request, model: str, version: str | None = None, label: str | None = None
    ) -> Response:
        """Programs that ask the version, by language."""
        entry, found = self._routes.find(model, version, label)
        return self._answered(request, found, _samples(request, entry, found, version is not None))

    def _answered(self, request: Request, found: VersionDoc, content: object) -> Response:
        body = msgspec.json.encode(content)
        etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers = {
            "ETag": etag,
            # A copy may be kept, but is to be asked about: the stable version may be another now.
            "Cache-Control": "no-cache",
            **self._routes.ending_of(found),
        }
        if _is_known(request.headers.get("if-none-match", ""), etag):
            return Response(status_code=304, headers=headers)
        return Response(body, media_type="application/json", headers=headers)


def _samples(
    request: Request, entry: ModelEntry, found: VersionDoc, named: bool
) -> dict[str, object]:
    code = samples_of(
        found.manifest,
        number=found.number,
        url=_url(request),
        named=named,
        contract=entry.contract,
    )
    return {"model": found.model, "version": found.number, "samples": code}


def _is_known(if_none_match: str, etag: str) -> bool:
    """``If-None-Match`` (RFC 9110, 13.1.2): a weak comparison with each of the tags."""
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in tags or etag in tags


def _url(request: Request) -> str:
    """Where the client has reached this server. What is no host cannot get into a document."""
    host = request.headers.get("host", "")
    if _HOST.fullmatch(host) is None:
        host = _UNKNOWN_HOST
    return f"{request.url.scheme}://{host}"
