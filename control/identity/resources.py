"""What the management API takes and gives of users, sessions, tokens and grants."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from control.identity.passwords import MAX_LENGTH
from control.resources import Moment, Title
from registry.access import Role

Email = Annotated[str, Field(max_length=254, pattern=r"^[^@\s\x00]{1,64}@[^@\s\x00]{1,189}$")]
Password = Annotated[SecretStr, Field(max_length=MAX_LENGTH)]


class _Request(BaseModel):
    # Errors name the field alone: what was sent may be a secret.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class _Resource(BaseModel):
    model_config = ConfigDict(frozen=True)


class UserRequest(_Request):
    """What a user is to be; a field left out keeps its value."""

    title: Title | None = None
    email: Email | None = None
    role: Role | None = None
    """Left out for a new user: ``consumer``."""
    consumer: str | None = None
    """Left out for a new user: one of their own is made. Admins and auditors have none."""
    password: Password | None = None
    """Ends every session and token of the user when it changes."""
    disabled: Annotated[bool, Field(strict=True)] | None = None


class User(_Resource):
    """Somebody who manages or uses models."""

    name: str
    title: str
    email: str | None
    role: Role
    consumer: str | None
    disabled: bool
    has_password: bool
    issuer: str | None
    """The identity provider through which the user logs in."""
    created_at: str
    updated_at: str


class Myself(_Resource):
    """Who makes the request, and what they reach."""

    name: str
    role: Role
    credential: str
    """``session``, ``token``, ``admin`` (an installation's own token) or ``jwt``."""
    consumer: str | None
    """The consumer whose applications they reach; null: all, or none."""
    models: list[str] | None
    """The models that they manage; null: all."""
    user: User | None


class PasswordChange(_Request):
    """A user's own new password."""

    old: Password
    new: Password


class SignUp(_Request):
    """A new consumer."""

    name: str
    password: Password
    title: Title = ""
    email: Email | None = None


class Login(_Request):
    """Name and password."""

    name: Annotated[str, Field(max_length=63)]
    password: Password


class Session(_Resource):
    """A login that is still open."""

    id: str
    user: str
    address: str
    agent: str
    current: bool
    """Whether it is the one that makes this request."""
    created_at: str
    seen_at: str
    expires_at: str


class NewSession(Session):
    """A session as it is answered once, when it begins."""

    role: Role
    secret: str


class TokenRequest(_Request):
    """A personal token to be made."""

    label: Title = ""
    role: Role | None = None
    """Left out: the user's own role."""
    expires_at: Moment | None = None
    user: str | None = None
    """Left out: oneself. Others' tokens are made by admins only."""


class Token(_Resource):
    """A personal token, without its secret."""

    id: str
    prefix: str
    user: str
    role: Role
    label: str
    created_at: str
    created_by: str
    expires_at: str | None
    revoked_at: str | None


class NewToken(Token):
    """A personal token as it is answered once, when it is made."""

    secret: str


class Grant(_Resource):
    """A user's right to manage a model that another owns."""

    model: str
    user: str
    created_at: str
    created_by: str
    named: bool = False
    """Whether the model's requirements gave it, by naming the user their sponsor: it ends when they
    name another. One that is given by hand does not."""


class ManagedModel(_Resource):
    """A model that a user manages: as its `owner`, by a `grant`, or as its `sponsor`, by a grant
    that its requirements gave."""

    model: str
    by: Literal["owner", "grant", "sponsor"]
    since: str | None
    """When it was granted; null of an owner."""


class OwnerRequest(_Request):
    """Who is to own the model."""

    user: str


class Ownership(_Resource):
    """Who owns a model."""

    model: str
    owner: str
