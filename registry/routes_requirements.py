"""``/models/M/requirements``."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response

from registry.access import EVIDENCE_READERS, Actor, Require
from registry.conditions import expected_state, quoted
from registry.inputs import MAX_INTEGER
from registry.outputs import Page
from registry.requirements import requirements_etag
from registry.requirements_inputs import RequirementsInput, RequirementsOutput
from registry.routes_application import TheRegistry
from registry.routes_parameters import (
    DEFAULT_LIMIT,
    AfterNumber,
    IfMatch,
    IfNoneMatch,
    Limit,
    Model,
    page_of,
)
from registry.routes_permissions import managing
from registry.store.requirements import RequirementsRecord

RequirementsNumber = Annotated[
    int, Path(ge=1, le=MAX_INTEGER, description="Number of the requirements' version.")
]


def requirements_router(require: Require) -> APIRouter:
    """Routes of requirements."""
    router = APIRouter(tags=["models"])
    reader = Annotated[Actor, Depends(managing(require, *EVIDENCE_READERS))]
    writer = Annotated[Actor, Depends(managing(require, "admin", "publisher", "sponsor"))]

    @router.get("/models/{model}/requirements")
    def get_requirements(
        registry: TheRegistry, model: Model, response: Response, _actor: reader
    ) -> RequirementsOutput:
        """The requirements that hold now."""
        record = registry.requirements.present(model)
        return _answered(record, response, registry.requirements.warnings(record))

    @router.put("/models/{model}/requirements", responses={201: {"model": RequirementsOutput}})
    def put_requirements(
        registry: TheRegistry,
        model: Model,
        body: RequirementsInput,
        response: Response,
        actor: writer,
        if_match: IfMatch = None,
        if_none_match: IfNoneMatch = None,
    ) -> RequirementsOutput:
        """Make the next version of the requirements. Approvals that were given under the present
        one hold no longer. The same again changes nothing. `warnings` in the answer tell what of
        the contract no version of the model has, such as a misspelt column."""
        record, created = registry.requirements.put(
            model,
            body.requirements(),
            by=actor,
            expected=expected_state(if_match, if_none_match),
        )
        response.status_code = 201 if created else 200
        response.headers["Location"] = f"/api/v1/models/{model}/requirements/{record.number}"
        return _answered(record, response, registry.requirements.warnings(record))

    @router.get("/models/{model}/requirements/history")
    def list_requirements(
        registry: TheRegistry,
        model: Model,
        _actor: reader,
        limit: Limit = DEFAULT_LIMIT,
        after: AfterNumber = 0,
    ) -> Page[RequirementsOutput]:
        """Every version of the requirements, oldest first."""
        found = registry.requirements.page(model, after, limit)
        return page_of(
            [RequirementsOutput.of(record, []) for record in found],
            [record.number for record in found],
            limit,
        )

    @router.get("/models/{model}/requirements/{number}")
    def get_requirements_version(
        registry: TheRegistry,
        model: Model,
        number: RequirementsNumber,
        response: Response,
        _actor: reader,
    ) -> RequirementsOutput:
        """One version of the requirements."""
        return _answered(registry.requirements.get(model, number), response, [])

    return router


def _answered(
    record: RequirementsRecord, response: Response, warnings: list[str]
) -> RequirementsOutput:
    response.headers["ETag"] = quoted(requirements_etag(record))
    return RequirementsOutput.of(record, warnings)
