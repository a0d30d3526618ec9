"""Pages of identity providers: whose tokens are taken, made, changed and ended."""

from typing import Final

from fastapi import APIRouter
from fastapi.responses import Response

from control.identity.issuers import Issuer
from control.portal.api import ApiRefusal, Tagged
from control.portal.editing import conditions, editing, is_overtaken, overtaken, tag
from control.portal.forms import Form
from control.portal.issuer_forms import LABELS, OFFERED, body_of, texts, typed_texts
from control.portal.rendering import page, redirect
from control.portal.session import TheForm, Visit
from control.portal.visitors import Admin, After, Inspector
from control.resources import Page

PAGE_ITEMS: Final = 50
PATH: Final = "/portal/operate/issuers"


def issuer_pages() -> APIRouter:
    """``/portal/operate/issuers``."""
    router = APIRouter(prefix="/operate")

    @router.get("/issuers")
    async def issuers_page(visit: Inspector, after: After = "") -> Response:
        """Whose tokens are taken, and who logs in through them."""
        found = await visit.api.get("/issuers", Page[Issuer], limit=PAGE_ITEMS, after=after or None)
        return page(visit, "operate/issuers.html", found=found, after=after)

    @router.get("/new-issuer")
    async def new_issuer_page(visit: Admin) -> Response:
        """The form of a new identity provider."""
        return _form(visit, None)

    @router.post("/new-issuer")
    async def make(visit: Admin, form: TheForm) -> Response:
        """Take the tokens of another one."""
        name = form.text("name")
        try:
            await visit.api.put(f"/issuers/{name}", body_of(form), Issuer, if_none_match="*")
        except ApiRefusal as refusal:
            return _form(visit, None, form, refusal.beside())
        return redirect(visit, PATH, notice=f"Tokens of {name} are taken from now on.")

    @router.get("/issuers/{issuer}/edit")
    async def edit_page(visit: Admin, issuer: str) -> Response:
        """The form of one, with the tag that it is changed under."""
        return _form(visit, await visit.api.get_tagged(f"/issuers/{issuer}", Issuer))

    @router.post("/issuers/{issuer}/edit")
    async def change(visit: Admin, issuer: str, form: TheForm) -> Response:
        """Change one, if nobody else has meanwhile."""
        path = f"/issuers/{issuer}"
        try:
            await visit.api.put(path, body_of(form), Issuer, **conditions(form))
        except ApiRefusal as refusal:
            known = await visit.api.get_tagged(path, Issuer)
            return _form(visit, known, form, refusal.beside())
        return redirect(visit, PATH, notice=f"{issuer} is saved: gateways follow at once.")

    @router.post("/issuers/{issuer}/delete")
    async def delete(visit: Admin, issuer: str, form: TheForm) -> Response:
        """Take its tokens no more."""
        try:
            await visit.api.delete(f"/issuers/{issuer}", if_match=tag(form))
        except ApiRefusal as refusal:
            raise overtaken(refusal, "the identity provider") from None
        return redirect(visit, PATH, notice=f"Tokens of {issuer} are taken no more.")

    return router


def _form(
    visit: Visit,
    known: Tagged[Issuer] | None,
    form: Form | None = None,
    refusal: ApiRefusal | None = None,
) -> Response:
    present, etag = (
        texts(None if known is None else known.item),
        "" if known is None else known.etag,
    )
    typed = None if form is None else typed_texts(form)
    return page(
        visit,
        "operate/issuer_form.html",
        status=200 if refusal is None else refusal.status,
        known=None if known is None else known.item,
        name="" if form is None else form.text("name"),
        etag=etag,
        edit=editing(LABELS, present, etag, form, None if known is None else refusal, typed),
        taken=known is None and is_overtaken(refusal),
        fields=["name", *LABELS],
        offered=OFFERED,
        refusal=refusal,
    )
