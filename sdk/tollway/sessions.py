"""Logins that are still open: ``client.sessions``."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from tollway.accounts import SESSIONS
from tollway.registry import check_name, listing
from tollway.transport import Transport

CURRENT: Final = "current"
"""The id by which a session names itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A login that is still open. ``current``: it is the one that asks."""

    id: str
    user: str
    address: str
    agent: str
    current: bool
    created_at: str
    seen_at: str
    expires_at: str


class Sessions:
    """Open logins: one's own; admins see and end everybody's, auditors see them."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def all(self, user: str | None = None) -> list[Session]:
        """Sessions, of one ``user`` if named."""
        return list(listing(self._transport, SESSIONS, Session, _of(user)))

    def end(self, id: str = CURRENT) -> None:
        """End a session at once; without an ``id`` the one that asks."""
        self._transport.request("DELETE", f"{SESSIONS}/{quote(id, safe='')}")

    def end_all(self, user: str | None = None) -> None:
        """End all of one's own sessions, the one that asks among them; admins end those of another
        ``user``."""
        self._transport.request("DELETE", SESSIONS, params=_of(user))


def _of(user: str | None) -> dict[str, str]:
    return {} if user is None else {"user": check_name(user, "user")}
