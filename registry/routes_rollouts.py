"""``/models/M/rollout``: how a model's traffic is answered."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from registry.access import EVERYONE, PUBLISHERS, Actor, Require
from registry.conditions import expected_state, quoted
from registry.outputs import Page
from registry.rollout_bodies import (
    RollbackInput,
    RolloutChangeOutput,
    RolloutInput,
    RolloutOutput,
)
from registry.rollouts import rollout_etag
from registry.routes_application import TheRegistry
from registry.routes_parameters import (
    DEFAULT_LIMIT,
    AfterNumber,
    IfMatch,
    IfNoneMatch,
    Limit,
    Model,
    Order,
    page_of,
)
from registry.routes_permissions import View, managing, viewing
from registry.service import Registry
from registry.store.rollouts import RolloutRecord


def rollout_router(require: Require) -> APIRouter:
    """Routes of rollouts."""
    router = APIRouter(tags=["rollouts"])
    _add_reads(router, require)
    _add_changes(router, require)
    return router


def _answered(registry: Registry, record: RolloutRecord, response: Response) -> RolloutOutput:
    etag = rollout_etag(record)
    if etag is not None:
        response.headers["ETag"] = quoted(etag)
    model = record.model
    return RolloutOutput.of(record, registry.rollouts.previous(model), registry.guarded(model))


def _add_reads(router: APIRouter, require: Require) -> None:
    viewer = Annotated[View, Depends(viewing(require))]
    manager = Annotated[Actor, Depends(managing(require, *EVERYONE))]

    @router.get("/models/{model}/rollout")
    def get_rollout(
        registry: TheRegistry, model: Model, response: Response, view: viewer
    ) -> RolloutOutput:
        """How the model's traffic is answered."""
        shown = _answered(registry, registry.rollouts.get(model), response)
        if view.whole:
            return shown
        # How it is watched, what it is compared with and where it could go back to is its
        # publisher's.
        hidden = {"steps": None, "guard": None, "promote": False}
        canary = None if shown.canary is None else shown.canary.model_copy(update=hidden)
        return shown.model_copy(
            update={"canary": canary, "shadow": [], "previous": None, "guarded": None}
        )

    @router.get("/models/{model}/rollout/history")
    def rollout_history(
        registry: TheRegistry,
        model: Model,
        _actor: manager,
        limit: Limit = DEFAULT_LIMIT,
        after: AfterNumber = 0,
        order: Order = "oldest",
    ) -> Page[RolloutChangeOutput]:
        """The rollout as each change left it."""
        found = registry.rollouts.history(model, after, limit, newest=order == "newest")
        return page_of(
            [RolloutChangeOutput.of(record) for record in found],
            [record.id for record in found],
            limit,
        )


def _add_changes(router: APIRouter, require: Require) -> None:
    publisher = Annotated[Actor, Depends(managing(require, *PUBLISHERS))]

    @router.put("/models/{model}/rollout")
    def put_rollout(
        registry: TheRegistry,
        model: Model,
        body: RolloutInput,
        response: Response,
        actor: publisher,
        if_match: IfMatch = None,
        if_none_match: IfNoneMatch = None,
    ) -> RolloutOutput:
        """Move the model's traffic: stable version, canary and shadows, all of it or nothing."""
        record = registry.rollouts.change(
            model,
            body.wish(),
            actor=actor.name,
            expected=expected_state(if_match, if_none_match),
        )
        return _answered(registry, record, response)

    @router.post("/models/{model}/rollback")
    def roll_back(
        registry: TheRegistry,
        model: Model,
        response: Response,
        actor: publisher,
        body: RollbackInput | None = None,
        if_match: IfMatch = None,
    ) -> RolloutOutput:
        """Give the traffic back to the version that was stable before, and end the canary."""
        record = registry.rollouts.roll_back(
            model,
            actor=actor.name,
            reason="" if body is None else body.reason,
            expected=expected_state(if_match, None),
        )
        return _answered(registry, record, response)
