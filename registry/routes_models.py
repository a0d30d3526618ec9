"""``/models``."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from registry.access import EVERYONE, PUBLISHERS, Actor, Require
from registry.conditions import expected_state, quoted
from registry.inputs import ModelInput, permille
from registry.models import model_etag
from registry.outputs import ModelOutput, Page
from registry.routes_application import TheRegistry
from registry.routes_parameters import (
    DEFAULT_LIMIT,
    AfterName,
    IfMatch,
    IfNoneMatch,
    Limit,
    Model,
    page_of,
)
from registry.routes_permissions import View, viewing


def model_router(require: Require) -> APIRouter:
    """Routes of models."""
    router = APIRouter(tags=["models"])
    reader = Annotated[Actor, Depends(require(*EVERYONE))]
    viewer = Annotated[View, Depends(viewing(require))]
    publisher = Annotated[Actor, Depends(require(*PUBLISHERS))]

    @router.get("/models")
    def list_models(
        registry: TheRegistry, actor: reader, limit: Limit = DEFAULT_LIMIT, after: AfterName = ""
    ) -> Page[ModelOutput]:
        """Models by name: those that one manages, and those that may be called."""
        found = registry.models.page(after, limit, actor.models)
        return page_of(
            [ModelOutput.of(record) for record in found], [record.name for record in found], limit
        )

    @router.get("/models/{model}")
    def get_model(
        registry: TheRegistry, model: Model, response: Response, view: viewer
    ) -> ModelOutput:
        """One model."""
        record = registry.models.get(model, view.actor.models)
        response.headers["ETag"] = quoted(model_etag(record))
        return ModelOutput.of(record)

    @router.put("/models/{model}", responses={201: {"model": ModelOutput}})
    def put_model(
        registry: TheRegistry,
        model: Model,
        response: Response,
        actor: publisher,
        body: ModelInput | None = None,
        if_match: IfMatch = None,
        if_none_match: IfNoneMatch = None,
    ) -> ModelOutput:
        """Make a model, which one owns then, or change what is said of one that one manages."""
        given = body or ModelInput()
        record, created = registry.models.put(
            model,
            title=given.title,
            description=given.description,
            idle_unload_s=given.idle_unload_s,
            cold_start_wait_s=given.cold_start_wait_s,
            capture_permille=permille(given.capture_percent),
            capture_days=given.capture_days,
            expected=expected_state(if_match, if_none_match),
            by=actor,
        )
        response.status_code = 201 if created else 200
        response.headers["ETag"] = quoted(model_etag(record))
        if created:
            response.headers["Location"] = f"/api/v1/models/{model}"
        return ModelOutput.of(record)

    return router
