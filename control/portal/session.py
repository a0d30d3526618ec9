"""Who visits the portal, and whether a form was sent from one of its own pages.

The session cookie holds the secret of a session of the management API, and nothing else knows it.
A form carries a token that is bound to it (OWASP's signed double submit, HMAC): another site can
make a browser send the cookie, but cannot read the token. Who is not logged in has a random cookie
in its place, so that nobody can be logged in to another's account unseen.
"""

import hashlib
import hmac
import secrets
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec
from fastapi import Depends, Request
from fastapi.responses import Response

from control.identity.resources import Myself
from control.portal.api import Api, ApiRefusal
from control.portal.forms import Form, read_form
from control.portal.middleware import PORTAL
from control.services import Services
from protocol.errors import Code, TollwayError
from protocol.keys import well_formed
from registry.access import Role

SESSION: Final = "tollway_session"
BEFORE: Final = "tollway_before"
"""The cookie of who is not logged in."""
CSRF_FIELD: Final = "csrf"
CSRF_HEADER: Final = "x-csrf-token"
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_BEFORE_BYTES: Final = 24
_MAX_COOKIE: Final = 200
_STATE: Final = "portal_visit"


class Visit(msgspec.Struct, frozen=True):
    """One request of a visitor."""

    request: Request
    api: Api
    me: Myself | None
    """None: not logged in."""
    csrf: str
    """The token for the page's forms."""
    before: str | None
    """A new value for the cookie of who is not logged in; None: it is there, or not needed."""
    secure: bool
    """Whether the visitor came by TLS."""

    @property
    def role(self) -> Role | None:
        """The role of who is logged in."""
        return None if self.me is None else self.me.role

    @property
    def services(self) -> Services:
        """The parts of this control: for its settings and its clock. What a visitor may see or
        change goes through the API."""
        services: Services = self.request.app.state.services
        return services

    @property
    def now_ms(self) -> int:
        """UNIX milliseconds now."""
        return self.services.clock()

    @property
    def path(self) -> str:
        """Where the visitor is, with the query: what ``next`` may lead back to."""
        query = self.request.url.query
        return self.request.url.path + (f"?{query}" if query else "")

    @property
    def is_htmx(self) -> bool:
        """Whether a part of a page is asked for."""
        return self.request.headers.get("hx-request") == "true"

    def may(self, *roles: Role) -> bool:
        """Whether the visitor has one of these roles: for what a page offers. The API decides."""
        return self.role in roles


class LoginNeeded(Exception):  # noqa: N818 -- a way to another page, not a defect
    """The visitor has to log in first."""


class SessionEnded(Exception):  # noqa: N818 -- as above
    """Something was sent by a page of a session that has ended: nothing is changed."""


async def visit_of(request: Request) -> Visit:
    """The visit of a request, looked up once."""
    known: Visit | None = getattr(request.state, _STATE, None)
    if known is not None:
        return known
    services: Services = request.app.state.services
    secret = session_secret(request)
    me = None
    api = Api(request, secret)
    if secret is not None:
        try:
            me = await api.get("/users/me", Myself)
        except ApiRefusal as refusal:
            if refusal.status != 401:  # noqa: PLR2004
                raise
            secret, api = None, Api(request, None)
    before = fresh = None
    if secret is None:
        before = _cookie(request, BEFORE)
        if before is None:
            before = fresh = secrets.token_urlsafe(_BEFORE_BYTES)
    found = Visit(
        request,
        api,
        me,
        csrf_token(services.portal_key, secret or before or ""),
        fresh,
        request.headers.get("x-forwarded-proto", request.url.scheme) == "https",
    )
    setattr(request.state, _STATE, found)
    return found


Anybody = Annotated[Visit, Depends(visit_of)]
"""A page that is shown without a login. Declare it in ``tests/control/portal/test_session.py``."""


def signed_in(*roles: Role) -> object:
    """A dependency: the visit of who is logged in with one of ``roles``; others are asked to log
    in, told that their session has ended when they send something, or refused."""

    async def visit(request: Request) -> Visit:
        found = await visit_of(request)
        if found.me is None:
            raise LoginNeeded if request.method in SAFE else SessionEnded
        if found.me.role not in roles:
            needed = " or ".join(roles)
            raise TollwayError(
                Code.FORBIDDEN, f"this page needs the role {needed}; yours is {found.me.role}"
            )
        return found

    return Depends(visit)


async def guard(request: Request) -> None:
    """A dependency of every route of the portal: refuse what was not sent by one of its pages."""
    if request.method in SAFE:
        return
    services: Services = request.app.state.services
    if not _same_origin(request, services.settings.public_url):
        raise TollwayError(Code.FORBIDDEN, "this was sent from another site: nothing was changed")
    session = session_secret(request)
    bound = session or _cookie(request, BEFORE) or ""
    given = request.headers.get(CSRF_HEADER)
    if given is None:
        given = (await read_form(request)).text(CSRF_FIELD)
    if not bound or not hmac.compare_digest(
        given.encode(), csrf_token(services.portal_key, bound).encode()
    ):
        if session is None:
            raise SessionEnded
        raise TollwayError(
            Code.FORBIDDEN,
            "the page was open for too long, or in another login: nothing was changed. "
            "Load it again and repeat what you did",
        )


TheForm = Annotated[Form, Depends(read_form)]
"""The fields of the form that was sent."""


def csrf_token(key: bytes, bound: str) -> str:
    """The token of who holds the cookie ``bound``."""
    return hmac.new(key, b"csrf\0" + bound.encode(), hashlib.sha256).hexdigest()


def session_secret(request: Request) -> str | None:
    """The session's secret in the cookie, if it can be one."""
    found = _cookie(request, SESSION)
    return found if found is not None and well_formed(found.encode()) else None


def begin(visit: Visit, response: Response, secret: str, max_age_s: int) -> None:
    """Give the browser its session."""
    response.set_cookie(
        SESSION,
        secret,
        max_age=max_age_s,
        path=PORTAL,
        secure=visit.secure,
        httponly=True,
        samesite="lax",
    )
    response.delete_cookie(BEFORE, path=PORTAL)


def end(response: Response) -> None:
    """Take the session from the browser."""
    response.delete_cookie(SESSION, path=PORTAL, httponly=True, samesite="lax")


def local_path(text: str, otherwise: str = PORTAL) -> str:
    """``text`` if it leads to a page of this portal, else ``otherwise``: never to another site."""
    if "\\" in text or any(ord(character) < 32 for character in text):  # noqa: PLR2004
        return otherwise
    parts = urlsplit(text)
    if (
        parts.scheme
        or parts.netloc
        or not (text == PORTAL or text.startswith((f"{PORTAL}/", f"{PORTAL}?")))
    ):
        return otherwise
    return text


def _same_origin(request: Request, public_url: str) -> bool:
    """Browsers say where a request comes from; what says nothing is no browser, and has the token
    to show."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    if origin is None:
        return True
    known = {request.headers.get("host", "").lower()}
    if public_url:
        known.add(urlsplit(public_url).netloc.lower())
    return urlsplit(origin).netloc.lower() in known - {""}


def _cookie(request: Request, name: str) -> str | None:
    found = request.cookies.get(name)
    return found if found and len(found) <= _MAX_COOKIE and found.isascii() else None
