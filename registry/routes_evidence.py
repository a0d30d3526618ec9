"""``/models/M/versions/V/evidence``."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from registry.access import EVIDENCE_READERS, PUBLISHERS, Actor, Require
from registry.digests import DIGEST_PATTERN
from registry.evidence_inputs import EvidenceInput, EvidenceOutput
from registry.outputs import Page
from registry.routes_application import TheRegistry
from registry.routes_parameters import AfterNumber, Model, VersionNumber, page_of
from registry.routes_permissions import managing

DEFAULT_EVALUATIONS = 10
EvidenceDigest = Annotated[str, Path(pattern=DIGEST_PATTERN, description="Of the evidence.")]
NewestFirst = Annotated[bool, Query(description="Whether the newest comes first.")]
Evaluations = Annotated[int, Query(ge=1, le=50, description="At most so many evaluations.")]


def evidence_router(require: Require) -> APIRouter:
    """Routes of evidence."""
    router = APIRouter(tags=["versions"])
    reader = Annotated[Actor, Depends(managing(require, *EVIDENCE_READERS))]
    publisher = Annotated[Actor, Depends(managing(require, *PUBLISHERS))]

    @router.get("/models/{model}/versions/{number}/evidence")
    def list_evidence(
        registry: TheRegistry,
        model: Model,
        number: VersionNumber,
        _actor: reader,
        limit: Evaluations = DEFAULT_EVALUATIONS,
        after: AfterNumber = 0,
        newest_first: NewestFirst = False,
    ) -> Page[EvidenceOutput]:
        """The version's evaluations, oldest first, or newest first."""
        found = registry.evidence.page(model, number, after, limit, newest_first=newest_first)
        return page_of(
            [EvidenceOutput.of(record) for record in found],
            [record.id for record in found],
            limit,
        )

    @router.get("/models/{model}/versions/{number}/evidence/{digest}")
    def get_evidence(
        registry: TheRegistry,
        model: Model,
        number: VersionNumber,
        digest: EvidenceDigest,
        _actor: reader,
    ) -> EvidenceOutput:
        """One evaluation by its digest."""
        return EvidenceOutput.of(registry.evidence.get(model, number, digest))

    @router.post(
        "/models/{model}/versions/{number}/evidence",
        status_code=201,
        responses={200: {"model": EvidenceOutput}},
    )
    def add_evidence(
        registry: TheRegistry,
        model: Model,
        number: VersionNumber,
        body: EvidenceInput,
        response: Response,
        actor: publisher,
    ) -> EvidenceOutput:
        """Keep an evaluation of the version: it can never be changed or taken back. The same one
        again is there once."""
        record, created = registry.evidence.add(body.evidence(model, number), actor=actor.name)
        response.status_code = 201 if created else 200
        response.headers["Location"] = (
            f"/api/v1/models/{model}/versions/{number}/evidence/{record.digest}"
        )
        return EvidenceOutput.of(record)

    return router
