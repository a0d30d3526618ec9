"""Pages of one's own account: role, password, sessions, personal tokens."""

import asyncio
from typing import Final

from fastapi import APIRouter
from fastapi.responses import Response

from control.identity.resources import NewToken, Session, Token
from control.identity.roles import NARROWER
from control.portal.api import ApiRefusal
from control.portal.forms import Form
from control.portal.keys import end_of_day
from control.portal.rendering import page, redirect
from control.portal.session import TheForm, Visit, end
from control.portal.visitors import Member
from control.resources import Page
from protocol.errors import Code, TollwayError
from protocol.problems import of_error
from registry.access import EVERYONE

SHOWN: Final = 50
BESIDE: Final = {Code.FORBIDDEN.value: "old", Code.INVALID.value: "new"}
"""Field of the password's form by the code of a refusal."""


def account_pages() -> APIRouter:
    """``/portal/account``."""
    router = APIRouter(prefix="/account")
    _add_account(router)
    _add_sessions(router)
    _add_tokens(router)
    return router


def _add_account(router: APIRouter) -> None:
    @router.get("")
    async def account_page(visit: Member) -> Response:
        """Who one is, and what lets one in."""
        return await _account(visit)

    @router.post("/password")
    async def change_password(visit: Member, form: TheForm) -> Response:
        """Change one's password: every other session ends."""
        try:
            if form.raw("new") != form.raw("again"):
                differ = TollwayError(Code.INVALID, "again: the two new passwords differ")
                raise ApiRefusal(of_error(differ))
            body = {"old": form.raw("old"), "new": form.raw("new")}
            await visit.api.put("/users/me/password", body, type(None))
        except ApiRefusal as refusal:
            beside = BESIDE.get(refusal.problem.code, "")
            return await _account(visit, refusal=refusal.beside(beside))
        return redirect(
            visit, "/portal/account", notice="Your password is changed. Other sessions have ended."
        )


def _add_sessions(router: APIRouter) -> None:
    @router.post("/sessions/{session}/end")
    async def end_session(visit: Member, session: str) -> Response:
        """End one session."""
        await visit.api.delete(f"/sessions/{session}")
        return redirect(visit, "/portal/account", notice="The session has ended.")

    @router.post("/sessions/end")
    async def end_sessions(visit: Member) -> Response:
        """End all sessions, this one too."""
        await visit.api.delete("/sessions")
        answer = redirect(visit, "/portal/login", notice="All your sessions have ended.")
        end(answer)
        return answer


def _add_tokens(router: APIRouter) -> None:
    @router.post("/tokens")
    async def make_token(visit: Member, form: TheForm) -> Response:
        """Make a personal token, and show its secret."""
        wish = {
            "label": form.text("label"),
            "role": form.optional("role"),
            "expires_at": end_of_day(form.text("expires_on")),
        }
        try:
            made = await visit.api.post("/tokens", wish, NewToken)
        except ApiRefusal as refusal:
            told = refusal.beside(expires_at="expires_on")
            return await _account(visit, token_refusal=told, form=form)
        return page(visit, "account/token_made.html", token=made)

    @router.post("/tokens/{token}/revoke")
    async def revoke_token(visit: Member, token: str) -> Response:
        """End a token."""
        ended = await visit.api.post(f"/tokens/{token}/revoke", None, Token)
        return redirect(visit, "/portal/account", notice=f"The token {ended.prefix} is revoked.")


async def _account(
    visit: Visit,
    *,
    refusal: ApiRefusal | None = None,
    token_refusal: ApiRefusal | None = None,
    form: Form | None = None,
) -> Response:
    assert visit.me is not None  # Member
    name = visit.me.name
    sessions, tokens = await asyncio.gather(
        visit.api.get("/sessions", Page[Session], user=name, limit=SHOWN),
        visit.api.get("/tokens", Page[Token], user=name, limit=SHOWN),
    )
    refused = refusal or token_refusal
    return page(
        visit,
        "account/account.html",
        status=200 if refused is None else refused.status,
        sessions=sorted(sessions.items, key=lambda one: (not one.current, one.seen_at)),
        tokens=tokens.items,
        roles=sorted(NARROWER[visit.me.role], key=EVERYONE.index),
        values={} if form is None else form.values(),
        refusal=refusal,
        token_refusal=token_refusal,
    )
