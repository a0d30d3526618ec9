"""Routes of users: ``/users``, ``/users/me`` and ``/signup``."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from control.identity.accounts import Accounts
from control.identity.resources import Myself, PasswordChange, SignUp, User, UserRequest
from control.middleware import credential, require, without_credential
from control.resources import Page
from control.routes_conventions import (
    INSPECTORS,
    After,
    Condition,
    Limit,
    errors,
    tagged,
)
from control.routes_parts import TheThrottle, part
from control.store.credentials import Credential
from control.threads import HashingThreads
from protocol.errors import Code, TollwayError
from registry.access import EVERYONE, Role

Caller = Annotated[Credential, Depends(credential)]


TheAccounts = Annotated[Accounts, Depends(part(lambda services: services.accounts))]
TheHashing = Annotated[HashingThreads, Depends(part(lambda services: services.threads.hashing))]


def user_router() -> APIRouter:
    """``/users`` and ``/signup``."""
    router = APIRouter(tags=["users"])
    _add_own(router)
    _add_users(router)

    @router.post(
        "/signup",
        status_code=201,
        dependencies=[Depends(without_credential)],
        responses=errors(409, 422),
    )
    async def sign_up(hashing: TheHashing, accounts: TheAccounts, request: SignUp) -> User:
        """Make oneself an account with the role `consumer`, where the installation allows it."""
        return await hashing.run(lambda: accounts.logins.sign_up(request))

    return router


def _add_own(router: APIRouter) -> None:
    everyone = [Depends(require(*EVERYONE))]

    @router.get("/users/me", dependencies=everyone, responses=errors())
    def get_myself(accounts: TheAccounts, caller: Caller) -> Myself:
        """Who the credential belongs to, and what they reach."""
        actor = caller.actor
        return Myself(
            name=actor.name,
            role=actor.role,
            credential=caller.kind,
            consumer=actor.consumer or None,
            models=None if actor.models is None else sorted(actor.models),
            user=None if caller.user is None else accounts.users.get(caller.user),
        )

    @router.put(
        "/users/me/password",
        status_code=204,
        dependencies=everyone,
        responses=errors(409, 422, 429),
    )
    async def change_password(
        hashing: TheHashing,
        accounts: TheAccounts,
        throttle: TheThrottle,
        request: PasswordChange,
        caller: Caller,
    ) -> None:
        """Change one's own password: every other session ends."""
        user = caller.user
        if user is None:
            raise TollwayError(Code.CONFLICT, "this credential belongs to no user with a password")
        # The old password can be guessed here as well as where one logs in.
        throttle.check_login(user)
        session = caller.id if caller.kind == "session" else None
        await hashing.run(
            lambda: accounts.logins.change_password(
                user, request.old.get_secret_value(), request.new.get_secret_value(), session
            )
        )


def _add_users(router: APIRouter) -> None:
    reads = [Depends(require(*INSPECTORS))]
    writes = [Depends(require("admin"))]

    @router.get("/users", dependencies=reads, responses=errors(422))
    def list_users(
        accounts: TheAccounts,
        limit: Limit = 100,
        after: After = "",
        search: Annotated[
            str | None,
            Query(
                max_length=100,
                description="Text in the name, the title, the address or the consumer.",
            ),
        ] = None,
        role: Annotated[Role | None, Query(description="Only with this role.")] = None,
    ) -> Page[User]:
        """List users by name."""
        return accounts.users.list(limit, after, search or None, role)

    @router.get("/users/{user}", dependencies=reads, responses=errors(404))
    def get_user(accounts: TheAccounts, user: str, response: Response) -> User:
        """Read a user."""
        found = accounts.users.get(user)
        tagged(response, found)
        return found

    @router.put(
        "/users/{user}",
        dependencies=writes,
        responses={201: {"model": User, "description": "Made."}, **errors(404, 409, 412, 422)},
    )
    async def put_user(
        hashing: TheHashing,
        accounts: TheAccounts,
        user: str,
        response: Response,
        condition: Condition,
        request: UserRequest | None = None,
    ) -> User:
        """Make or change a user.

        Another role ends their sessions, and tokens that allow more than it; a new password and
        `disabled` end sessions and all tokens.
        """
        wish = request or UserRequest()
        put = await hashing.run(lambda: accounts.logins.put(user, wish, condition))
        tagged(response, put.item, created=put.created)
        return put.item

    @router.delete(
        "/users/{user}",
        status_code=204,
        dependencies=writes,
        responses=errors(404, 409, 412),
    )
    def delete_user(accounts: TheAccounts, user: str, condition: Condition) -> None:
        """Remove a user: sessions and tokens end, the name is never given again."""
        accounts.users.delete(user, condition)
