"""Pages of consumers, subscriptions that wait, and settings."""

from typing import Annotated, Final, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from fastapi.responses import Response

from control.portal.api import ApiRefusal
from control.portal.rendering import page, redirect
from control.portal.session import TheForm, Visit
from control.portal.subscribing import wished_plan
from control.portal.visitors import Admin, After, Inspector
from control.resources import Application, Consumer, Page, Subscription
from control.routes_settings import SettingsItem
from protocol.errors import Code, TollwayError
from protocol.problems import of_error

Text = Annotated[str, Query(max_length=100)]
PAGE_ITEMS: Final = 50
PATH: Final = "/portal/operate/subscriptions"


def operate_list_pages() -> APIRouter:
    """``/portal/operate/consumers``, ``subscriptions`` and ``settings``."""
    router = APIRouter(prefix="/operate")
    _add_consumers(router)
    _add_subscriptions(router)

    @router.get("/settings")
    async def settings_page(visit: Inspector) -> Response:
        """What control was told, read only."""
        found = await visit.api.get("/settings", SettingsItem)
        return page(visit, "operate/settings.html", found=found)

    return router


def _add_consumers(router: APIRouter) -> None:
    @router.get("/consumers")
    async def consumers_page(visit: Inspector, q: Text = "", after: After = "") -> Response:
        """Consumers by name, with a search."""
        search = q.strip()
        found = await visit.api.get(
            "/consumers",
            Page[Consumer],
            search=search or None,
            after=after or None,
            limit=PAGE_ITEMS,
        )
        template = "operate/consumers_list.html" if visit.is_htmx else "operate/consumers.html"
        here = urlencode({"q": search} if search else {})
        return page(visit, template, found=found, search=search, after=after, here=here)

    @router.get("/consumers/{consumer}")
    async def consumer_page(visit: Inspector, consumer: str, after: After = "") -> Response:
        """One consumer with its applications."""
        found = await visit.api.get(f"/consumers/{consumer}", Consumer)
        applications = await visit.api.get(
            "/applications",
            Page[Application],
            consumer=found.name,
            after=after or None,
            limit=PAGE_ITEMS,
        )
        return page(
            visit, "operate/consumer.html", consumer=found, applications=applications, after=after
        )


def _add_subscriptions(router: APIRouter) -> None:
    @router.get("/subscriptions")
    async def subscriptions_page(visit: Inspector, after: After = "") -> Response:
        """Subscriptions that wait for approval."""
        return await _waiting(visit, after=after)

    @router.post("/subscriptions/{application}/{model}/{decision}")
    async def decide(
        visit: Admin,
        application: str,
        model: str,
        decision: Literal["approve", "refuse"],
        form: TheForm,
    ) -> Response:
        """Approve or refuse one."""
        path = f"/subscriptions/{application}/{model}"
        try:
            waiting = await visit.api.get_tagged(path, Subscription)
            if (now := wished_plan(waiting.item)) != form.text("plan"):
                said = f"{application} asks for {now} on {model} by now: nothing was decided"
                raise ApiRefusal(of_error(TollwayError(Code.CONFLICT, said)))
            await visit.api.post(
                f"{path}/{decision}",
                {"reason": form.text("reason")},
                Subscription,
                if_match=waiting.etag,
            )
        except ApiRefusal as refusal:
            return await _waiting(visit, refusal=refusal)
        said = (
            f"{application} may call {model}."
            if decision == "approve"
            else f"{application} was refused."
        )
        return redirect(visit, PATH, notice=said)


async def _waiting(visit: Visit, *, after: str = "", refusal: ApiRefusal | None = None) -> Response:
    found = await visit.api.get(
        "/subscriptions",
        Page[Subscription],
        state="pending",
        limit=PAGE_ITEMS,
        after=after or None,
    )
    return page(
        visit,
        "operate/subscriptions.html",
        status=200 if refusal is None else refusal.status,
        found=found,
        after=after,
        refusal=refusal,
    )
