"""Users, what lets them in, and who manages which model: the people's part of the API."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote

from tollway.registry import check_name, listing
from tollway.transport import Retry, Transport

USERS = "/api/v1/users"
SESSIONS = "/api/v1/sessions"
TOKENS = "/api/v1/tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody who manages or uses models."""

    name: str
    role: str
    title: str = ""
    email: str | None = None
    consumer: str | None = None
    disabled: bool = False
    has_password: bool = False
    issuer: str | None = None
    created_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Myself:
    """Who the token belongs to; ``models`` None: they manage all."""

    name: str
    role: str
    credential: str = ""
    consumer: str | None = None
    models: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSession:
    """A login at the only moment its ``secret`` is known. Its repr leaves the secret out."""

    id: str
    user: str
    role: str
    expires_at: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A personal token, without its secret."""

    id: str
    prefix: str
    user: str
    role: str
    label: str = ""
    created_at: str | None = None
    expires_at: str | None = None
    revoked_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken(Token):
    """A token at the only moment its ``secret`` is known. Its repr leaves the secret out."""

    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A user's right to manage a model that another owns."""

    model: str
    user: str
    created_by: str = ""
    created_at: str | None = None
    named: bool = False
    """Whether the model's requirements gave it, by naming the user their sponsor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """Who owns a model."""

    model: str
    owner: str


class Users:
    """Users and logins. What names a user is for admins, but for one's own."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def me(self) -> Myself:
        """Who the token belongs to, and what they reach."""
        return self._transport.get(f"{USERS}/me", Myself)

    def all(self) -> list[User]:
        """Every user, by name."""
        return list(listing(self._transport, USERS, User))

    def get(self, name: str) -> User:
        """One user."""
        return self._transport.get(_user(name), User)

    def put(
        self,
        name: str,
        *,
        role: str | None = None,
        title: str | None = None,
        email: str | None = None,
        consumer: str | None = None,
        password: str | None = None,
        disabled: bool | None = None,
    ) -> User:
        """Make a user, or change what is given. A new password, ``disabled`` and another role end
        their sessions, and the tokens that they no longer cover."""
        wish = {
            "role": role, "title": title, "email": email, "consumer": consumer,
            "password": password, "disabled": disabled,
        }  # fmt: skip
        response = self._transport.request("PUT", _user(name), json=_given(wish))
        return self._transport.read(response, User)

    def delete(self, name: str) -> None:
        """Remove a user; they must not own models any more. Their name is never given again."""
        self._transport.request("DELETE", _user(name))

    def change_password(self, old: str, new: str) -> None:
        """Change one's own password: one's other sessions end."""
        body = {"old": old, "new": new}
        self._transport.request("PUT", f"{USERS}/me/password", json=body, retry=Retry.UNSENT)

    def log_in(self, name: str, password: str) -> NewSession:
        """A session, whose secret is a token for a while."""
        response = self._transport.request(
            "POST",
            SESSIONS,
            json={"name": name, "password": password},
            retry=Retry.UNSENT,
            anonymous=True,
        )
        return self._transport.read(response, NewSession)

    def log_out(self) -> None:
        """End the session that the client's token is."""
        self._transport.request("DELETE", f"{SESSIONS}/current")


class Tokens:
    """Personal tokens: one's own; for admins, everybody's."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def all(self, user: str | None = None) -> list[Token]:
        """Tokens, revoked ones included."""
        params = {} if user is None else {"user": check_name(user, "user")}
        return list(listing(self._transport, TOKENS, Token, params))

    def create(
        self,
        label: str = "",
        *,
        role: str | None = None,
        expires_at: datetime | None = None,
        user: str | None = None,
    ) -> NewToken:
        """Make a token; it takes a login, or the admin token and the name of a ``user``.

        ``role`` is at most one's own. Not repeated when its answer was lost.
        """
        moment = None if expires_at is None else expires_at.astimezone().isoformat()
        wish = {"label": label, "role": role, "expires_at": moment, "user": user}
        response = self._transport.request("POST", TOKENS, json=_given(wish), retry=Retry.UNSENT)
        return self._transport.read(response, NewToken)

    def revoke(self, id: str) -> Token:
        """End a token for good, at every gateway within a second."""
        path = f"{TOKENS}/{quote(id, safe='')}/revoke"
        return self._transport.read(self._transport.request("POST", path), Token)


class Grants:
    """Who manages a model: its owner, and those whom the owner lets."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def owner(self, model: str) -> str:
        """The name of the model's owner."""
        return self._transport.get(f"{_model(model)}/owner", Ownership).owner

    def transfer(self, model: str, user: str) -> None:
        """Give the model to another publisher or admin."""
        body = {"user": check_name(user, "user")}
        self._transport.request("PUT", f"{_model(model)}/owner", json=body)

    def all(self, model: str) -> list[Grant]:
        """The model's grants, by user."""
        return list(listing(self._transport, f"{_model(model)}/grants", Grant))

    def put(self, model: str, user: str) -> Grant:
        """Let a user manage the model as far as their role goes."""
        response = self._transport.request("PUT", _grant(model, user))
        return self._transport.read(response, Grant)

    def delete(self, model: str, user: str) -> None:
        """Take a grant back."""
        self._transport.request("DELETE", _grant(model, user))


def _given(wish: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in wish.items() if value is not None}


def _user(name: str) -> str:
    return f"{USERS}/{check_name(name, 'user')}"


def _model(name: str) -> str:
    return f"/api/v1/models/{check_name(name, 'model')}"


def _grant(model: str, user: str) -> str:
    return f"{_model(model)}/grants/{check_name(user, 'user')}"
