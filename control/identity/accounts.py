"""The parts of control about users, built together."""

from typing import NamedTuple

from control.identity.login import Logins
from control.identity.passwords import Passwords
from control.settings import ControlSettings
from control.store.credentials import Credentials
from control.store.federated import Federated
from control.store.grants import Grants
from control.store.logins import LoginStore
from control.store.sessions import Lifetime, Sessions
from control.store.user_tokens import UserTokens
from control.store.users import Users
from registry.clock import Clock
from registry.store.database import Database


class Accounts(NamedTuple):
    """Users, and what lets them in."""

    users: Users
    logins: Logins
    sessions: Sessions
    tokens: UserTokens
    grants: Grants
    credentials: Credentials
    federated: Federated
    attempts: LoginStore


def build_accounts(
    settings: ControlSettings, database: Database, pepper: bytes, clock: Clock
) -> Accounts:
    """Build the parts on a migrated database."""
    lifetime = Lifetime(
        idle_ms=round(settings.session_idle_s * 1000), max_ms=round(settings.session_max_s * 1000)
    )
    users = Users(database, clock)
    sessions = Sessions(database, pepper, clock, lifetime)
    passwords = Passwords()
    attempts = LoginStore(database, sessions, clock)
    return Accounts(
        users=users,
        logins=Logins(
            users,
            attempts,
            passwords,
            open_sign_up=settings.sign_up,
        ),
        sessions=sessions,
        tokens=UserTokens(database, pepper, clock),
        grants=Grants(database, clock),
        federated=Federated(database, clock),
        attempts=attempts,
        credentials=Credentials(database, clock, lifetime.idle_ms),
    )
