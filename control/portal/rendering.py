"""Pages out of templates: escaped, strict about what is missing, the same everywhere."""

from collections.abc import Mapping
from functools import cache
from typing import Final
from urllib.parse import quote, unquote

from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from control.portal.assets import asset_url
from control.portal.directions import Isolating
from control.portal.filters import FILTERS
from control.portal.middleware import PORTAL
from control.portal.navigation import navigation
from control.portal.session import BEFORE, SESSION, Visit, end
from runtime.release import software_version

NOTICE: Final = "tollway_notice"
NOTICE_S: Final = 60
MAX_NOTICE: Final = 300


@cache
def environment() -> Environment:
    """The templates: autoescape without exception; a name that is not given is an error."""
    found = Environment(
        loader=PackageLoader("control.portal"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        extensions=[Isolating],
    )
    found.filters.update(FILTERS)
    found.globals.update(asset=asset_url, software_version=software_version())
    return found


def page(
    visit: Visit,
    template: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **context: object,
) -> Response:
    """A page, or a part of one that htmx asked for.

    Templates see ``visit``, ``me``, ``csrf``, ``nav``, ``path``, ``now`` (UNIX ms) and ``context``.
    """
    notice = unquote(visit.request.cookies.get(NOTICE, "")[: 3 * MAX_NOTICE])
    text = rendered(visit, template, said=notice, **context)
    response = HTMLResponse(text, status, headers)
    if notice and not visit.is_htmx:
        response.delete_cookie(NOTICE, path=PORTAL)
    if visit.me is None and SESSION in visit.request.cookies:
        # The session has ended: forms of this page are bound to the cookie that takes its place.
        end(response)
    if visit.before is not None:
        response.set_cookie(
            BEFORE, visit.before, path=PORTAL, secure=visit.secure, httponly=True, samesite="lax"
        )
    return response


def rendered(visit: Visit, template: str, *, said: str = "", **context: object) -> str:
    """The text of a page or a part of one, as :func:`page` has it; for events."""
    return (
        environment()
        .get_template(template)
        .render(
            visit=visit,
            me=visit.me,
            csrf=visit.csrf,
            nav=navigation(visit),
            path=visit.request.url.path,
            now=visit.now_ms,
            said=said,
            **context,
        )
    )


def redirect(visit: Visit, path: str, *, notice: str = "") -> Response:
    """Lead to another page of the portal after a form; ``notice`` is shown there, once. It is kept
    in a cookie meanwhile: never give it a secret."""
    response: Response
    if visit.is_htmx:
        response = Response(status_code=204, headers={"HX-Redirect": path})
    else:
        response = RedirectResponse(path, 303)
    if notice:
        response.set_cookie(
            NOTICE,
            quote(notice[:MAX_NOTICE]),
            max_age=NOTICE_S,
            path=PORTAL,
            secure=visit.secure,
            httponly=True,
            samesite="lax",
        )
    return response
