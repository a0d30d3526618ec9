"""``/models/M/versions/V/gate`` and ``/approvals``."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from protocol.errors import Code, TollwayError
from registry.access import EVIDENCE_READERS, PUBLISHERS, Actor, Require
from registry.approval_bodies import (
    ApprovalOutput,
    ApprovalRequestInput,
    DecisionInput,
    GateOutput,
    MatterOutput,
)
from registry.approval_desk import Which
from registry.outputs import Page
from registry.routes_application import TheRegistry
from registry.routes_parameters import (
    DEFAULT_LIMIT,
    AfterNumber,
    AfterVersion,
    Limit,
    Model,
    VersionNumber,
    page_of,
)
from registry.routes_permissions import managing


def approval_router(require: Require) -> APIRouter:
    """Routes of gates and approvals."""
    router = APIRouter(tags=["versions"])
    reader = Annotated[Actor, Depends(managing(require, *EVIDENCE_READERS))]
    publisher = Annotated[Actor, Depends(managing(require, *PUBLISHERS))]
    sponsor = Annotated[Actor, Depends(managing(require, "sponsor"))]

    @router.get("/approvals")
    def list_matters(
        registry: TheRegistry,
        actor: Annotated[Actor, Depends(require(*EVIDENCE_READERS))],
        state: Annotated[
            Which, Query(description="`waiting` for a decision, or `decided` already.")
        ] = "waiting",
        limit: Limit = DEFAULT_LIMIT,
        after: AfterVersion = "",
    ) -> Page[MatterOutput]:
        """List the versions that await their sponsor's decision, or have one: a sponsor's own, and
        for others those of the models that they manage. A page may be short and have a next one."""
        model, _, number = after.partition("/")
        found = registry.desk.page(actor, state, (model, int(number or 0)), limit)
        following = None if found.next is None else "{}/{}".format(*found.next)
        return Page(items=[MatterOutput.of(one) for one in found.items], next=following)

    @router.get("/models/{model}/versions/{number}/gate")
    def get_gate(
        registry: TheRegistry, model: Model, number: VersionNumber, _actor: reader
    ) -> GateOutput:
        """What the present requirements say of the version, criterion by criterion."""
        return GateOutput.of(registry.gates.report(model, number))

    @router.get("/models/{model}/versions/{number}/approvals")
    def list_approvals(
        registry: TheRegistry,
        model: Model,
        number: VersionNumber,
        _actor: reader,
        limit: Limit = DEFAULT_LIMIT,
        after: AfterNumber = 0,
    ) -> Page[ApprovalOutput]:
        """Every decision about the version, oldest first. The newest counts, while it holds."""
        found = registry.approvals.page(model, number, after, limit)
        return page_of([ApprovalOutput.of(one) for one in found], [one.id for one in found], limit)

    @router.post(
        "/models/{model}/versions/{number}/approvals",
        status_code=201,
        responses={200: {"model": ApprovalOutput}},
    )
    def decide(
        registry: TheRegistry,
        model: Model,
        number: VersionNumber,
        body: DecisionInput,
        response: Response,
        actor: sponsor,
    ) -> ApprovalOutput:
        """Approve or refuse the version: for the sponsor alone whom the requirements name. The
        decision is signed, and holds until manifest, evidence or requirements are others."""
        if body.decision == "refuse" and not body.reason.strip():
            raise TollwayError(Code.INVALID, "reason: say why the version is refused")
        approval, created = registry.approvals.decide(
            model, number, body.decision, body.reason, by=actor
        )
        response.status_code = 201 if created else 200
        return ApprovalOutput.of(approval)

    @router.post("/models/{model}/versions/{number}/approval-requests", status_code=202)
    def ask_for_approval(
        registry: TheRegistry,
        model: Model,
        number: VersionNumber,
        body: ApprovalRequestInput,
        _actor: publisher,
    ) -> GateOutput:
        """Tell the sponsor, by webhook and audit log, that the version awaits their decision."""
        return GateOutput.of(registry.approvals.ask(model, number, body.note))

    return router
