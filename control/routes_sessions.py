"""Routes of what lets users in: ``/sessions`` and ``/tokens``."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Response

from control.identity.login import Origin
from control.identity.resources import Login, NewSession, NewToken, Session, Token, TokenRequest
from control.middleware import require, without_credential
from control.resources import Page
from control.routes_conventions import INSPECTORS, After, Limit, errors, tagged
from control.routes_parts import TheThrottle
from control.routes_users import Caller, TheAccounts, TheHashing
from control.store.credentials import Credential
from protocol.errors import Code, TollwayError
from registry.access import EVERYONE

NOBODY = ""
"""A user's name that no user has."""
OfUser = Annotated[
    str | None, Query(max_length=63, description="Only this user's; others' are seen by admins.")
]


def session_router() -> APIRouter:
    """``/sessions``."""
    router = APIRouter(tags=["sessions"])
    everyone = [Depends(require(*EVERYONE))]

    @router.post("/sessions", status_code=201, responses=errors(422, 429, 503))
    async def log_in(
        throttle: TheThrottle,
        hashing: TheHashing,
        accounts: TheAccounts,
        request: Login,
        response: Response,
        address: Annotated[str, Depends(without_credential)],
        user_agent: Annotated[str, Header(max_length=1000)] = "",
    ) -> NewSession:
        """Log in with name and password. The answer is the only place that shows the secret."""
        throttle.check_login(request.name)
        password = request.password.get_secret_value()
        origin = Origin(address, user_agent)
        made = await hashing.run(partial(accounts.logins.log_in, request.name, password, origin))
        response.headers["Cache-Control"] = "no-store"
        return made

    @router.get("/sessions", dependencies=everyone, responses=errors(422))
    def list_sessions(
        accounts: TheAccounts,
        caller: Caller,
        limit: Limit = 100,
        after: After = "",
        user: OfUser = None,
    ) -> Page[Session]:
        """List open sessions: one's own; for admins and auditors, all."""
        whose = _readable(caller, user)
        return accounts.sessions.list(limit, after, whose, caller.id)

    @router.delete(
        "/sessions/{session}", status_code=204, dependencies=everyone, responses=errors(404)
    )
    def end_session(accounts: TheAccounts, session: str, caller: Caller) -> None:
        """End a session at once; `current` is the one that makes this request."""
        id = caller.id if session == "current" else session
        accounts.sessions.end(id, _changeable(caller))

    @router.delete("/sessions", status_code=204, dependencies=everyone, responses=errors())
    def end_sessions(accounts: TheAccounts, caller: Caller, user: OfUser = None) -> None:
        """End all of one's own sessions; admins end another `user`'s."""
        own = caller.user or NOBODY
        accounts.sessions.end_all(user if user and _changeable(caller) is None else own)

    return router


def token_router() -> APIRouter:
    """``/tokens``."""
    router = APIRouter(tags=["tokens"])
    everyone = [Depends(require(*EVERYONE))]

    @router.post("/tokens", status_code=201, dependencies=everyone, responses=errors(404, 409, 422))
    def create_token(
        accounts: TheAccounts,
        response: Response,
        caller: Caller,
        request: TokenRequest | None = None,
    ) -> NewToken:
        """Make a personal token. The answer is the only place where its secret is ever shown.

        It needs a login: tokens make no tokens, so that none outlives the one that made it.
        """
        wish = request or TokenRequest()
        made = accounts.tokens.create(_owner(caller, wish.user), wish, caller.actor)
        response.headers["Location"] = f"/api/v1/tokens/{made.id}"
        response.headers["Cache-Control"] = "no-store"
        return made

    @router.get("/tokens", dependencies=everyone, responses=errors(422))
    def list_tokens(
        accounts: TheAccounts,
        caller: Caller,
        limit: Limit = 100,
        after: After = "",
        user: OfUser = None,
    ) -> Page[Token]:
        """List personal tokens, revoked ones included: one's own; for admins and auditors, all."""
        return accounts.tokens.list(limit, after, _readable(caller, user))

    @router.get("/tokens/{token}", dependencies=everyone, responses=errors(404))
    def get_token(accounts: TheAccounts, token: str, caller: Caller, response: Response) -> Token:
        """Read a token, without its secret."""
        found = accounts.tokens.get(token, _readable(caller, None))
        tagged(response, found)
        return found

    @router.post("/tokens/{token}/revoke", dependencies=everyone, responses=errors(404))
    def revoke_token(accounts: TheAccounts, token: str, caller: Caller) -> Token:
        """End a token for good: every gateway refuses it within a second."""
        return accounts.tokens.revoke(token, _changeable(caller))

    return router


def _readable(caller: Credential, wished: str | None) -> str | None:
    """Whose sessions and tokens the caller is shown; None: everybody's."""
    if caller.actor.role in INSPECTORS:
        return wished
    own = caller.user or NOBODY
    return own if wished in (None, own) else NOBODY


def _changeable(caller: Credential) -> str | None:
    """Whose sessions and tokens the caller may end; None: everybody's."""
    return None if caller.actor.role == "admin" else caller.user or NOBODY


def _owner(caller: Credential, wished: str | None) -> str:
    """Whose token is to be made."""
    if caller.kind not in ("session", "admin"):
        raise TollwayError(
            Code.FORBIDDEN, "a token cannot make another one: log in with POST /api/v1/sessions"
        )
    if wished is not None and wished != caller.user and caller.actor.role != "admin":
        raise TollwayError(Code.FORBIDDEN, "only an admin makes tokens for others")
    owner = wished or caller.user
    if owner is None:
        raise TollwayError(Code.INVALID, "body.user: an admin token belongs to no user; name one")
    return owner
