"""``/models/M/versions/V/transition-report`` and ``/models/M/retirement-report``."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from control.middleware import require
from control.routes_conventions import After, Limit, errors
from control.routes_parts import part
from control.transition_resources import RetirementReport, TransitionReport
from control.transitions import Transitions
from registry.access import EVERYONE, Actor
from registry.routes_parameters import Model, VersionNumber
from registry.routes_permissions import managing

TheTransitions = Annotated[
    Transitions, Depends(part(lambda services: services.transitions.reports))
]
Days = Annotated[int, Query(ge=1, le=366, description="Days that the report looks back.")]


def transition_router() -> APIRouter:
    """Reports about versions that end; for those who manage the model."""
    router = APIRouter(tags=["versions"])
    manager = Annotated[Actor, Depends(managing(require, *EVERYONE))]

    @router.get("/models/{model}/versions/{number}/transition-report", responses=errors(404, 422))
    def transition_report(
        transitions: TheTransitions,
        model: Model,
        number: VersionNumber,
        _actor: manager,
        days: Days = 30,
        limit: Limit = 100,
        after: After = "",
    ) -> TransitionReport:
        """Who still calls the version, how often, since when and by which way, and whether they
        would get other answers from its successor. The busiest first; all pages are of the time
        that the first one looked at."""
        return transitions.transition(model, number, days, limit, after)

    @router.get("/models/{model}/retirement-report", responses=errors(404, 422))
    def retirement_report(
        transitions: TheTransitions, model: Model, _actor: manager, days: Days = 30
    ) -> RetirementReport:
        """Weigh the model's versions by quality, traffic and cost: keep, deprecate or retire."""
        return transitions.retirement(model, days)

    return router
