"""Pages of the audit log: searched, read entry by entry, verified, downloaded."""

from typing import Annotated, Any, Final, NamedTuple
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response

from control.portal.api import ApiRefusal
from control.portal.audit_difference import difference
from control.portal.downloads import download
from control.portal.rendering import page
from control.portal.spans import as_moment
from control.portal.visitors import Inspector
from control.resources import Page
from control.routes_audit import AuditItem, VerificationItem

Text = Annotated[str, Query(max_length=255)]
PAGE_ENTRIES: Final = 50
PATH: Final = "/portal/operate/audit"


class Wanted(NamedTuple):
    """The search of the page. Empty: whatever it is."""

    search: str
    actor: str
    action: str
    kind: str
    key: str
    start: str
    end: str

    def query(self) -> dict[str, str]:
        """The fields that say something, as in the page's address."""
        names = ("q", "actor", "action", "kind", "key", "from", "to")
        return {name: value for name, value in zip(names, self, strict=True) if value}

    def asked(self) -> dict[str, str]:
        """The same as the API takes it."""
        found = self.query()
        if "q" in found:
            found["search"] = found.pop("q")
        return {
            name: as_moment(value) if name in ("from", "to") else value
            for name, value in found.items()
        }


async def _wanted(
    q: Text = "",
    actor: Text = "",
    action: Text = "",
    kind: Text = "",
    key: Text = "",
    start: Annotated[str, Query(alias="from", max_length=40)] = "",
    to: Annotated[str, Query(max_length=40)] = "",
) -> Wanted:
    return Wanted(*(text.strip() for text in (q, actor, action, kind, key, start, to)))


def audit_pages() -> APIRouter:
    """``/portal/operate/audit``."""
    router = APIRouter(prefix="/operate/audit")

    @router.get("")
    async def audit_page(
        visit: Inspector,
        wanted: Annotated[Wanted, Depends(_wanted)],
        after: Annotated[str, Query(max_length=20)] = "",
    ) -> Response:
        """Entries, newest first, with a search."""
        refusal, found = None, Page[AuditItem](items=[], next=None)
        query = {**wanted.asked(), "limit": PAGE_ENTRIES, "after": after or None}
        try:
            found = await visit.api.get("/audit", Page[AuditItem], **query)
        except ApiRefusal as error:
            if error.status != 422:  # noqa: PLR2004 -- a filter that is no filter
                raise
            refusal = error
        context: dict[str, Any] = {
            "wanted": wanted,
            "found": found,
            "refusal": refusal,
            "here": urlencode(wanted.query()),
            "after": after,
        }
        if visit.is_htmx:
            return page(visit, "operate/audit_list.html", **context)
        standing = await visit.api.get("/audit/verify", VerificationItem)
        return page(visit, "operate/audit.html", standing=standing, **context)

    @router.get("/entries/{seq}")
    async def entry_page(visit: Inspector, seq: int) -> Response:
        """One entry with what it changed."""
        entry = await visit.api.get(f"/audit/entries/{seq}", AuditItem)
        return page(
            visit,
            "operate/audit_entry.html",
            entry=entry,
            difference=difference(entry.before, entry.after),
        )

    @router.post("/verify")
    async def verify(visit: Inspector) -> Response:
        """Begin a verification; the page then follows it."""
        try:
            standing = await visit.api.post("/audit/verify", None, VerificationItem)
        except ApiRefusal as refusal:
            if refusal.status != 409:  # noqa: PLR2004 -- one is under way: it is followed
                raise
            standing = await visit.api.get("/audit/verify", VerificationItem)
        return page(visit, "operate/audit_standing.html", standing=standing)

    @router.get("/verify")
    async def verification(visit: Inspector) -> Response:
        """How far it is: asked for by the page while one is under way."""
        standing = await visit.api.get("/audit/verify", VerificationItem)
        return page(visit, "operate/audit_standing.html", standing=standing)

    @router.get("/export")
    async def export(
        visit: Inspector,
        wanted: Annotated[Wanted, Depends(_wanted)],
        format: str = "jsonl",
    ) -> Response:
        """Download what was searched for."""
        query = {**wanted.asked(), "format": format}
        return await download(visit, "/audit/export", query)

    return router
