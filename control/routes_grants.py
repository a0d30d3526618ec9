"""Routes of ownership and grants: ``/models/M/owner`` and ``/models/M/grants``."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from control.identity.resources import Grant, ManagedModel, OwnerRequest, Ownership
from control.middleware import require
from control.resources import Page
from control.routes_conventions import INSPECTORS, READERS, After, Limit, errors, tagged
from control.routes_parts import part
from control.store.grants import Grants
from registry.access import PUBLISHERS, Actor
from registry.routes_parameters import Model
from registry.routes_permissions import managing

TheGrants = Annotated[Grants, Depends(part(lambda services: services.accounts.grants))]


def grant_router() -> APIRouter:
    """Who manages a model. Others than its owner and admins change nothing here."""
    router = APIRouter(tags=["grants"])
    reads = [Depends(managing(require, *READERS))]
    manager = Annotated[Actor, Depends(managing(require, *PUBLISHERS))]

    @router.get(
        "/users/{user}/models",
        dependencies=[Depends(require(*INSPECTORS))],
        responses=errors(404, 422),
    )
    def list_managed_models(
        grants: TheGrants, user: str, limit: Limit = 100, after: After = ""
    ) -> Page[ManagedModel]:
        """List the models that a user manages: their own, and those that they were granted."""
        return grants.managed(user, limit, after)

    @router.get("/models/{model}/owner", dependencies=reads, responses=errors(404))
    def get_owner(grants: TheGrants, model: Model) -> Ownership:
        """Who owns the model."""
        return grants.owner(model)

    @router.put("/models/{model}/owner", responses=errors(404, 422))
    def put_owner(
        grants: TheGrants, model: Model, request: OwnerRequest, actor: manager
    ) -> Ownership:
        """Give the model to another publisher or admin; `admin` is the installation itself."""
        return grants.transfer(model, request.user, actor)

    @router.get("/models/{model}/grants", dependencies=reads, responses=errors(404, 422))
    def list_grants(
        grants: TheGrants, model: Model, limit: Limit = 100, after: After = ""
    ) -> Page[Grant]:
        """List who manages the model besides its owner."""
        return grants.list(model, limit, after)

    @router.get("/models/{model}/grants/{user}", dependencies=reads, responses=errors(404))
    def get_grant(grants: TheGrants, model: Model, user: str, response: Response) -> Grant:
        """Read a grant."""
        found = grants.get(model, user)
        tagged(response, found)
        return found

    @router.put(
        "/models/{model}/grants/{user}",
        responses={201: {"model": Grant, "description": "Made."}, **errors(404, 422)},
    )
    def put_grant(
        grants: TheGrants, model: Model, user: str, response: Response, actor: manager
    ) -> Grant:
        """Let a publisher, sponsor or admin manage the model as far as their role goes."""
        put = grants.put(model, user, actor)
        tagged(response, put.item, created=put.created)
        return put.item

    @router.delete("/models/{model}/grants/{user}", status_code=204, responses=errors(404))
    def delete_grant(grants: TheGrants, model: Model, user: str, actor: manager) -> None:
        """Take a grant back: the user's tokens lose the model within a second."""
        grants.delete(model, user, actor)

    return router
