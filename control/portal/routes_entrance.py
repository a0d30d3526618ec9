"""Pages of signing up, logging in and logging out."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from control.identity.resources import NewSession, User
from control.portal.api import ApiRefusal
from control.portal.middleware import PORTAL
from control.portal.rendering import page, redirect
from control.portal.session import Anybody, TheForm, Visit, begin, end, local_path
from protocol.errors import Code

Next = Annotated[str, Query(alias="next", max_length=1000)]
START = f"{PORTAL}/start"
"""Where somebody new is led, unless they were on their way elsewhere."""
_HELD_FOR_GOOD = frozenset({Code.NOT_FOUND, Code.UNAUTHENTICATED})


def entrance_pages() -> APIRouter:
    """``/login``, ``/sign-up`` and ``/logout``."""
    router = APIRouter()
    _add_login(router)
    _add_sign_up(router)
    return router


def _add_login(router: APIRouter) -> None:
    @router.get("/login")
    async def login_page(visit: Anybody, back: Next = "") -> Response:
        """Where one logs in."""
        if visit.me is not None:
            return redirect(visit, local_path(back))
        return _login(visit, back=local_path(back))

    @router.post("/login")
    async def log_in(visit: Anybody, form: TheForm) -> Response:
        """Log in, and go on to where one wanted to be."""
        back, name = local_path(form.text("next")), form.text("name")
        try:
            session = await _session(visit, name, form.raw("password"))
        except ApiRefusal as refusal:
            return _login(visit, back=back, name=name, refusal=refusal)
        return _enter(visit, session, redirect(visit, back))

    @router.post("/logout")
    async def log_out(visit: Anybody) -> Response:
        """End the session, here and for the API."""
        if visit.me is not None:
            try:
                await visit.api.delete("/sessions/current")
            except ApiRefusal as refusal:
                if refusal.problem.code not in _HELD_FOR_GOOD:
                    raise
        answer = redirect(visit, "/portal", notice="You are logged out.")
        end(answer)
        return answer


def _add_sign_up(router: APIRouter) -> None:
    @router.get("/sign-up")
    async def sign_up_page(visit: Anybody, back: Next = "") -> Response:
        """Where one makes oneself an account."""
        if visit.me is not None:
            return redirect(visit, local_path(back))
        return _sign_up(visit, back=local_path(back))

    @router.post("/sign-up")
    async def sign_up(visit: Anybody, form: TheForm) -> Response:
        """Make an account, and log in to it."""
        back, name, password = (
            local_path(form.text("next")),
            form.text("name"),
            form.raw("password"),
        )
        wish = {"name": name, "title": form.text("title"), "email": form.optional("email")}
        try:
            await visit.api.post("/signup", {**wish, "password": password}, User)
            session = await _session(visit, name, password)
        except ApiRefusal as refusal:
            return _sign_up(visit, back=back, values=wish, refusal=refusal)
        way = START if back == PORTAL else back
        return _enter(visit, session, redirect(visit, way, notice="Your account is ready."))


async def _session(visit: Visit, name: str, password: str) -> NewSession:
    body = {"name": name, "password": password}
    return await visit.api.post("/sessions", body, NewSession)


def _enter(visit: Visit, session: NewSession, answer: Response) -> Response:
    lasts = datetime.fromisoformat(session.expires_at) - datetime.fromisoformat(session.created_at)
    begin(visit, answer, session.secret, int(lasts.total_seconds()))
    return answer


def _login(
    visit: Visit, *, back: str, name: str = "", refusal: ApiRefusal | None = None
) -> Response:
    return page(
        visit,
        "entrance/login.html",
        status=200 if refusal is None else refusal.status,
        back=back,
        name=name,
        refusal=refusal,
        issuers=_issuers(visit),
        sign_up_open=visit.services.settings.sign_up,
    )


def _sign_up(
    visit: Visit,
    *,
    back: str,
    values: dict[str, str | None] | None = None,
    refusal: ApiRefusal | None = None,
) -> Response:
    return page(
        visit,
        "entrance/sign_up.html",
        status=200 if refusal is None else refusal.status,
        back=back,
        values=values or {},
        refusal=refusal,
        sign_up_open=visit.services.settings.sign_up,
    )


def _issuers(visit: Visit) -> list[str]:
    """Identity providers through which one may log in."""
    return sorted(visit.services.settings.oidc_client_ids)
