"""``/models/M/aliases``."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from registry.access import EVERYONE, PUBLISHERS, Actor, Require
from registry.aliases import alias_etag
from registry.conditions import quoted, required_state
from registry.inputs import AliasInput
from registry.outputs import AliasOutput, MoveOutput, Page
from registry.routes_application import TheRegistry
from registry.routes_parameters import (
    DEFAULT_LIMIT,
    AfterName,
    AfterNumber,
    Alias,
    IfMatch,
    IfNoneMatch,
    Limit,
    Model,
    page_of,
)
from registry.routes_permissions import View, managing, viewing


def alias_router(require: Require) -> APIRouter:
    """Routes of aliases."""
    router = APIRouter(tags=["aliases"])
    _add_reads(router, require)
    _add_changes(router, require)
    return router


def _add_reads(router: APIRouter, require: Require) -> None:
    viewer = Annotated[View, Depends(viewing(require))]
    manager = Annotated[Actor, Depends(managing(require, *EVERYONE))]

    @router.get("/models/{model}/aliases")
    def list_aliases(
        registry: TheRegistry,
        model: Model,
        _view: viewer,
        limit: Limit = DEFAULT_LIMIT,
        after: AfterName = "",
    ) -> Page[AliasOutput]:
        """The model's aliases by name."""
        found = registry.aliases.page(model, after, limit)
        return page_of(
            [AliasOutput.of(record) for record in found], [record.alias for record in found], limit
        )

    @router.get("/models/{model}/aliases/{alias}")
    def get_alias(
        registry: TheRegistry, model: Model, alias: Alias, response: Response, _view: viewer
    ) -> AliasOutput:
        """Where an alias points."""
        record = registry.aliases.get(model, alias)
        response.headers["ETag"] = quoted(alias_etag(record))
        return AliasOutput.of(record)

    @router.get("/models/{model}/aliases/{alias}/history")
    def alias_history(
        registry: TheRegistry,
        model: Model,
        alias: Alias,
        _actor: manager,
        limit: Limit = DEFAULT_LIMIT,
        after: AfterNumber = 0,
    ) -> Page[MoveOutput]:
        """Every move of the alias, oldest first."""
        found = registry.aliases.history(model, alias, after, limit)
        return page_of(
            [MoveOutput.of(record) for record in found], [record.id for record in found], limit
        )


def _add_changes(router: APIRouter, require: Require) -> None:
    publisher = Annotated[Actor, Depends(managing(require, *PUBLISHERS))]

    @router.put("/models/{model}/aliases/{alias}", responses={201: {"model": AliasOutput}})
    def put_alias(
        registry: TheRegistry,
        model: Model,
        alias: Alias,
        body: AliasInput,
        response: Response,
        actor: publisher,
        if_match: IfMatch = None,
        if_none_match: IfNoneMatch = None,
    ) -> AliasOutput:
        """Point an alias at a version; needs ``If-Match`` or ``If-None-Match``."""
        record, created = registry.aliases.set(
            model,
            alias,
            body.version,
            actor=actor.name,
            expected=required_state(if_match, if_none_match),
            force=body.force,
            reason=body.reason,
        )
        response.status_code = 201 if created else 200
        response.headers["ETag"] = quoted(alias_etag(record))
        return AliasOutput.of(record)

    @router.delete("/models/{model}/aliases/{alias}", status_code=204)
    def delete_alias(
        registry: TheRegistry,
        model: Model,
        alias: Alias,
        actor: publisher,
        if_match: IfMatch = None,
    ) -> None:
        """Remove an alias; needs ``If-Match``. Its history stays."""
        expected = required_state(if_match, None)
        registry.aliases.delete(model, alias, actor=actor.name, expected=expected)
