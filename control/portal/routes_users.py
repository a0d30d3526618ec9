"""Pages of users: searched, made, their role, password, sessions and the models they manage."""

import asyncio
import secrets
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from fastapi.responses import Response

from control.identity.resources import Grant, ManagedModel, Session, User
from control.portal.api import ApiRefusal
from control.portal.editing import conditions, editing
from control.portal.forms import Form
from control.portal.rendering import page, redirect
from control.portal.session import TheForm, Visit
from control.portal.visitors import Admin, Inspector
from control.resources import Page

Text = Annotated[str, Query(max_length=100)]
PAGE_USERS: Final = 50
SHOWN: Final = 100
PATH: Final = "/portal/operate/users"
EMPTY: Final = dict.fromkeys(("name", "title", "email", "consumer", "role"), "")
LABELS: Final = {"title": "Full name", "email": "E-mail address", "role": "Role"}
PASSWORD_BYTES: Final = 15
"""20 characters, 120 bits."""


def user_pages() -> APIRouter:
    """``/portal/operate/users``."""
    router = APIRouter(prefix="/operate")
    _add_list(router)
    _add_changes(router)
    _add_grants(router)
    return router


def _add_list(router: APIRouter) -> None:
    @router.get("/users")
    async def users_page(
        visit: Inspector,
        q: Text = "",
        role: Annotated[str, Query(max_length=16)] = "",
        after: Annotated[str, Query(max_length=255)] = "",
    ) -> Response:
        """Users by name, with a search."""
        found = await visit.api.get(
            "/users",
            Page[User],
            search=q.strip() or None,
            role=role or None,
            after=after or None,
            limit=PAGE_USERS,
        )
        here = urlencode({k: v for k, v in (("q", q.strip()), ("role", role)) if v})
        template = "operate/users_list.html" if visit.is_htmx else "operate/users.html"
        return page(
            visit, template, found=found, search=q.strip(), role=role, after=after, here=here
        )

    @router.get("/new-user")
    async def new_user_page(visit: Admin) -> Response:
        """The form of a new user."""
        return page(visit, "operate/user_new.html", refusal=None, given=EMPTY)

    @router.get("/users/{user}")
    async def user_page(visit: Inspector, user: str) -> Response:
        """One user."""
        return await _shown(visit, user)


def _add_changes(router: APIRouter) -> None:
    @router.post("/new-user")
    async def make(visit: Admin, form: TheForm) -> Response:
        """Make a user, with a password that is shown once."""
        name, secret = form.text("name"), secrets.token_urlsafe(PASSWORD_BYTES)
        body: dict[str, object] = {
            "title": form.text("title"),
            "role": form.text("role"),
            "email": form.optional("email"),
            "password": secret,
        }
        if consumer := form.optional("consumer"):
            body["consumer"] = consumer
        try:
            made = await visit.api.put(f"/users/{name}", body, User, if_none_match="*")
        except ApiRefusal as refusal:
            given = {**EMPTY, **form.values()}
            status = refusal.status
            return page(visit, "operate/user_new.html", status=status, refusal=refusal, given=given)
        return await _shown(visit, made.name, secret=secret)

    @router.post("/users/{user}")
    async def change(visit: Admin, user: str, form: TheForm) -> Response:
        """Change title, address, role."""
        body = {
            "title": form.text("title"),
            "email": form.optional("email"),
            "role": form.text("role"),
        }
        try:
            await visit.api.put(f"/users/{user}", body, User, **conditions(form))
        except ApiRefusal as refusal:
            return await _shown(visit, user, refusal=refusal, form=form)
        return redirect(visit, f"{PATH}/{user}", notice="Saved.")

    @router.post("/users/{user}/disabled")
    async def disable(visit: Admin, user: str, form: TheForm) -> Response:
        """Let a user in no more, or again."""
        off = form.flag("disabled")
        said = f"{user} can log in no more." if off else f"{user} can log in again."
        # Whatever else was changed meanwhile: it sets this alone, and must not have to be repeated.
        try:
            await visit.api.put(f"/users/{user}", {"disabled": off}, User, if_match="*")
        except ApiRefusal as refusal:
            return await _shown(visit, user, refusal=refusal)
        return redirect(visit, f"{PATH}/{user}", notice=said)

    @router.post("/users/{user}/password")
    async def reset_password(visit: Admin, user: str) -> Response:
        """Give a user a new password, which is shown once. Sessions and tokens end."""
        secret = secrets.token_urlsafe(PASSWORD_BYTES)
        try:
            await visit.api.put(f"/users/{user}", {"password": secret}, User, if_match="*")
        except ApiRefusal as refusal:
            return await _shown(visit, user, refusal=refusal)
        return await _shown(visit, user, secret=secret)

    @router.post("/users/{user}/sessions/end")
    async def end_sessions(visit: Admin, user: str, form: TheForm) -> Response:
        """End one session, or all."""
        session = form.text("session")
        if session:
            await visit.api.delete(f"/sessions/{session}")
        else:
            await visit.api.delete("/sessions", user=user)
        said = "The session has ended." if session else f"Every session of {user} has ended."
        return redirect(visit, f"{PATH}/{user}", notice=said)


def _add_grants(router: APIRouter) -> None:
    @router.post("/users/{user}/grants")
    async def grant(visit: Admin, user: str, form: TheForm) -> Response:
        """Let a user manage a model."""
        model = form.text("model")
        try:
            await visit.api.put(f"/models/{model}/grants/{user}", None, Grant)
        except ApiRefusal as refusal:
            return await _shown(visit, user, refused_grant=refusal, model=model)
        return redirect(visit, f"{PATH}/{user}", notice=f"{user} manages {model}.")

    @router.post("/users/{user}/grants/remove")
    async def take_back(visit: Admin, user: str, form: TheForm) -> Response:
        """Let a user manage a model no more."""
        model = form.text("model")
        await visit.api.delete(f"/models/{model}/grants/{user}")
        return redirect(visit, f"{PATH}/{user}", notice=f"{user} manages {model} no more.")


async def _shown(
    visit: Visit,
    user: str,
    *,
    secret: str = "",
    refusal: ApiRefusal | None = None,
    refused_grant: ApiRefusal | None = None,
    model: str = "",
    form: Form | None = None,
) -> Response:
    (found, etag), sessions, models = await asyncio.gather(
        visit.api.get_tagged(f"/users/{user}", User),
        visit.api.get("/sessions", Page[Session], user=user, limit=SHOWN),
        visit.api.get(f"/users/{user}/models", Page[ManagedModel], limit=SHOWN),
    )
    refused = refusal or refused_grant
    present = {"title": found.title, "email": found.email or "", "role": found.role}
    return page(
        visit,
        "operate/user.html",
        status=200 if refused is None else refused.status,
        headers={"Cache-Control": "no-store"},
        user=found,
        sessions=sessions,
        models=models,
        secret=secret,
        refusal=refusal,
        refused_grant=refused_grant,
        model=model,
        edit=editing(LABELS, present, etag, form, refusal),
        edited=form is not None,
    )
