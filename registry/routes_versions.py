"""``/models/M/versions`` and their transitions."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Response

from protocol.manifest import Blob
from registry.access import EVERYONE, PUBLISHERS, Actor, Require
from registry.compatibility import differences
from registry.conditions import expected_state, quoted
from registry.gates import ApprovalStanding
from registry.inputs import (
    MAX_INTEGER,
    InspectionInput,
    LoadedInput,
    TransitionInput,
    VersionInput,
)
from registry.outputs import (
    CompatibilityOutput,
    InspectionOutput,
    Page,
    TransitionOutput,
    VersionOutput,
)
from registry.routes_application import TheRegistry
from registry.routes_parameters import (
    DEFAULT_LIMIT,
    AfterNumber,
    IfMatch,
    Limit,
    Model,
    VersionNumber,
    page_of,
)
from registry.routes_permissions import View, managing, viewing
from registry.service import Registry
from registry.store.versions import VersionRecord
from registry.versions import version_etag

IdempotencyKey = Annotated[
    str | None,
    Header(
        pattern=r"^[\x21-\x7e]{1,255}$",
        description="The same request again under the same key registers nothing new.",
    ),
]


def version_router(require: Require) -> APIRouter:
    """Routes of versions."""
    router = APIRouter(tags=["versions"])
    _add_versions(router, require)
    _add_transitions(router, require)
    _add_looks(router, require)
    return router


Following = Annotated[
    int,
    Query(ge=1, le=MAX_INTEGER, description="Number of the version that would take its place."),
]


def _shown(
    registry: Registry, records: list[VersionRecord], *, whole: bool = True
) -> list[VersionOutput]:
    """Versions of one model, as those who manage it see them (``whole``), or others."""
    if not records:
        return []
    approvals = registry.gates.approvals(records[0].model, records) if whole else {}
    return [_shown_one(registry, one, approvals.get(one.number), whole=whole) for one in records]


def _shown_one(
    registry: Registry, record: VersionRecord, approval: ApprovalStanding | None, *, whole: bool
) -> VersionOutput:
    serving = registry.versions.serving(record)
    if whole:
        return VersionOutput.of(record, serving, approval.state if approval else "not_needed")
    shown = VersionOutput.of(record, serving, None)
    # Who made it, and on which machines it runs, is the publisher's and the operator's own affair.
    bare = shown.serving.model_copy(update={"engines": [], "error": ""})
    return shown.model_copy(update={"created_by": "", "serving": bare})


def _answered(
    registry: Registry, record: VersionRecord, response: Response, *, whole: bool = True
) -> VersionOutput:
    response.headers["ETag"] = quoted(version_etag(record))
    return _shown(registry, [record], whole=whole)[0]


def _add_versions(router: APIRouter, require: Require) -> None:
    viewer = Annotated[View, Depends(viewing(require))]
    publisher = Annotated[Actor, Depends(managing(require, *PUBLISHERS))]

    @router.get("/models/{model}/versions")
    def list_versions(
        registry: TheRegistry,
        model: Model,
        view: viewer,
        limit: Limit = DEFAULT_LIMIT,
        after: AfterNumber = 0,
    ) -> Page[VersionOutput]:
        """The model's versions by number; to others than its publishers, those that may be
        called."""
        found = registry.versions.page(model, after, limit, callable_only=not view.whole)
        return page_of(
            _shown(registry, found, whole=view.whole),
            [record.number for record in found],
            limit,
        )

    @router.post(
        "/models/{model}/versions", status_code=201, responses={200: {"model": VersionOutput}}
    )
    def register_version(
        registry: TheRegistry,
        model: Model,
        body: VersionInput,
        response: Response,
        actor: publisher,
        idempotency_key: IdempotencyKey = None,
    ) -> VersionOutput:
        """Register the next version, from blobs uploaded before or for a remote server. Takes as
        long as inspecting the graph, or asking the server."""
        record, created = registry.publisher.publish(
            model, body.request(), actor=actor.name, by=actor, idempotency_key=idempotency_key
        )
        response.status_code = 201 if created else 200
        response.headers["Location"] = f"/api/v1/models/{model}/versions/{record.number}"
        return _answered(registry, record, response)

    @router.get("/models/{model}/versions/{number}")
    def get_version(
        registry: TheRegistry, model: Model, number: VersionNumber, response: Response, view: viewer
    ) -> VersionOutput:
        """One version, with what the workers report of it."""
        record = registry.versions.get(model, number, callable_only=not view.whole)
        return _answered(registry, record, response, whole=view.whole)

    @router.patch("/models/{model}/versions/{number}")
    def change_version(
        registry: TheRegistry,
        model: Model,
        number: VersionNumber,
        body: LoadedInput,
        response: Response,
        _actor: publisher,
        if_match: IfMatch = None,
    ) -> VersionOutput:
        """Have workers load or unload the version."""
        record = registry.lifecycle.set_loaded(
            model, number, body.loaded, expected=expected_state(if_match, None)
        )
        return _answered(registry, record, response)


def _add_transitions(router: APIRouter, require: Require) -> None:
    manager = Annotated[Actor, Depends(managing(require, *EVERYONE))]
    publisher = Annotated[Actor, Depends(managing(require, *PUBLISHERS))]

    @router.get("/models/{model}/versions/{number}/transitions")
    def list_transitions(
        registry: TheRegistry,
        model: Model,
        number: VersionNumber,
        _actor: manager,
        limit: Limit = DEFAULT_LIMIT,
        after: AfterNumber = 0,
    ) -> Page[TransitionOutput]:
        """Who moved the version to which state, when and why, oldest first."""
        found = registry.versions.history(model, number, after, limit)
        return page_of(
            [TransitionOutput.of(record) for record in found],
            [record.id for record in found],
            limit,
        )

    @router.post("/models/{model}/versions/{number}/transitions")
    def transition(
        registry: TheRegistry,
        model: Model,
        number: VersionNumber,
        body: TransitionInput,
        response: Response,
        actor: publisher,
    ) -> VersionOutput:
        """Move the version to another state."""
        record = registry.lifecycle.transition(
            model, number, body.to, actor=actor.name, reason=body.reason
        )
        return _answered(registry, record, response)


def _add_looks(router: APIRouter, require: Require) -> None:
    """What is found out of versions, and changes nothing."""
    viewer = Annotated[View, Depends(viewing(require))]
    publisher = Annotated[Actor, Depends(require(*PUBLISHERS))]

    @router.get("/models/{model}/versions/{number}/compatibility")
    def get_compatibility(
        registry: TheRegistry,
        model: Model,
        number: VersionNumber,
        view: viewer,
        following: Following,
    ) -> CompatibilityOutput:
        """Whether another version can take this one's place without its callers noticing."""
        present, other = (
            registry.versions.get(model, one, callable_only=not view.whole)
            for one in (number, following)
        )
        found = differences(present.manifest, other.manifest)
        return CompatibilityOutput(
            model=model,
            version=number,
            following=following,
            compatible=not found,
            differences=found,
        )

    @router.post("/inspections")
    def inspect_artifact(
        registry: TheRegistry, body: InspectionInput, actor: publisher
    ) -> InspectionOutput:
        """Read inputs and outputs of an uploaded artifact, before it is registered as a version.
        Takes as long as inspecting the graph."""
        artifact, *files = (
            Blob(digest=one.digest, size=one.size, path=getattr(one, "path", ""))
            for one in (body.artifact, *body.files)
        )
        found = registry.publisher.inspect(artifact, tuple(files), by=actor)
        return InspectionOutput.of(body.artifact.digest, found)
