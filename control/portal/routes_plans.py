"""Pages of plans: what they allow, who subscribes, made and changed."""

import asyncio
from typing import Final

from fastapi import APIRouter
from fastapi.responses import Response

from control.plans import Plan
from control.portal.api import ApiRefusal, Tagged
from control.portal.editing import conditions, editing
from control.portal.forms import Form
from control.portal.plan_forms import LABELS, PLACES, PlanForm, body_of, form_of, merged, typed
from control.portal.rendering import page, redirect
from control.portal.session import TheForm, Visit
from control.portal.visitors import Admin, After, Inspector
from control.resources import Page, Subscription

PAGE_ITEMS: Final = 50
PATH: Final = "/portal/operate/plans"


def plan_pages() -> APIRouter:
    """``/portal/operate/plans``."""
    router = APIRouter(prefix="/operate")

    @router.get("/plans")
    async def plans_page(visit: Inspector, after: After = "") -> Response:
        """Plans by name."""
        found = await visit.api.get("/plans", Page[Plan], limit=PAGE_ITEMS, after=after or None)
        return page(visit, "operate/plans.html", found=found, after=after)

    @router.get("/new-plan")
    async def new_plan_page(visit: Admin) -> Response:
        """The form of a new plan."""
        return _form(visit, None, form_of(None))

    @router.post("/new-plan")
    async def make(visit: Admin, form: TheForm) -> Response:
        """Make a plan."""
        return await _write(visit, form, form.text("name"), None)

    @router.get("/plans/{plan}")
    async def plan_page(visit: Inspector, plan: str, after: After = "") -> Response:
        """One plan with its subscriptions."""
        return await _shown(visit, plan, after=after)

    @router.get("/plans/{plan}/edit")
    async def edit_page(visit: Admin, plan: str) -> Response:
        """The form of a plan, with the tag that it is changed under."""
        found = await visit.api.get_tagged(f"/plans/{plan}", Plan)
        return _form(visit, plan, form_of(found.item), found)

    @router.post("/plans/{plan}/edit")
    async def change(visit: Admin, plan: str, form: TheForm) -> Response:
        """Change a plan, if nobody else has meanwhile."""
        return await _write(visit, form, plan, plan)

    @router.post("/plans/{plan}/delete")
    async def delete(visit: Admin, plan: str) -> Response:
        """Delete a plan that nobody uses."""
        try:
            await visit.api.delete(f"/plans/{plan}")
        except ApiRefusal as refusal:
            return await _shown(visit, plan, refusal=refusal)
        return redirect(visit, PATH, notice=f"The plan {plan} is deleted.")

    return router


async def _write(visit: Visit, form: Form, name: str, known: str | None) -> Response:
    try:
        if known is None:
            await visit.api.put(f"/plans/{name}", body_of(form), Plan, if_none_match="*")
        else:
            await visit.api.put(f"/plans/{name}", body_of(form), Plan, **conditions(form))
    except ApiRefusal as refusal:
        held = None
        if known is not None:
            held = await visit.api.get_tagged(f"/plans/{known}", Plan)
        return _form(visit, known, typed(form), held, form, refusal)
    said = f"The plan {name} is {'made' if known is None else 'saved'}: gateways follow at once."
    return redirect(visit, f"{PATH}/{name}", notice=said)


def _form(
    visit: Visit,
    known: str | None,
    shown: PlanForm,
    held: Tagged[Plan] | None = None,
    form: Form | None = None,
    refusal: ApiRefusal | None = None,
) -> Response:
    found = {} if refusal is None else refusal.fields
    errors = {PLACES.get(name, name): message for name, message in found.items()}
    present = form_of(None if held is None else held.item)
    edit = editing(
        LABELS,
        present.texts,
        "" if held is None else held.etag,
        form,
        refusal,
        shown.texts,
    )
    return page(
        visit,
        "operate/plan_form.html",
        status=200 if refusal is None else refusal.status,
        known=known,
        form=merged(shown, present, edit.values) if edit.late else shown,
        edit=edit,
        refusal=refusal,
        errors=errors,
    )


async def _shown(
    visit: Visit, plan: str, *, after: str = "", refusal: ApiRefusal | None = None
) -> Response:
    found, subscriptions = await asyncio.gather(
        visit.api.get(f"/plans/{plan}", Plan),
        visit.api.get(
            "/subscriptions", Page[Subscription], plan=plan, limit=PAGE_ITEMS, after=after or None
        ),
    )
    return page(
        visit,
        "operate/plan.html",
        status=200 if refusal is None else refusal.status,
        plan=found,
        subscriptions=subscriptions,
        after=after,
        refusal=refusal,
    )
