"""``/models/M/rollout/...``: what people do with a guarded canary, and what was decided of it."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from control.middleware import require
from control.resources import Page
from control.rollouts.callers import RolloutCallers, RolloutTraffic
from control.rollouts.operations import Canaries
from control.rollouts.output import decision_of, output_of, trace_of
from control.routes_conventions import Limit, errors
from control.routes_parts import part
from control.store.canary_callers import CanaryCallers
from protocol.errors import Code, TollwayError
from registry.access import EVERYONE, PUBLISHERS, Actor
from registry.canary_bodies import (
    CanaryDecisionOutput,
    CanaryReason,
    CanaryTraceOutput,
    GuardedCanaryOutput,
)
from registry.conditions import expected_state
from registry.routes_parameters import AfterNumber, IfMatch, Model, Order
from registry.routes_permissions import managing

TheCanaries = Annotated[Canaries, Depends(part(lambda services: services.canaries))]
TheCallers = Annotated[
    CanaryCallers,
    Depends(part(lambda services: CanaryCallers(services.database, services.clock))),
]
Minutes = Annotated[int, Query(ge=1, le=1440, description="Minutes that are looked back.")]
Days = Annotated[int, Query(ge=1, le=366, description="Days that are looked back.")]
NO_REASON = CanaryReason()


def canary_router() -> APIRouter:
    """The guarded canary of a model, for those who manage it."""
    router = APIRouter(tags=["rollouts"])
    manager = Annotated[Actor, Depends(managing(require, *PUBLISHERS))]
    reads = [Depends(managing(require, *EVERYONE))]

    @router.get("/models/{model}/rollout/decisions", dependencies=reads, responses=errors(404, 422))
    def list_canary_decisions(
        canaries: TheCanaries,
        model: Model,
        limit: Limit = 100,
        after: AfterNumber = 0,
        order: Order = "oldest",
    ) -> Page[CanaryDecisionOutput]:
        """List decisions about the model's guarded canaries with their numbers."""
        found = canaries.decisions(model, after, limit + 1, newest=order == "newest")
        following = str(found[limit - 1].id) if len(found) > limit else None
        return Page(items=[decision_of(record) for record in found[:limit]], next=following)

    @router.get("/models/{model}/rollout/callers", dependencies=reads, responses=errors(404, 422))
    def list_canary_callers(
        callers: TheCallers, model: Model, days: Days = 7, limit: Limit = 100
    ) -> RolloutCallers:
        """List the applications that call the model, the busiest first, each with the share from
        which on a canary answers it: to tell who would move before anybody does."""
        return callers.of(model, days, limit)

    @router.get("/models/{model}/rollout/traffic", dependencies=reads, responses=errors(404, 422))
    def list_rollout_traffic(
        callers: TheCallers, model: Model, minutes: Minutes = 60
    ) -> Page[RolloutTraffic]:
        """List what answered lately: requests by variant and version."""
        return Page(items=callers.traffic(model, minutes), next=None)

    @router.get("/models/{model}/rollout/evidence", dependencies=reads, responses=errors(404, 422))
    def get_canary_evidence(canaries: TheCanaries, model: Model) -> CanaryTraceOutput:
        """Read how the evidence about the model's last guarded canary came about, over the requests
        that it has answered."""
        run = canaries.newest(model)
        if run is None:
            raise TollwayError(Code.NOT_FOUND, f"model {model!r} has had no guarded canary")
        return trace_of(run)

    @router.post("/models/{model}/rollout/pause", responses=errors(404, 409, 412, 422))
    def pause_canary(
        canaries: TheCanaries,
        model: Model,
        actor: manager,
        body: CanaryReason = NO_REASON,
        if_match: IfMatch = None,
    ) -> GuardedCanaryOutput:
        """Keep the canary at its step; it is still guarded."""
        expected = expected_state(if_match, None)
        return output_of(
            canaries.pause(model, actor=actor.name, reason=body.reason, expected=expected)
        )

    @router.post("/models/{model}/rollout/resume", responses=errors(404, 409, 412, 422))
    def resume_canary(
        canaries: TheCanaries,
        model: Model,
        actor: manager,
        body: CanaryReason = NO_REASON,
        if_match: IfMatch = None,
    ) -> GuardedCanaryOutput:
        """Let the canary advance by itself again."""
        expected = expected_state(if_match, None)
        return output_of(
            canaries.resume(model, actor=actor.name, reason=body.reason, expected=expected)
        )

    @router.post("/models/{model}/rollout/advance", responses=errors(404, 409, 412, 422))
    def advance_canary(
        canaries: TheCanaries,
        model: Model,
        actor: manager,
        body: CanaryReason = NO_REASON,
        if_match: IfMatch = None,
    ) -> GuardedCanaryOutput:
        """Go to the next step now, whatever this one still waits for; from the last one, promote
        the canary if its plan says so."""
        expected = expected_state(if_match, None)
        return output_of(
            canaries.advance(model, actor=actor.name, reason=body.reason, expected=expected)
        )

    @router.post("/models/{model}/rollout/abort", responses=errors(404, 409, 412, 422))
    def abort_canary(
        canaries: TheCanaries,
        model: Model,
        actor: manager,
        body: CanaryReason = NO_REASON,
        if_match: IfMatch = None,
    ) -> GuardedCanaryOutput:
        """End the canary: all of its traffic is the stable version's again."""
        expected = expected_state(if_match, None)
        return output_of(
            canaries.abort(model, actor=actor.name, reason=body.reason, expected=expected)
        )

    return router
