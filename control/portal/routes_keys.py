"""Pages of an application's keys. A secret is in the answer that makes it, and nowhere else."""

import asyncio
import secrets

from fastapi import APIRouter
from fastapi.responses import Response

from control.portal.api import ApiRefusal
from control.portal.applications import MANY
from control.portal.editing import editing, tag
from control.portal.forms import Form
from control.portal.keys import (
    LABELS,
    OVERLAPS,
    USUAL_OVERLAP_S,
    key_change,
    key_request,
    key_texts,
    shown,
    typed_texts,
)
from control.portal.rendering import page, redirect
from control.portal.session import TheForm, Visit
from control.portal.subscribing import make_key
from control.portal.visitors import After, Owner, Witness
from control.resources import Application, Key, NewKey, Page, Subscription
from protocol.configuration import SCOPES

PAGE_KEYS = 50


def key_pages() -> APIRouter:
    """``/portal/applications/A/keys``."""
    router = APIRouter(prefix="/applications/{application}/keys")
    _add_list(router)
    _add_one(router)
    _add_ends(router)
    return router


def _add_list(router: APIRouter) -> None:
    @router.get("")
    async def keys_page(visit: Witness, application: str, after: After = "") -> Response:
        """The keys of an application."""
        found, keys = await asyncio.gather(
            visit.api.get(f"/applications/{application}", Application),
            visit.api.get(
                "/keys",
                Page[Key],
                application=application,
                limit=PAGE_KEYS,
                after=after or None,
            ),
        )
        items = [shown(key, visit.now_ms) for key in keys.items]
        return page(
            visit,
            "applications/keys.html",
            application=found,
            keys=items,
            following=keys.next,
            after=after,
        )

    @router.get("/new")
    async def new_page(visit: Owner, application: str) -> Response:
        """The form of a new key."""
        return await _new(visit, application)

    @router.post("/new")
    async def make(visit: Owner, form: TheForm, application: str) -> Response:
        """Make a key, and show its secret."""
        try:
            made = await make_key(visit, key_request(application, form), form.text("once"))
        except ApiRefusal as refusal:
            return await _new(visit, application, form, refusal.beside(expires_at="expires_on"))
        return await _secret(visit, application, made)


def _add_one(router: APIRouter) -> None:
    @router.get("/{key}")
    async def key_page(visit: Witness, application: str, key: str) -> Response:
        """One key: what it may be used for, and what can be done with it."""
        return await _one(visit, application, key)

    @router.post("/{key}")
    async def change(visit: Owner, form: TheForm, application: str, key: str) -> Response:
        """Change label and restrictions."""
        before = await visit.api.get(f"/keys/{key}", Key)
        try:
            await visit.api.patch(f"/keys/{key}", key_change(form, before), Key, if_match=tag(form))
        except ApiRefusal as refusal:
            return await _one(
                visit, application, key, form, refusal.beside(expires_at="expires_on")
            )
        return redirect(visit, f"/portal/applications/{application}/keys/{key}", notice="Saved.")


def _add_ends(router: APIRouter) -> None:
    @router.post("/{key}/rotate")
    async def rotate(visit: Owner, form: TheForm, application: str, key: str) -> Response:
        """Give the key a new secret, and show it."""
        answer = await visit.api.call(
            "POST",
            f"/keys/{key}/rotate",
            {"overlap_s": form.number("overlap_s")},
            headers={"idempotency-key": form.optional("once")},
        )
        made = NewKey.model_validate_json(answer.content)
        return await _secret(visit, application, made, rotated=True)

    @router.post("/{key}/revoke")
    async def revoke(visit: Owner, application: str, key: str) -> Response:
        """End the key."""
        ended = await visit.api.post(f"/keys/{key}/revoke", None, Key)
        way = f"/portal/applications/{application}/keys"
        return redirect(visit, way, notice=f"The key {ended.prefix} is revoked.")


async def _new(
    visit: Visit, name: str, form: Form | None = None, refusal: ApiRefusal | None = None
) -> Response:
    application, subscriptions = await asyncio.gather(
        visit.api.get(f"/applications/{name}", Application), _subscribed(visit, name)
    )
    return page(
        visit,
        "applications/new_key.html",
        status=200 if refusal is None else refusal.status,
        application=application,
        form=Form([]) if form is None else form,
        key=None,
        models=subscriptions,
        scopes=SCOPES,
        once=secrets.token_urlsafe(16),
        refusal=refusal,
    )


async def _one(
    visit: Visit,
    name: str,
    key: str,
    form: Form | None = None,
    refusal: ApiRefusal | None = None,
) -> Response:
    application, found, subscriptions = await asyncio.gather(
        visit.api.get(f"/applications/{name}", Application),
        visit.api.get_tagged(f"/keys/{key}", Key),
        _subscribed(visit, name),
    )
    return page(
        visit,
        "applications/key.html",
        status=200 if refusal is None else refusal.status,
        application=application,
        shown=shown(found.item, visit.now_ms),
        key=found.item,
        edit=editing(
            LABELS,
            key_texts(found.item),
            found.etag,
            form,
            refusal,
            None if form is None else typed_texts(form),
        ),
        models=sorted({*subscriptions, *(found.item.models or ())}),
        scopes=SCOPES,
        overlaps=OVERLAPS,
        usual_overlap=USUAL_OVERLAP_S,
        once=secrets.token_urlsafe(16),
        refusal=refusal,
    )


async def _subscribed(visit: Visit, name: str) -> list[str]:
    found = await visit.api.get("/subscriptions", Page[Subscription], application=name, limit=MANY)
    return [one.model for one in found.items]


async def _secret(visit: Visit, name: str, made: NewKey, *, rotated: bool = False) -> Response:
    application = await visit.api.get(f"/applications/{name}", Application)
    return page(
        visit,
        "applications/key_made.html",
        application=application,
        key=made,
        rotated=rotated,
    )
