"""``/models/M/rollout/...``: what people do with a guarded canary, and what was decided of it."""

from typing import Annotated

from fastapi import APIRouter, Depends

from control.middleware import require
from control.resources import Page
from control.rollouts.operations import Canaries
from control.rollouts.output import decision_of, output_of
from control.routes_conventions import Limit, errors
from control.routes_parts import part
from registry.access import EVERYONE, PUBLISHERS, Actor
from registry.canary_bodies import CanaryDecisionOutput, CanaryReason, GuardedCanaryOutput
from registry.routes_parameters import AfterNumber, Model
from registry.routes_permissions import managing

TheCanaries = Annotated[Canaries, Depends(part(lambda services: services.canaries))]
NO_REASON = CanaryReason()


def canary_router() -> APIRouter:
    """The guarded canary of a model, for those who manage it."""
    router = APIRouter(tags=["rollouts"])
    manager = Annotated[Actor, Depends(managing(require, *PUBLISHERS))]
    reads = [Depends(managing(require, *EVERYONE))]

    @router.get("/models/{model}/rollout/decisions", dependencies=reads, responses=errors(404, 422))
    def list_canary_decisions(
        canaries: TheCanaries, model: Model, limit: Limit = 100, after: AfterNumber = 0
    ) -> Page[CanaryDecisionOutput]:
        """List decisions about the model's guarded canaries with their numbers, oldest first."""
        found = canaries.decisions(model, after, limit + 1)
        following = str(found[limit - 1].id) if len(found) > limit else None
        return Page(items=[decision_of(record) for record in found[:limit]], next=following)

    @router.post("/models/{model}/rollout/pause", responses=errors(404, 409, 422))
    def pause_canary(
        canaries: TheCanaries, model: Model, actor: manager, body: CanaryReason = NO_REASON
    ) -> GuardedCanaryOutput:
        """Keep the canary at its step; it is still guarded."""
        return output_of(canaries.pause(model, actor=actor.name, reason=body.reason))

    @router.post("/models/{model}/rollout/resume", responses=errors(404, 409, 422))
    def resume_canary(
        canaries: TheCanaries, model: Model, actor: manager, body: CanaryReason = NO_REASON
    ) -> GuardedCanaryOutput:
        """Let the canary advance by itself again."""
        return output_of(canaries.resume(model, actor=actor.name, reason=body.reason))

    @router.post("/models/{model}/rollout/advance", responses=errors(404, 409, 422))
    def advance_canary(
        canaries: TheCanaries, model: Model, actor: manager, body: CanaryReason = NO_REASON
    ) -> GuardedCanaryOutput:
        """Go to the next step now, whatever this one still waits for; from the last one, promote
        the canary if its plan says so."""
        return output_of(canaries.advance(model, actor=actor.name, reason=body.reason))

    @router.post("/models/{model}/rollout/abort", responses=errors(404, 409, 422))
    def abort_canary(
        canaries: TheCanaries, model: Model, actor: manager, body: CanaryReason = NO_REASON
    ) -> GuardedCanaryOutput:
        """End the canary: all of its traffic is the stable version's again."""
        return output_of(canaries.abort(model, actor=actor.name, reason=body.reason))

    return router
