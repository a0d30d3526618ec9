"""``/models/M/shadows/V/report``."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query

from control.captures import reads_payloads
from control.disagreement_report import (
    DisagreementReport,
    dimensions_of,
    report_of,
    span_of,
)
from control.middleware import require
from control.resources import Moment
from control.routes_conventions import errors
from control.routes_parts import part
from control.store.disagreements import DisagreementStore
from control.store.mirrored import MirroredStore
from registry.access import EVIDENCE_READERS, Actor
from registry.clock import Clock
from registry.routes_application import TheRegistry
from registry.routes_parameters import Model, VersionNumber
from registry.routes_permissions import managing

MAX_EXAMPLES: Final = 100

TheStore = Annotated[DisagreementStore, Depends(part(lambda services: services.disagreements))]
TheMirrored = Annotated[MirroredStore, Depends(part(lambda services: services.mirrored))]
TheClock = Annotated[Clock, Depends(part(lambda services: services.clock))]


def disagreement_router() -> APIRouter:
    """Routes of disagreements."""
    router = APIRouter(tags=["versions"])
    reader = Annotated[Actor, Depends(managing(require, *EVIDENCE_READERS))]

    @router.get("/models/{model}/shadows/{number}/report", responses=errors(404, 422))
    def get_disagreement_report(
        registry: TheRegistry,
        store: TheStore,
        mirrored: TheMirrored,
        clock: TheClock,
        model: Model,
        number: VersionNumber,
        actor: reader,
        start: Annotated[
            Moment | None,
            Query(alias="from", description="Begin (RFC 3339); left out: 24 hours before `to`."),
        ] = None,
        to: Annotated[Moment | None, Query(description="End; left out: now.")] = None,
        by: Annotated[str, Query(description="`application`, `segment`, or both by a comma.")] = "",
        examples: Annotated[
            int, Query(ge=0, le=MAX_EXAMPLES, description="At most so many example rows.")
        ] = 20,
    ) -> DisagreementReport:
        """Report what a shadow version would have answered otherwise, in whole hours: class flips,
        differences of numbers, failures, example rows where payload may be kept, and how many
        requests were scored at all.

        Example rows are payload: they are for those who manage the model, not for its sponsor and
        not for auditors, who see in the audit log who has read which (`capture.read`).
        """
        registry.versions.get(model, number)
        span = span_of(start, to, clock())
        limit = examples if reads_payloads(actor, model) else 0
        return report_of(
            model,
            number,
            span,
            dimensions_of(by),
            store.tallies(model, number, span.start, span.end),
            mirrored.outcomes(model, number, span.start, span.end),
            store.read_examples(model, number, span.start, span.end, limit) if limit else [],
        )

    return router
