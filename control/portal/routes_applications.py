"""Pages of applications: the list, a new one, one with its settings, its end."""

from fastapi import APIRouter
from fastapi.responses import Response

from control.portal.api import ApiRefusal
from control.portal.applications import make_application, read_application, suggested_name
from control.portal.editing import conditions, editing
from control.portal.forms import Form
from control.portal.rendering import page, redirect
from control.portal.session import TheForm, Visit
from control.portal.visitors import After, Owner, Search, Witness
from control.resources import Application, Page

PAGE_APPLICATIONS = 50
SETTINGS = {"title": "Title", "origins": "Web origins"}


def application_pages() -> APIRouter:
    """``/portal/applications``."""
    router = APIRouter()
    _add_list(router)
    _add_one(router)
    return router


def _add_list(router: APIRouter) -> None:
    @router.get("/applications")
    async def list_page(visit: Witness, search: Search = "", after: After = "") -> Response:
        """Applications, with a search."""
        found = await visit.api.get(
            "/applications",
            Page[Application],
            limit=PAGE_APPLICATIONS,
            search=search or None,
            after=after or None,
        )
        template = "applications/rows.html" if visit.is_htmx else "applications/list.html"
        return page(visit, template, found=found, search=search, after=after)

    @router.get("/new-application")
    async def new_page(visit: Owner) -> Response:
        """The form of a new application."""
        return await _new(visit)

    @router.post("/new-application")
    async def make(visit: Owner, form: TheForm) -> Response:
        """Make an application."""
        name = form.text("name")
        body = {"title": form.text("title"), "origins": form.lines("origins")}
        try:
            await make_application(visit, name, body)
        except ApiRefusal as refusal:
            return await _new(visit, form, refusal)
        return redirect(visit, f"/portal/applications/{name}", notice="The application is made.")


async def _new(
    visit: Visit, form: Form | None = None, refusal: ApiRefusal | None = None
) -> Response:
    values = {} if form is None else form.values()
    if form is None:
        mine = await visit.api.get("/applications", Page[Application], limit=100)
        values["name"] = suggested_name(visit, {one.name for one in mine.items})
    return page(
        visit,
        "applications/new.html",
        status=200 if refusal is None else refusal.status,
        values=values,
        refusal=refusal,
    )


def _add_one(router: APIRouter) -> None:
    @router.get("/applications/{application}")
    async def one_page(visit: Witness, application: str) -> Response:
        """One application: what it may call, its keys, its last days."""
        return page(
            visit, "applications/one.html", shown=await read_application(visit, application)
        )

    @router.get("/applications/{application}/settings")
    async def settings_page(visit: Owner, application: str) -> Response:
        """Title and origins, and the way to its end."""
        return await _settings(visit, application)

    @router.post("/applications/{application}/settings")
    async def change(visit: Owner, form: TheForm, application: str) -> Response:
        """Change title and origins."""
        body = {"title": form.text("title"), "origins": form.lines("origins")}
        try:
            await visit.api.put(
                f"/applications/{application}", body, Application, **conditions(form)
            )
        except ApiRefusal as refusal:
            return await _settings(visit, application, form, refusal.beside())
        return redirect(visit, f"/portal/applications/{application}", notice="Saved.")

    @router.post("/applications/{application}/delete")
    async def end(visit: Owner, application: str) -> Response:
        """End the application, with its keys and subscriptions."""
        await visit.api.delete(f"/applications/{application}")
        return redirect(visit, "/portal/applications", notice=f"{application} is deleted.")


async def _settings(
    visit: Visit, name: str, form: Form | None = None, refusal: ApiRefusal | None = None
) -> Response:
    found = await visit.api.get_tagged(f"/applications/{name}", Application)
    present = {"title": found.item.title, "origins": "\n".join(found.item.origins)}
    return page(
        visit,
        "applications/settings.html",
        status=200 if refusal is None else refusal.status,
        application=found.item,
        edit=editing(SETTINGS, present, found.etag, form, refusal),
        refusal=refusal,
    )
