"""Forms of deprecations, to and from what the API takes. Times of forms are UTC. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from control.portal.forms import Form
from control.publishing import PublishedVersionItem
from registry.deprecation_rules import MAX_BROWNOUTS
from registry.outputs import EndingOutput

LABELS: Final = {
    "sunset": "Sunset, UTC",
    "successor": "Successor",
    "note": "Note for callers",
    "brownouts": "Brown-outs, UTC",
    "retire_at_sunset": "Retire it when its sunset comes",
}
_TO: Final = " to "
_ROWS: Final = 3
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


def texts(ending: EndingOutput | None) -> dict[str, str]:
    """What the form shows of an end, field by field; brown-outs a line each."""
    if ending is None:
        return dict.fromkeys(LABELS, "")
    return {
        "sunset": moment(ending.sunset) or "",
        "successor": "" if ending.successor is None else str(ending.successor),
        "note": ending.note,
        "brownouts": _lines([(moment(one.start), moment(one.end)) for one in ending.brownouts]),
        "retire_at_sunset": "yes" if ending.retire_at_sunset else "",
    }


def typed_texts(form: Form) -> dict[str, str]:
    """The same of what was typed."""
    asked = [(moment(one["start"]), moment(one["end"])) for one in brownouts(form)]
    return {
        "sunset": form.text("sunset"),
        "successor": form.text("successor"),
        "note": form.text("note"),
        "brownouts": _lines(asked),
        "retire_at_sunset": "yes" if form.flag("retire_at_sunset") else "",
    }


def rows(text: str) -> list[tuple[str, str]]:
    """Begin and end of each brown-out of a text, and of those that may still be filled in."""
    found = []
    for line in text.splitlines():
        start, _, end = line.partition(_TO)
        found.append((start, end))
    return found + [("", "")] * max(_ROWS - len(found), 1)


def _lines(found: Sequence[tuple[str | None, str | None]]) -> str:
    return "\n".join(f"{start or ''}{_TO}{end or ''}" for start, end in found)


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
