"""The way around: what the visitor's role can use, by the groups of roles that the pages ask for
(``visitors.py``). The API refuses the rest anyway."""

from typing import Final

import msgspec

from control.portal.session import Visit
from control.routes_conventions import INSPECTORS, READERS, WITNESSES
from registry.access import EVIDENCE_READERS, Role


class Entry(msgspec.Struct, frozen=True):
    """An entry of the navigation."""

    label: str
    path: str
    roles: tuple[Role, ...] | None
    """None: everybody, logged in or not."""
    group: str = ""
    count: str = ""
    """Where the page fetches how much waits there, after it was shown."""
    counted_for: tuple[Role, ...] = ()


class Shown(msgspec.Struct, frozen=True):
    """An entry as a page shows it."""

    label: str
    path: str
    current: bool
    group: str
    count: str


ENTRIES: Final = (
    Entry("Catalogue", "/portal", None),
    Entry("API reference", "/portal/reference", None),
    Entry("Applications", "/portal/applications", WITNESSES),
    Entry("Webhooks", "/portal/webhooks", WITNESSES),
    Entry("Publish", "/portal/publish", READERS),
    Entry(
        "Approvals",
        "/portal/approvals",
        EVIDENCE_READERS,
        count="/portal/approvals/count",
        counted_for=("sponsor",),
    ),
    Entry("Operate", "/portal/operate", INSPECTORS),
)
"""All of it, in its order. An area adds its line here."""
_CATALOGUE: Final = ("/portal/models",)


def navigation(visit: Visit) -> list[Shown]:
    """What the visitor is shown, and where they are."""
    here = visit.request.url.path
    return [
        Shown(
            entry.label,
            entry.path,
            _is_current(entry.path, here),
            entry.group,
            entry.count if visit.role in entry.counted_for else "",
        )
        for entry in ENTRIES
        if entry.roles is None or visit.role in entry.roles
    ]


def _is_current(path: str, here: str) -> bool:
    if path == "/portal":
        return here == path or here.startswith(_CATALOGUE)
    return here == path or here.startswith(f"{path}/")
