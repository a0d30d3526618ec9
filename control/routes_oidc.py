"""Routes of logins through an identity provider."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Header, Path, Request, Response

from control.identity.login import Origin
from control.identity.oidc import OidcLogins
from control.identity.resources import NewSession
from control.middleware import without_credential
from control.routes_conventions import errors
from control.routes_parts import part
from control.store.federated import LOGIN_MS

COOKIE: Final = "tollway_oidc"
PATH: Final = "/api/v1/oidc"
Name = Annotated[str, Path(max_length=63)]


TheLogins = Annotated[OidcLogins, Depends(part(lambda services: services.oidc))]
Secure = Annotated[
    bool, Depends(part(lambda services: services.settings.public_url.startswith("https:")))
]
"""Whether the cookie is for https alone."""


def oidc_router() -> APIRouter:
    """``/oidc``."""
    router = APIRouter(tags=["sessions"])

    @router.get(
        "/oidc/{issuer}/login",
        status_code=302,
        response_class=Response,
        dependencies=[Depends(without_credential)],
        responses=errors(404, 429, 503),
    )
    async def begin_oidc_login(logins: TheLogins, secure: Secure, issuer: Name) -> Response:
        """Log in through an issuer: redirects the browser to it."""
        beginning = await logins.begin(issuer)
        response = Response(status_code=302)
        response.headers["Location"] = beginning.url
        response.headers["Cache-Control"] = "no-store"
        response.set_cookie(
            COOKIE,
            beginning.cookie,
            max_age=LOGIN_MS // 1000,
            path=PATH,
            secure=secure,
            httponly=True,
            samesite="lax",  # it comes back by a redirect from the provider
        )
        return response

    @router.get("/oidc/{issuer}/callback", responses=errors(404, 422, 429, 503))
    async def finish_oidc_login(
        logins: TheLogins,
        secure: Secure,
        issuer: Name,
        request: Request,
        response: Response,
        address: Annotated[str, Depends(without_credential)],
        user_agent: Annotated[str, Header(max_length=1000)] = "",
    ) -> NewSession:
        """Where the issuer sends the browser back to. The answer alone shows the session's secret.

        An account that logs in for the first time gets a user of its own.
        """
        origin = Origin(address, user_agent)
        cookie = request.cookies.get(COOKIE, "")
        session = await logins.finish(issuer, request.query_params, cookie, origin)
        response.delete_cookie(COOKIE, path=PATH, secure=secure, httponly=True, samesite="lax")
        response.headers["Cache-Control"] = "no-store"
        return session

    return router
