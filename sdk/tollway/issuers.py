"""Issuers: whose JSON Web Tokens the gateways take beside API keys."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

from tollway.registry import check_name, listing
from tollway.transport import Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """An issuer of tokens, and what they mean to the server."""

    name: str
    issuer: str
    """The exact ``iss`` of its tokens."""
    audiences: tuple[str, ...]
    algorithms: tuple[str, ...]
    jwks_uri: str
    title: str = ""
    application_claim: str = "azp"
    applications: dict[str, str] = field(default_factory=dict)
    scope_claim: str = ""
    scopes: dict[str, str] = field(default_factory=dict)
    role_claim: str = ""
    roles: dict[str, str] = field(default_factory=dict)
    leeway_s: int = 30
    max_lifetime_s: int = 86_400
    created_at: str | float | None = None
    updated_at: str | float | None = None


class IssuerOptions(TypedDict, total=False):
    """What may be said of an issuer beside what must be; None is as good as left out."""

    title: str | None
    application_claim: str | None
    applications: Mapping[str, str] | None
    scope_claim: str | None
    scopes: Mapping[str, str] | None
    role_claim: str | None
    roles: Mapping[str, str] | None
    leeway_s: int | None
    max_lifetime_s: int | None


class Issuers:
    """The part of the management API about issuers."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def all(self) -> list[Issuer]:
        """Every issuer, by name."""
        return list(listing(self._transport, "/api/v1/issuers", Issuer))

    def put(self, name: str, wish: Mapping[str, object]) -> Issuer:
        """Make the issuer, or replace it whole. What is None takes the server's default."""
        body = {key: _plain(value) for key, value in wish.items() if value is not None}
        response = self._transport.request("PUT", _path(name), json=body)
        return self._transport.read(response, Issuer)

    def delete(self, name: str) -> None:
        """Take no more of its tokens, at every gateway within a second."""
        self._transport.request("DELETE", _path(name))


def _path(name: str) -> str:
    return f"/api/v1/issuers/{check_name(name, 'issuer')}"


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return list(value)
    return value
