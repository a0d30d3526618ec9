"""Logging in with a name and a password, and changing it. Every attempt is audited."""

from typing import Final

import msgspec

from control.identity.passwords import Passwords, check_password
from control.identity.resources import NewSession, SignUp, User, UserRequest
from control.preconditions import NO_PRECONDITION, Precondition
from control.store.directory import Put
from control.store.logins import LoginStore
from control.store.users import Users
from protocol.errors import Code, TollwayError

WRONG: Final = "the name or the password is wrong"
"""The one answer, whichever it is: who has an account here is nobody's business."""


class Origin(msgspec.Struct, frozen=True):
    """From where somebody logs in."""

    address: str
    agent: str


class Logins:
    """Users with their passwords. Calls block and hash: run them in threads of their own."""

    def __init__(
        self, users: Users, logins: LoginStore, passwords: Passwords, *, open_sign_up: bool
    ) -> None:
        self._users = users
        self._logins = logins
        self._passwords = passwords
        self._open_sign_up = open_sign_up

    def log_in(self, name: str, password: str, origin: Origin) -> NewSession:
        """A new session, or ``UNAUTHENTICATED`` after as much work as a right password takes."""
        found = self._users.secret(name)
        hash = None if found is None else found.hash
        right = self._passwords.verify(hash, password)
        if found is None or not right or hash is None or found.user.disabled:
            reason = "disabled" if right else "wrong password"
            self._logins.failed(None if found is None else found.user, reason)
            raise TollwayError(Code.UNAUTHENTICATED, WRONG)
        if self._passwords.outdated(hash):
            renewed = self._passwords.hash(password)
            self._users.change_password(name, hash, renewed, session=None, upgrade=True)
        session = self._logins.begin(name, origin.address, origin.agent)
        if session is None:  # disabled or deleted while the password was being verified
            raise TollwayError(Code.UNAUTHENTICATED, WRONG)
        return session

    def put(
        self, name: str, request: UserRequest, condition: Precondition = NO_PRECONDITION
    ) -> Put[User]:
        """Make or change a user."""
        hash = None
        if request.password is not None:
            password = request.password.get_secret_value()
            check_password(password, name)
            hash = self._passwords.hash(password)
        return self._users.put(name, request, hash, condition)

    def sign_up(self, request: SignUp) -> User:
        """Make oneself a consumer, where the installation allows it."""
        if not self._open_sign_up:
            raise TollwayError(
                Code.FORBIDDEN, "sign-up is off here: ask an administrator for an account"
            )
        password = request.password.get_secret_value()
        check_password(password, request.name)
        return self._users.sign_up(
            request.name, request.title, request.email, self._passwords.hash(password)
        )

    def change_password(self, name: str, old: str, new: str, session: str | None) -> None:
        """Replace one's own password; every session but ``session`` ends."""
        check_password(new, name)
        if new == old:
            raise TollwayError(Code.INVALID, "new: is the old password; choose another")
        found = self._users.secret(name)
        if found is None or found.hash is None:
            raise TollwayError(Code.CONFLICT, "this account has no password to change")
        if not self._passwords.verify(found.hash, old):
            self._logins.failed(found.user, "wrong old password")
            raise TollwayError(Code.FORBIDDEN, "the old password is wrong")
        self._users.change_password(name, found.hash, self._passwords.hash(new), session=session)
