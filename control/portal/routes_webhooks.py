"""Pages of webhooks: endpoints, their secrets, and what was delivered."""

import asyncio
import secrets
from collections.abc import Iterable, Sequence
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from control.portal.api import ApiRefusal, Tagged
from control.portal.editing import conditions, editing, overtaken, tag
from control.portal.forms import Form
from control.portal.rendering import page, redirect
from control.portal.session import TheForm, Visit
from control.portal.visitors import After, Owner, Witness
from control.resources import Page
from control.webhooks.resources import (
    Delivery,
    DeliveryDetail,
    EventType,
    NewWebhook,
    Webhook,
)

PAGE_HOOKS = 50
PAGE_DELIVERIES = 25
OVERLAPS = ((0, "none: the old secret ends now"), (3_600, "1 hour"), (86_400, "1 day"))
LABELS = {"url": "Address", "title": "Title", "events": "Events", "enabled": "Send events"}
InState = Annotated[str, Query(max_length=20)]


def webhook_pages() -> APIRouter:
    """``/portal/webhooks``."""
    router = APIRouter(prefix="/webhooks")
    _add_list(router)
    _add_one(router)
    _add_changes(router)
    _add_deliveries(router)
    return router


def _add_list(router: APIRouter) -> None:
    @router.get("")
    async def webhooks_page(visit: Witness, after: After = "") -> Response:
        """The endpoints."""
        found = await visit.api.get(
            "/webhooks", Page[Webhook], limit=PAGE_HOOKS, after=after or None
        )
        return page(visit, "webhooks/list.html", found=found, after=after)

    @router.get("/new")
    async def new_page(visit: Owner) -> Response:
        """The form of a new endpoint."""
        return await _form(visit, None, None)

    @router.post("/new")
    async def make(visit: Owner, form: TheForm) -> Response:
        """Make an endpoint, and show its secret."""
        try:
            answer = await visit.api.call(
                "POST",
                "/webhooks",
                _wish(form),
                headers={"idempotency-key": form.optional("once")},
            )
        except ApiRefusal as refusal:
            return await _form(visit, None, form, refusal.beside("url"))
        made = NewWebhook.model_validate_json(answer.content)
        return page(visit, "webhooks/secret.html", hook=made, rotated=False)


def _add_one(router: APIRouter) -> None:
    @router.get("/{webhook}")
    async def webhook_page(
        visit: Witness, webhook: str, state: InState = "", after: After = ""
    ) -> Response:
        """One endpoint, with its deliveries."""
        (hook, etag), deliveries = await asyncio.gather(
            _tagged(visit, webhook),
            visit.api.get(
                f"/webhooks/{webhook}/deliveries",
                Page[Delivery],
                limit=PAGE_DELIVERIES,
                state=state or None,
                after=after or None,
            ),
        )
        template = "webhooks/deliveries.html" if visit.is_htmx else "webhooks/one.html"
        return page(
            visit,
            template,
            hook=hook,
            etag=etag,
            deliveries=deliveries,
            state=state,
            after=after,
            overlaps=OVERLAPS,
        )

    @router.get("/{webhook}/edit")
    async def edit_page(visit: Owner, webhook: str) -> Response:
        """The form of what an endpoint hears."""
        return await _form(visit, await _tagged(visit, webhook), None)


