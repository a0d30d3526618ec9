"""``/models/M/versions/V/deprecation``."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from registry.access import PUBLISHERS, Actor, Require
from registry.clock import rfc3339
from registry.conditions import expected_state, quoted
from registry.deprecation import Ending
from registry.inputs import DeprecationInput
from registry.outputs import DeprecationOutput, EndingOutput
from registry.routes_application import TheRegistry
from registry.routes_parameters import IfMatch, Model, VersionNumber
from registry.routes_permissions import View, managing, viewing
from registry.versions import version_etag


def deprecation_router(require: Require) -> APIRouter:
    """Routes of deprecations."""
    router = APIRouter(tags=["versions"])
    viewer = Annotated[View, Depends(viewing(require))]
    publisher = Annotated[Actor, Depends(managing(require, *PUBLISHERS))]

    @router.get("/models/{model}/versions/{number}/deprecation")
    def get_deprecation(
        registry: TheRegistry, model: Model, number: VersionNumber, response: Response, view: viewer
    ) -> EndingOutput:
        """How a deprecated or retired version ends."""
        return _answered(
            registry.deprecations.get(model, number, callable_only=not view.whole), response
        )

    @router.put("/models/{model}/versions/{number}/deprecation")
    def put_deprecation(
        registry: TheRegistry,
        model: Model,
        number: VersionNumber,
        body: DeprecationInput,
        response: Response,
        actor: publisher,
        if_match: IfMatch = None,
    ) -> EndingOutput:
        """Deprecate a published version, or say anew how a deprecated one ends.

        It goes on answering, with `Deprecation`, `Sunset` and `Link` headers, save in brown-outs.
        A deprecation cannot be taken back; its sunset and its brown-outs can.
        """
        registry.deprecations.put(
            model,
            number,
            body.document(),
            since_given=body.since is not None,
            actor=actor.name,
            reason=body.reason,
            expected=expected_state(if_match, None),
        )
        return _answered(registry.deprecations.get(model, number), response)

    return router


def _answered(ending: Ending, response: Response) -> EndingOutput:
    version = ending.version
    response.headers["ETag"] = quoted(version_etag(version))
    return EndingOutput(
        model=version.model,
        number=version.number,
        state=version.state,
        held_by=ending.held_by,
        retired_at=_moment(ending.retired_at),
        artifact_kept_until=_moment(ending.artifact_kept_until),
        **DeprecationOutput.of(ending.deprecation).model_dump(),
    )


def _moment(at_ms: int | None) -> str | None:
    return None if at_ms is None else rfc3339(at_ms)
