"""What the portal shows when something is refused: a page that says what to do, or a notice."""

from urllib.parse import urlencode

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Scope

from control.portal.api import ApiRefusal
from control.portal.middleware import is_portal
from control.portal.rendering import environment, page, redirect
from control.portal.session import LoginNeeded, Visit, end, local_path, visit_of
from control.problems import internal
from protocol.errors import Code
from protocol.problems import Problem

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
    visit = await visit_of(request)
    template = "parts/refused.html" if visit.is_htmx else "refused.html"
    headers = {"HX-Retarget": "#notices", "HX-Reswap": "innerHTML"} if visit.is_htmx else None
    return page(
        visit,
        template,
        status=problem.status,
        headers=headers,
        title=_TITLES.get(problem.status, problem.title),
        detail=problem.detail,
        errors=problem.errors,
        request_id=request.headers.get("x-request-id", ""),
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
        return to_login(await visit_of(request))

    @app.exception_handler(ApiRefusal)
    async def refused(request: Request, error: ApiRefusal) -> Response:
        if error.problem.code == Code.UNAUTHENTICATED:
            # The session ended between two calls for one page.
            return to_login(await visit_of(request))
        answer = await refusal_page(request, error.problem)
        if error.retry_after_s is not None:
            answer.headers["Retry-After"] = str(error.retry_after_s)
        return answer


def to_login(visit: Visit) -> Response:
    """To the login page, and back from there to what can be read again."""
    back = visit.path if visit.request.method == "GET" and not visit.is_htmx else ""
    answer = redirect(visit, login_path(back))
    end(answer)
    return answer


def login_path(back: str) -> str:
    """The login page's address, with the page to come back to."""
    return "/portal/login" + (f"?{urlencode({'next': local_path(back)})}" if back else "")