def _add_changes(router: APIRouter) -> None:
    @router.post("/{webhook}/edit")
    async def change(visit: Owner, form: TheForm, webhook: str) -> Response:
        """Change it."""
        wish = _wish(form)
        try:
            await visit.api.put(f"/webhooks/{webhook}", wish, Webhook, **conditions(form))
        except ApiRefusal as refusal:
            hook = await _tagged(visit, webhook)
            return await _form(visit, hook, form, refusal.beside("url"))
        return redirect(visit, f"/portal/webhooks/{webhook}", notice="Saved.")

    @router.post("/{webhook}/rotate")
    async def rotate(visit: Owner, form: TheForm, webhook: str) -> Response:
        """Replace the secret, and show the new one."""
        wish = {"overlap_s": form.number("overlap_s")}
        path = f"/webhooks/{webhook}/rotate"
        try:
            # Rotated twice, the secret that is in use would sign no longer.
            made = await visit.api.post(path, wish, NewWebhook, if_match=tag(form))
        except ApiRefusal as refusal:
            raise overtaken(refusal, "the webhook") from None
        return page(visit, "webhooks/secret.html", hook=made, rotated=True)

    @router.post("/{webhook}/test")
    async def test(visit: Owner, webhook: str) -> Response:
        """Send an event that tests it."""
        sent = await visit.api.post(f"/webhooks/{webhook}/test", None, Delivery)
        way = f"/portal/webhooks/{webhook}/deliveries/{sent.id}"
        return redirect(visit, way, notice="A test is on its way.")

    @router.post("/{webhook}/delete")
    async def remove(visit: Owner, webhook: str) -> Response:
        """Remove it with its deliveries."""
        await visit.api.delete(f"/webhooks/{webhook}")
        return redirect(visit, "/portal/webhooks", notice="The webhook is removed.")


def _add_deliveries(router: APIRouter) -> None:
    @router.get("/{webhook}/deliveries/{delivery}")
    async def delivery_page(visit: Witness, webhook: str, delivery: str) -> Response:
        """One delivery: what is sent, and what came of it."""
        hook, found = await asyncio.gather(
            visit.api.get(f"/webhooks/{webhook}", Webhook),
            visit.api.get(f"/webhooks/{webhook}/deliveries/{delivery}", DeliveryDetail),
        )
        template = "webhooks/attempts.html" if visit.is_htmx else "webhooks/delivery.html"
        return page(visit, template, hook=hook, delivery=found)

    @router.post("/{webhook}/deliveries/{delivery}/replay")
    async def replay(visit: Owner, webhook: str, delivery: str) -> Response:
        """Send it again."""
        path = f"/webhooks/{webhook}/deliveries/{delivery}/replay"
        again = await visit.api.post(path, None, Delivery)
        way = f"/portal/webhooks/{webhook}/deliveries/{again.id}"
        return redirect(visit, way, notice="It is sent again.")


def _wish(form: Form) -> dict[str, object]:
    every = form.text("which") != "some"
    return {
        "url": form.text("url"),
        "title": form.text("title"),
        "events": ["*"] if every else form.every("events"),
        "enabled": form.flag("enabled"),
    }


async def _tagged(visit: Visit, webhook: str) -> Tagged[Webhook]:
    return await visit.api.get_tagged(f"/webhooks/{webhook}", Webhook)


async def _form(
    visit: Visit,
    known: Tagged[Webhook] | None,
    form: Form | None,
    refusal: ApiRefusal | None = None,
) -> Response:
    types = await visit.api.get("/webhooks/event-types", Page[EventType])
    kinds: dict[str, list[EventType]] = {}
    for one in types.items:
        kinds.setdefault(one.type.partition(".")[0], []).append(one)
    hook = None if known is None else known.item
    given = None if form is None else _texts(types.items, **_wish(form))
    present = _texts(types.items) if hook is None else _texts(types.items, **hook.model_dump())
    etag = "" if known is None else known.etag
    return page(
        visit,
        "webhooks/form.html",
        status=200 if refusal is None else refusal.status,
        hook=hook,
        edit=editing(LABELS, present, etag, form, refusal, given),
        kinds=kinds,
        once=secrets.token_urlsafe(16),
        refusal=refusal,
    )


def _texts(
    types: Sequence[EventType],
    *,
    url: object = "",
    title: object = "",
    events: object = ("*",),
    enabled: object = True,
    **_others: object,
) -> dict[str, str]:
    """What the form shows of an endpoint, field by field."""
    asked = set(map(str, events)) if isinstance(events, Iterable) else set()
    named = [
        one.type for one in types if one.type in asked or f"{one.type.partition('.')[0]}.*" in asked
    ]
    return {
        "url": str(url),
        "title": str(title),
        "events": "*" if "*" in asked else "\n".join(named),
        "enabled": "yes" if enabled else "no",
    }
