"""What a token says, judged by its issuer's document: for whom, until when, which application."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from policies.jwt.compact import JsonObject
from policies.jwt.refusals import Reason, TokenError
from protocol.configuration import SCOPES, IssuerDoc, Scope
from protocol.names import NAME_PATTERN

MAX_UNIX_S: Final = 253_402_300_799
"""The end of the year 9999: what is later is no time."""
MAX_VALUES: Final = 1000
"""Values of one claim that are looked at."""
ROLES: Final = ("admin", "publisher", "auditor", "sponsor", "consumer")
"""The first of these that a token has is its role."""
_NAME: Final = re.compile(NAME_PATTERN)


def check_times(claims: JsonObject, issuer: IssuerDoc, now: float) -> float:
    """Until when the token is taken, in UNIX seconds; raises :class:`TokenError` unless it is
    valid ``now``. ``exp`` is required, ``nbf`` and ``iat`` are judged where they are given."""
    expires = _time(claims, "exp")
    if expires is None:
        raise TokenError(Reason.CLAIMS, "the token has no expiry ('exp')")
    issued = _time(claims, "iat")
    not_before = _time(claims, "nbf")
    leeway = issuer.leeway_s
    if expires + leeway <= now:
        raise TokenError(Reason.EXPIRED, "the token has expired: get a new one")
    if max(issued or 0, not_before or 0) > now + leeway:
        raise TokenError(
            Reason.NOT_YET, "the token is not valid yet ('nbf' or 'iat' is in the future)"
        )
    start = now if issued is None else min(issued, now)
    if expires - start > issuer.max_lifetime_s + leeway:
        raise TokenError(
            Reason.LIFETIME,
            f"the token is valid for longer than {issuer.max_lifetime_s} seconds: ask its issuer "
            "for one with a shorter life",
        )
    return expires + leeway


def check_audience(claims: JsonObject, issuer: IssuerDoc) -> None:
    """Raise :class:`TokenError` unless the token is meant for one of the issuer's audiences."""
    audience = claims.get("aud")
    named = audience if isinstance(audience, list) else [audience]
    if not named or not all(isinstance(one, str) for one in named):
        raise TokenError(Reason.CLAIMS, "the token names no audience ('aud')")
    if not set(issuer.audiences).intersection(named):
        raise TokenError(Reason.AUDIENCE, "the token is meant for another audience ('aud')")


def find(claims: Mapping[str, object], path: str) -> object:
    """The value at a dotted path; None where there is none.

    A member of that whole name goes before: names that are URLs have dots of their own.
    """
    if path in claims:
        return claims[path]
    value: object = claims
    for part in path.split("."):
        if not isinstance(value, dict) or part not in value:
            return None
        value = value[part]
    return value


def application(claims: JsonObject, issuer: IssuerDoc) -> str | None:
    """The application that calls; None when the claim names none, or more than one."""
    values = _texts(find(claims, issuer.application_claim), split=False)
    if issuer.applications:
        found = {issuer.applications[value] for value in values if value in issuer.applications}
    else:
        found = {value for value in values if _NAME.fullmatch(value) is not None}
    return found.pop() if len(found) == 1 else None


def scopes(claims: JsonObject, issuer: IssuerDoc) -> frozenset[Scope] | None:
    """What the token may be used for; None when the issuer's tokens are not judged by it."""
    if not issuer.scope_claim:
        return None
    mapping: dict[str, Scope] = issuer.scopes or {scope: scope for scope in SCOPES}
    values = _texts(find(claims, issuer.scope_claim), split=True)
    return frozenset(mapping[value] for value in values if value in mapping)


def role(claims: JsonObject, issuer: IssuerDoc) -> str | None:
    """The management role of the token's holder; None: they manage nothing."""
    if not issuer.role_claim:
        return None
    values = _texts(find(claims, issuer.role_claim), split=True)
    found = {issuer.roles[value] for value in values if value in issuer.roles}
    return next((known for known in ROLES if known in found), None)


def _texts(value: object, *, split: bool) -> Iterator[str]:
    """The texts of a claim: one, several in a list, or (``split``) several between spaces, as
    OAuth's ``scope`` has them (RFC 6749, section 3.3)."""
    values = value if isinstance(value, list) else [value]
    for one in values[:MAX_VALUES]:
        if isinstance(one, str):
            yield from one.split(" ")[:MAX_VALUES] if split else (one,)


def _time(claims: JsonObject, name: str) -> float | None:
    """A ``NumericDate`` (RFC 7519, section 2)."""
    value = claims.get(name)
    if name not in claims:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenError(Reason.CLAIMS, f"the token's '{name}' is not a number of seconds")
    # NaN fails this as well. No other question is asked first: a whole number may have any length.
    if not 0 <= value <= MAX_UNIX_S:
        raise TokenError(Reason.CLAIMS, f"the token's '{name}' is not a time")
    return float(value)
