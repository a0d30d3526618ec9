"""What the portal shows when something is refused: a page that says what to do, or a notice."""

from urllib.parse import urlencode, urlsplit

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Scope

from control.portal.api import ApiRefusal
from control.portal.live import signed_out, wants_events
from control.portal.middleware import is_portal
from control.portal.rendering import environment, page, redirect
from control.portal.session import (
    LoginNeeded,
    SessionEnded,
    Visit,
    end,
    local_path,
    visit_of,
)
from control.problems import internal
from protocol.errors import Code
from protocol.problems import Problem, problem

_TITLES = {
    403: "Not allowed",
    404: "Not found",
    409: "Not possible now",
    422: "Not acceptable",
    429: "Too many requests",
    503: "Not available",
}


async def refusal_page(request: Request, problem: Problem) -> Response:
    """The page of a refusal; of a part of a page, a notice at its top."""
    return _refused(await visit_of(request), problem, _TITLES.get(problem.status, problem.title))


async def ended_page(request: Request) -> Response:
    """The answer to a form of a session that has ended: the way to a new one, and back to the
    form."""
    sent_from = urlsplit(request.headers.get("referer", ""))
    back = local_path(sent_from.path + (f"?{sent_from.query}" if sent_from.query else ""), "")
    found = problem(Code.FORBIDDEN, "Nothing was changed. Log in again, and repeat what you did.")
    visit = await visit_of(request)
    return _refused(visit, found, "Your session has ended", login_path(back))


def _refused(visit: Visit, problem: Problem, title: str, login: str = "") -> Response:
    template = "parts/refused.html" if visit.is_htmx else "refused.html"
    headers = {"HX-Retarget": "#notices", "HX-Reswap": "innerHTML"} if visit.is_htmx else None
    return page(
        visit,
        template,
        status=problem.status,
        headers=headers,
        title=title,
        detail=problem.detail,
        errors=problem.errors,
        login=login,
        request_id=visit.request.headers.get("x-request-id", ""),
    )


def defect_page(scope: Scope) -> ASGIApp | None:
    """The answer to a defect while a page was made; None outside of the portal. It asks nothing of
    anybody: whatever failed may fail again."""
    if not is_portal(scope["path"]):
        return None
    text = environment().get_template("defect.html").render()
    return HTMLResponse(text, internal().status)


def add_refusals(app: FastAPI) -> None:
    """Let ``app`` answer what the portal's pages raise."""

    @app.exception_handler(LoginNeeded)
    async def log_in(request: Request, _error: LoginNeeded) -> Response:
        return await to_login(request)

    @app.exception_handler(SessionEnded)
    async def session_ended(request: Request, _error: SessionEnded) -> Response:
        return await ended_page(request)

    @app.exception_handler(ApiRefusal)
    async def refused(request: Request, error: ApiRefusal) -> Response:
        if error.problem.code == Code.UNAUTHENTICATED:
            # The session ended between two calls for one page.
            return await to_login(request)
        answer = await refusal_page(request, error.problem)
        if error.retry_after_s is not None:
            answer.headers["Retry-After"] = str(error.retry_after_s)
        return answer


async def to_login(request: Request) -> Response:
    """To the login page, and back from there to what can be read again."""
    if wants_events(request):
        return signed_out()
    visit = await visit_of(request)
    back = visit.path if visit.request.method == "GET" and not visit.is_htmx else ""
    answer = redirect(visit, login_path(back))
    end(answer)
    return answer


def login_path(back: str) -> str:
    """The login page's address, with the page to come back to."""
    return "/portal/login" + (f"?{urlencode({'next': local_path(back)})}" if back else "")
