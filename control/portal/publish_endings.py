"""Forms of deprecations, to and from what the API takes. Times of forms are UTC. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from control.portal.forms import Form
from control.publishing import PublishedVersionItem
from registry.deprecation_rules import MAX_BROWNOUTS

_MINUTE: Final = "%Y-%m-%dT%H:%M"


def moment(text: str | None) -> str | None:
    """``2027-01-15T08:00``, as browsers send it, as RFC 3339, and back; None where nothing is. What
    is neither goes as it is, so that the API says so."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{found.isoformat()}Z" if found.tzinfo is None else found.strftime(_MINUTE)


def brownouts(form: Form) -> list[dict[str, str]]:
    """Rows of the form in which something is filled in."""
    rows = [
        (form.text(f"start.{index}"), form.text(f"end.{index}")) for index in range(MAX_BROWNOUTS)
    ]
    return [
        {"start": moment(start) or "", "end": moment(end) or ""}
        for start, end in rows
        if start or end
    ]


def successors(items: Sequence[PublishedVersionItem], number: int) -> list[tuple[str, str]]:
    """(number, what it is) of the versions that callers may move to."""
    return [
        ("", "none yet"),
        *(
            (str(one.number), f"Version {one.number}")
            for one in items
            if one.state == "published" and one.number != number
        ),
    ]
