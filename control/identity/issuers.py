"""Issuers of tokens as the management API takes and gives them."""

import re
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from control.resources import Request, Resource, Title
from policies.jwt.keys import ALGORITHMS
from protocol.configuration import IssuerDoc, Scope
from protocol.names import NAME_PATTERN
from registry.access import Role

MAX_NAME: Final = 28
"""Usage is recorded under ``jwt-NAME``, which has the room of a key's id."""
MAX_URL: Final = 2048
MAX_MAPPING: Final = 1000
MAX_LEEWAY_S: Final = 300
MAX_LIFETIME_S: Final = 31 * 86_400

Algorithm = Literal[
    "ES256", "ES384", "ES512", "EdDSA", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"
]
assert set(ALGORITHMS) == set(Algorithm.__args__)  # type: ignore[attr-defined]

_NAME: Final = re.compile(NAME_PATTERN)


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("text must consist of printable characters")
    return text


def _path(text: str) -> str:
    if text and not all(text.split(".")):
        raise ValueError("a claim is a name, or a path of names with one dot between them")
    return text


Value = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_printable)]
ClaimPath = Annotated[str, Field(max_length=255), AfterValidator(_printable), AfterValidator(_path)]


def _once_each(values: tuple[str, ...]) -> tuple[str, ...]:
    """In one order, so that the same wish is the same resource."""
    return tuple(sorted(set(values)))


def _applications(mapping: dict[str, str]) -> dict[str, str]:
    for name in mapping.values():
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"{name[:80]!r} is not the name of an application")
    return mapping


class IssuerRequest(Request):
    """An issuer, whole: what is left out has its default."""

    title: Title = ""
    issuer: Annotated[str, Field(min_length=1, max_length=MAX_URL), AfterValidator(_printable)]
    """The exact `iss` of its tokens: an https URL without query and fragment, or http on the same
    machine."""
    audiences: Annotated[
        tuple[Value, ...], Field(min_length=1, max_length=100), AfterValidator(_once_each)
    ]
    """A token must be meant for (`aud`) one of these."""
    algorithms: Annotated[
        tuple[Algorithm, ...], Field(min_length=1, max_length=16), AfterValidator(_once_each)
    ]
    """The only signature algorithms that are taken."""
    jwks_uri: Annotated[str, Field(min_length=1, max_length=MAX_URL), AfterValidator(_printable)]
    """Where its public keys are: https, or http on the same machine."""
    application_claim: Annotated[ClaimPath, Field(min_length=1)] = "azp"
    """Claim (a dotted path) that says which application calls."""
    applications: Annotated[
        dict[Value, str],
        Field(default_factory=dict, max_length=MAX_MAPPING),
        AfterValidator(_applications),
    ]
    """Value of that claim -> application; empty: the value is the application's name. One that
    does not exist (yet) is taken: whom it stands for is refused until it does."""
    scope_claim: ClaimPath = ""
    """Claim that says what a token may be used for, and nothing else then; empty: everything that
    the plan allows."""
    scopes: dict[Value, Scope] = Field(default_factory=dict, max_length=MAX_MAPPING)
    """Value in the scope claim -> scope; empty: the values are scopes by their own names."""
    role_claim: ClaimPath = ""
    """Claim that says which management role a token's holder has; empty: none."""
    roles: dict[Value, Role] = Field(default_factory=dict, max_length=MAX_MAPPING)
    """Value of the role claim -> role."""
    leeway_s: Annotated[int, Field(strict=True, ge=0, le=MAX_LEEWAY_S)] = 30
    """Clock difference allowed for `exp`, `nbf` and `iat`."""
    max_lifetime_s: Annotated[int, Field(strict=True, ge=60, le=MAX_LIFETIME_S)] = 86_400
    """A token that is valid for longer is refused."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.scopes and not self.scope_claim:
            raise ValueError("scopes need a scope_claim, whose values they are")
        if bool(self.roles) != bool(self.role_claim):
            raise ValueError("role_claim and roles belong together: give both, or none")
        return self


class Issuer(IssuerRequest, Resource):
    """Whose JSON Web Tokens are taken, and what they mean here."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
    created_at: str
    updated_at: str


def issuer_document(name: str, issuer: IssuerRequest) -> IssuerDoc:
    """What gateways need to know of the issuer."""
    return IssuerDoc(name=name, **{field: getattr(issuer, field) for field in _PUBLISHED})


_PUBLISHED: Final = tuple(field for field in IssuerRequest.model_fields if field != "title")
