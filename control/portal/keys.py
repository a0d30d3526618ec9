"""What the pages of keys show, and what their forms ask the management API for."""

from datetime import UTC, datetime
from typing import Final, Literal

import msgspec

from control.portal.forms import Form
from control.resources import Key

EXPIRING_DAYS: Final = 14
OVERLAPS: Final = (
    (0, "none: the old secret ends now"),
    (3_600, "1 hour"),
    (86_400, "1 day"),
    (7 * 86_400, "7 days"),
    (30 * 86_400, "30 days"),
)
"""Seconds for which both secrets of a rotated key work, and how a page says it."""
USUAL_OVERLAP_S: Final = 86_400

KeyState = Literal["active", "expiring", "expired", "revoked"]


class KeyShown(msgspec.Struct, frozen=True):
    """A key, and how it stands."""

    key: Key
    state: KeyState


def shown(key: Key, now_ms: int) -> KeyShown:
    """The key as it stands now."""
    return KeyShown(key, _state(key, now_ms))


def _state(key: Key, now_ms: int) -> KeyState:
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is None:
        return "active"
    left_s = datetime.fromisoformat(key.expires_at).timestamp() - now_ms / 1000
    if left_s <= 0:
        return "expired"
    return "expiring" if left_s < EXPIRING_DAYS * 86_400 else "active"


def key_request(application: str, form: Form) -> dict[str, object]:
    """The key that the form asks for."""
    return {
        "application": application,
        "label": form.text("label"),
        "environment": form.text("environment") or "live",
        **_restrictions(form),
    }


def key_change(form: Form, before: Key) -> dict[str, object]:
    """What the form changes. A date that stands as it was is left as it is, to the second."""
    change: dict[str, object] = {"label": form.text("label"), **_restrictions(form)}
    if (before.expires_at or "")[:10] == form.text("expires_on"):
        change.pop("expires_at")
    return change


LABELS: Final = {
    "label": "Label",
    "scopes": "May be used for",
    "models": "Models",
    "networks": "Only from these networks",
    "expires_on": "Last day (UTC)",
}


def key_texts(key: Key) -> dict[str, str]:
    """What the form shows of a key, field by field; a list has an item a line."""
    return {
        "label": key.label,
        "scopes": "\n".join(sorted(key.scopes or ())),
        "models": "\n".join(sorted(key.models or ())),
        "networks": "\n".join(key.networks),
        "expires_on": (key.expires_at or "")[:10],
    }


def typed_texts(form: Form) -> dict[str, str]:
    """The same of what was typed."""
    return {
        "label": form.text("label"),
        "scopes": "\n".join(sorted(form.every("scopes"))),
        "models": "\n".join(sorted(form.every("models"))),
        "networks": "\n".join(form.lines("networks")),
        "expires_on": form.text("expires_on"),
    }


def _restrictions(form: Form) -> dict[str, object]:
    """Nothing ticked, and nothing typed, is no restriction."""
    return {
        "scopes": form.every("scopes") or None,
        "models": form.every("models") or None,
        "networks": form.lines("networks"),
        "expires_at": end_of_day(form.text("expires_on")),
    }


def end_of_day(day: str) -> str | None:
    """The last second (UTC) of a day; what is no day goes as it is, so that the API says so."""
    if not day:
        return None
    try:
        moment = datetime.fromisoformat(day).replace(hour=23, minute=59, second=59, tzinfo=UTC)
    except ValueError:
        return day
    return moment.isoformat()
