"""What the management routes share: who may do what, paging, entity tags, documented errors."""

from typing import Annotated, Any, Final

from fastapi import Depends, Header, Query, Request, Response, params
from fastapi.dependencies.utils import get_flat_params
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field

from control.preconditions import Precondition, etag
from protocol.errors import Code, TollwayError
from registry.access import Role

WRITERS: Final[tuple[Role, ...]] = ("admin", "publisher")
"""Who may change consumers, and what belongs to models."""
READERS: Final[tuple[Role, ...]] = ("admin", "publisher", "auditor")
"""Who may read workers and usage."""
OWNERS: Final[tuple[Role, ...]] = ("admin", "publisher", "consumer")
"""Who may change applications, keys and subscriptions within their reach."""
WITNESSES: Final[tuple[Role, ...]] = (*OWNERS, "auditor")
"""Who may read usage and webhooks within their reach."""
INSPECTORS: Final[tuple[Role, ...]] = ("admin", "auditor")
"""Who may read the change log."""

Limit = Annotated[int, Query(ge=1, le=1000, description="Items on the page.")]
After = Annotated[
    str, Query(max_length=255, description="`next` of the page before; empty: the first page.")
]


LONGEST_NAME: Final = 255
"""Characters of a name, digest or id in a path. None that exists is longer."""
LONGEST_FILTER: Final = 1000
"""Characters of a query parameter, where the route allows no less."""


async def known_query(request: Request) -> None:
    """A dependency of every route: refuse, as ``INVALID``, query parameters that the route does not
    declare. A filter that is mistyped and ignored would answer with more than was asked for.
    What is longer than anything that exists is refused here as well, before it is looked for.

    But for what identity providers send with a user who comes back: it is theirs to extend.
    """
    route = request.scope.get("route")
    path = request.url.path
    for name, value in request.path_params.items():
        if len(str(value)) > LONGEST_NAME:
            raise TollwayError(
                Code.NOT_FOUND, f"there is no {name} that has more than {LONGEST_NAME} characters"
            )
    if not isinstance(route, APIRoute) or not path.startswith("/api/") or "/oidc/" in path:
        return
    known = {
        parameter.alias
        for parameter in get_flat_params(route.dependant)
        if isinstance(parameter.field_info, params.Query)
    }
    for name, value in request.query_params.multi_items():
        if len(value) > LONGEST_FILTER:
            raise TollwayError(
                Code.INVALID, f"query.{name[:40]}: is longer than {LONGEST_FILTER} characters"
            )
        if name not in known:
            there = f"known are {', '.join(sorted(known))}" if known else "it takes none"
            raise TollwayError(
                Code.INVALID, f"query.{name[:40]}: there is no such query parameter here; {there}"
            )


class ProblemBody(BaseModel):
    """An error (RFC 9457). `code` is stable; `detail` says what is wrong and what to do."""

    type: str = Field(examples=["urn:tollway:error:not_found"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str
    code: str = Field(examples=["not_found"])
    errors: list[dict[str, str]] | None = Field(
        default=None, description="The fields that are not acceptable, with a message each."
    )


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route that can answer with these problems (401 and 403 always can)."""
    schema = {"schema": {"$ref": "#/components/schemas/ProblemBody"}}
    return {
        status: {"description": _MEANING[status], "content": {"application/problem+json": schema}}
        for status in sorted({401, 403, *statuses})
    }


_MEANING: Final[dict[int, str]] = {
    401: "No management token, or one that is not valid.",
    403: "The token's role does not allow this.",
    404: "There is no such resource.",
    409: "The present state forbids it.",
    412: "`If-Match` or `If-None-Match` does not hold.",
    413: "It is larger than is taken.",
    422: "A value is not acceptable; `errors` names the fields.",
    429: "Too many requests; `Retry-After` says when to come back.",
    503: "Not possible now; `Retry-After` says when to come back.",
}


async def _precondition(
    if_match: Annotated[
        str | None, Header(description="Change it only if its `ETag` is one of these.")
    ] = None,
    if_none_match: Annotated[
        str | None, Header(description="`*`: change nothing if it exists.")
    ] = None,
) -> Precondition:
    return Precondition(if_match, if_none_match)


Condition = Annotated[Precondition, Depends(_precondition)]
"""``If-Match`` and ``If-None-Match`` of an update; both may be left out."""


def tagged(response: Response, resource: BaseModel, *, created: bool = False) -> None:
    """Set ``ETag``, and 201 for what was made just now."""
    response.headers["ETag"] = etag(resource)
    if created:
        response.status_code = 201
