"""Logins, those that succeed and those that do not, with their audit entries."""

from typing import Final

import msgspec

from control.identity.resources import NewSession, User
from control.store.sessions import Sessions
from control.store.users import find_user
from registry.acting import acting, acting_as
from registry.clock import Clock
from registry.store.audit import record
from registry.store.database import Database

UNKNOWN: Final = "-"
"""Audited instead of a name that no user has: people type their passwords there."""


class LoginStore:
    """Begins sessions and notes attempts. Thread-safe; calls block."""

    def __init__(self, database: Database, sessions: Sessions, clock: Clock) -> None:
        self._database = database
        self._sessions = sessions
        self._clock = clock

    def begin(
        self, name: str, address: str, agent: str, how: str = "password"
    ) -> NewSession | None:
        """A session for the user; None when they may not log in (any more)."""
        now = self._clock()
        with self._database.write() as connection:
            user = find_user(connection, name, lock=True)
            if user is None or user.disabled:
                return None
            made = self._sessions.begin(connection, name, user.role, address, agent)
            origin = msgspec.structs.replace(acting(), actor=name, role=user.role)
            with acting_as(origin):
                state = {"session": made.id, "how": how}
                record(connection, "user.logged_in", "user", name, at_ms=now, after=state)
            return made

    def failed(self, user: User | None, reason: str) -> None:
        """Note a login that was refused, never with what was sent."""
        name = UNKNOWN if user is None else user.name
        role = "" if user is None else user.role
        with self._database.write() as connection:
            state = {"reason": "unknown user" if user is None else reason, "role": role}
            record(connection, "user.login_failed", "user", name, at_ms=self._clock(), after=state)
