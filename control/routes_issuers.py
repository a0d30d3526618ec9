"""Routes of issuers: whose JSON Web Tokens are taken."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response

from control.identity.issuers import Issuer, IssuerRequest
from control.middleware import require
from control.resources import Page
from control.routes_conventions import INSPECTORS, After, Condition, Limit, errors, tagged
from control.routes_parts import part
from control.store.issuers import Issuers

Name = Annotated[str, Path(max_length=255)]


TheIssuers = Annotated[Issuers, Depends(part(lambda services: services.issuers))]


def issuer_router() -> APIRouter:
    """``/issuers``."""
    router = APIRouter(tags=["issuers"])
    reads = [Depends(require(*INSPECTORS))]
    writes = [Depends(require("admin"))]

    @router.get("/issuers", dependencies=reads, responses=errors(422))
    def list_issuers(issuers: TheIssuers, limit: Limit = 100, after: After = "") -> Page[Issuer]:
        """List the issuers whose tokens are taken, by name."""
        return issuers.list(limit, after)

    @router.get("/issuers/{issuer}", dependencies=reads, responses=errors(404))
    def get_issuer(issuers: TheIssuers, issuer: Name, response: Response) -> Issuer:
        """Read an issuer."""
        found = issuers.get(issuer)
        tagged(response, found)
        return found

    @router.put(
        "/issuers/{issuer}",
        dependencies=writes,
        responses={201: {"model": Issuer, "description": "Made."}, **errors(409, 412, 422)},
    )
    def put_issuer(
        issuers: TheIssuers,
        issuer: Name,
        request: IssuerRequest,
        response: Response,
        condition: Condition,
    ) -> Issuer:
        """Make an issuer, or replace it whole: gateways apply it within a second.

        It may map to applications that do not exist yet, and goes on mapping to one that is
        deleted: whom such a mapping stands for is refused, with 403, until the application exists.
        """
        put = issuers.put(issuer, request, condition)
        tagged(response, put.item, created=put.created)
        return put.item

    @router.delete(
        "/issuers/{issuer}", status_code=204, dependencies=writes, responses=errors(404, 412)
    )
    def delete_issuer(issuers: TheIssuers, issuer: Name, condition: Condition) -> None:
        """Take no more of this issuer's tokens: every gateway refuses them within a second."""
        issuers.delete(issuer, condition)

    return router
