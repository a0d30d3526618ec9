"""The API reference: rendered from the OpenAPI documents, a page for each tag and each model."""

import json
from functools import lru_cache
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Query
from fastapi.responses import Response

from control.catalogue import CatalogueEntry, CataloguePage
from control.portal.api import API, ApiRefusal
from control.portal.reading import asked, pretty
from control.portal.reference import Group, Operation, groups_of, searched
from control.portal.rendering import page
from control.portal.routes_model import Version, model_document, read_entry, standing_in
from control.portal.served_at import served_at
from control.portal.session import Anybody, Visit
from control.portal.visitors import Member
from protocol.errors import Code, TollwayError

MODELS: Final = 12
_SHOWN: Final = ("content-type", "etag", "retry-after", "x-request-id")
_Search = Annotated[str, Query(max_length=200)]


def reference_pages() -> APIRouter:
    """``/portal/reference`` and below."""
    router = APIRouter()

    @router.get("/reference")
    async def index(visit: Anybody, q: _Search = "") -> Response:
        """Every operation of the management API, and the models with a reference of their own."""
        groups = searched(await _management(visit), q)
        template = "reference/found.html" if visit.is_htmx else "reference/index.html"
        return page(visit, template, groups=groups, q=q, models=await _models(visit, q))

    @router.get("/reference/api/{tag}")
    async def tag_page(visit: Anybody, tag: str) -> Response:
        """The operations of a tag."""
        groups = await _management(visit)
        found = next((group for group in groups if group.tag == tag), None)
        if found is None:
            raise TollwayError(Code.NOT_FOUND, f"the API has no part {tag[:60]!r}")
        return page(visit, "reference/group.html", group=found, groups=groups, prefix=API)

    @router.get("/reference/models/{model}")
    async def model_reference(visit: Anybody, model: str, version: Version = None) -> Response:
        """The prediction API of a model."""
        found = await read_entry(visit, model, version)
        standing = await standing_in(visit, model)
        groups = groups_of(model_document(visit, found, named=version is not None))
        return page(
            visit,
            "reference/model.html",
            model=found,
            standing=standing,
            groups=groups,
            version=version,
            base=f"/portal/models/{model}",
            asked=f"?version={version}" if version else "",
        )

    _add_send(router)
    return router


def _add_send(router: APIRouter) -> None:
    @router.get("/reference/send")
    async def send(visit: Member, operation: _Search = "") -> Response:
        """Read one route of the management API as the visitor, and show what went and came."""
        found = _operation(await _management(visit), operation)
        request = asked(found, visit.request.query_params)
        headers, status = "", 0
        try:
            answer = await visit.api.call(
                "GET", request.path.removeprefix(API), query=request.query
            )
        except ApiRefusal as refusal:
            status, body = refusal.status, msgspec.json.encode(refusal.problem)
        else:
            status, body = answer.status_code, answer.content
            headers = "".join(
                f"{name}: {answer.headers[name]}\n" for name in _SHOWN if name in answer.headers
            )
        template = "reference/sent.html" if visit.is_htmx else "reference/sent_page.html"
        return page(
            visit,
            template,
            operation=found,
            request=f"GET {request.target} HTTP/1.1\nAuthorization: Bearer YOUR_TOKEN\n"
            "Accept: application/json",
            curl=f"curl '{served_at(visit)}{request.target}' \\\n"
            '  -H "Authorization: Bearer $TOLLWAY_TOKEN"',
            answer_status=status,
            answer=f"HTTP/1.1 {status}\n{headers}\n{pretty(body)}",
        )


def _operation(groups: list[Group], id: str) -> Operation:
    for group in groups:
        for one in group.operations:
            if one.id == id and one.readable:
                return one
    raise TollwayError(Code.NOT_FOUND, f"{id[:60]!r} is no route that is read here")


async def _management(visit: Visit) -> list[Group]:
    """The management API's own document. It is the same for everybody."""
    answer = await visit.api.call("GET", "/openapi.json")
    return _groups(answer.content)


@lru_cache(maxsize=2)
def _groups(document: bytes) -> list[Group]:
    return groups_of(json.loads(document))


async def _models(visit: Visit, search: str) -> list[CatalogueEntry]:
    """Models whose reference one may want; none for whom the catalogue is closed."""
    try:
        found = await visit.api.get(
            "/catalogue", CataloguePage, search=search or None, sort="calls", limit=MODELS
        )
    except ApiRefusal as refusal:
        if refusal.problem.code == Code.UNAUTHENTICATED and visit.me is None:
            return []
        raise
    return found.items
