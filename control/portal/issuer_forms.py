"""The form of an identity provider, to and from what the API takes. Pure."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from control.identity.issuers import Issuer
from control.portal.api import ApiRefusal
from control.portal.forms import Form
from policies.jwt.keys import ALGORITHMS
from protocol.errors import Code
from protocol.problems import FieldError, problem

LABELS: Final = {
    "title": "Title",
    "issuer": "Issuer",
    "jwks_uri": "Keys at",
    "audiences": "Audiences",
    "algorithms": "Algorithms",
    "application_claim": "Claim that names the application",
    "applications": "Applications",
    "scope_claim": "Claim of what a token may be used for",
    "scopes": "Scopes",
    "role_claim": "Claim of the role",
    "roles": "Roles",
    "leeway_s": "Clock difference (s)",
    "max_lifetime_s": "Longest life of a token (s)",
}
OFFERED: Final = tuple(sorted(ALGORITHMS))
_MAPPINGS: Final = ("applications", "scopes", "roles")
_NEW: Final = {
    "algorithms": "RS256",
    "application_claim": "azp",
    "leeway_s": "30",
    "max_lifetime_s": "86400",
}


def texts(issuer: Issuer | None) -> dict[str, str]:
    """What the form shows, field by field: lists an item a line, mappings ``value = meaning``."""
    if issuer is None:
        return {**dict.fromkeys(LABELS, ""), **_NEW}
    return {name: _text(getattr(issuer, name)) for name in LABELS}


def typed_texts(form: Form) -> dict[str, str]:
    """The same of what was typed."""
    found = {name: form.text(name) for name in LABELS}
    return {
        **found,
        "audiences": "\n".join(sorted(set(_lines(form, "audiences")))),
        "algorithms": "\n".join(sorted(form.every("algorithms"))),
    }


def body_of(form: Form) -> dict[str, object]:
    """What the API is sent. What it would not understand goes as it is, so that the API says so.

    Raises :class:`ApiRefusal` for lines of a mapping that are none, or map a value again: the API
    knows no lines.
    """
    mappings = {name: _mapping(form.text(name)) for name in _MAPPINGS}
    wrong = tuple(
        FieldError(name, "; ".join(one.wrong)) for name, one in mappings.items() if one.wrong
    )
    if wrong:
        refused = problem(Code.INVALID, "lines of a mapping are not as they must be", errors=wrong)
        raise ApiRefusal(refused)
    body: dict[str, object] = {
        "title": form.text("title"),
        "issuer": form.text("issuer"),
        "jwks_uri": form.text("jwks_uri"),
        "audiences": _lines(form, "audiences"),
        "algorithms": form.every("algorithms"),
        "application_claim": form.text("application_claim"),
        "scope_claim": form.text("scope_claim"),
        "role_claim": form.text("role_claim"),
        "leeway_s": form.number("leeway_s"),
        "max_lifetime_s": form.number("max_lifetime_s"),
    }
    return body | {name: one.meanings for name, one in mappings.items()}


def _lines(form: Form, name: str) -> list[str]:
    return [line.strip() for line in form.text(name).splitlines() if line.strip()]


class _Mapping(NamedTuple):
    meanings: dict[str, str]
    wrong: list[str]


def _mapping(text: str) -> _Mapping:
    found = _Mapping({}, [])
    first: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        # A value of a claim may hold "=", and what it means here holds none.
        value, equals, meaning = (part.strip() for part in line.rpartition("="))
        if not line.strip():
            continue
        if not (equals and value and meaning):
            found.wrong.append(f"line {number}: write “value = meaning”, not “{line.strip()[:80]}”")
        elif value in first:
            found.wrong.append(
                f"line {number}: “{value[:80]}” is mapped in line {first[value]} already"
            )
        else:
            first[value] = number
            found.meanings[value] = meaning
    return found


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return "\n".join(f"{key} = {meaning}" for key, meaning in sorted(value.items()))
    if isinstance(value, tuple):
        return "\n".join(map(str, value))
    return str(value)
