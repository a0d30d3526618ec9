"""Routes of plans."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response

from control.middleware import require
from control.plans import Plan, PlanRequest
from control.resources import Page
from control.routes_conventions import After, Condition, Limit, errors, tagged
from control.routes_parts import part
from control.store.plans import Plans
from registry.access import EVERYONE

Name = Annotated[str, Path(max_length=255)]


ThePlans = Annotated[Plans, Depends(part(lambda services: services.plans))]


def plan_router() -> APIRouter:
    """``/plans``."""
    router = APIRouter(tags=["plans"])
    reads = [Depends(require(*EVERYONE))]
    writes = [Depends(require("admin"))]

    @router.get("/plans", dependencies=reads, responses=errors(422))
    def list_plans(plans: ThePlans, limit: Limit = 100, after: After = "") -> Page[Plan]:
        """List plans by name. `free`, `standard` and `unlimited` are built in."""
        return plans.list(limit, after)

    @router.get("/plans/{plan}", dependencies=reads, responses=errors(404))
    def get_plan(plans: ThePlans, plan: Name, response: Response) -> Plan:
        """Read a plan."""
        found = plans.get(plan)
        tagged(response, found)
        return found

    @router.put(
        "/plans/{plan}",
        dependencies=writes,
        responses={201: {"model": Plan, "description": "Made."}, **errors(412, 422)},
    )
    def put_plan(
        plans: ThePlans, plan: Name, request: PlanRequest, response: Response, condition: Condition
    ) -> Plan:
        """Make a plan, or replace it whole: gateways apply it within a second."""
        put = plans.put(plan, request, condition)
        tagged(response, put.item, created=put.created)
        return put.item

    @router.delete(
        "/plans/{plan}", status_code=204, dependencies=writes, responses=errors(404, 409, 412)
    )
    def delete_plan(plans: ThePlans, plan: Name, condition: Condition) -> None:
        """Delete a plan that no subscription uses. Built-in plans stay."""
        plans.delete(plan, condition)

    return router
