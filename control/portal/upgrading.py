"""What the pages of versions show: which one answers an application, and what another would
change."""

import asyncio

import msgspec

from control.catalogue import CatalogueEntry
from control.pins import Pin
from control.portal.api import ApiRefusal
from control.portal.session import Visit
from control.resources import Application
from control.upgrades import UpgradePreview
from protocol.errors import Code
from registry.outputs import Page as RegistryPage
from registry.outputs import VersionOutput

CALLABLE = ("published", "deprecated")


class PinShown(msgspec.Struct, frozen=True):
    """The page of one model's version for an application."""

    application: Application
    model: str
    pin: Pin | None
    pin_etag: str
    """Empty: there is no pin."""
    entry: CatalogueEntry | None
    versions: list[VersionOutput]
    """Those that may be called, the newest first."""
    chosen: tuple[int, int] | None
    """From which version to which; null: there is no other."""
    preview: UpgradePreview | None

    @property
    def answering(self) -> int | None:
        """The version that answers calls which name none."""
        if self.pin is not None:
            return self.pin.version
        return None if self.entry is None else self.entry.version


async def read_pin(
    visit: Visit, name: str, model: str, start: int | None, to: int | None
) -> PinShown:
    """The page, with the preview of going from ``start`` to ``to``; left out: from what answers
    now to the newest."""
    application, (pin, pin_etag), entry, versions = await asyncio.gather(
        visit.api.get(f"/applications/{name}", Application),
        _pin(visit, name, model),
        _entry(visit, model),
        visit.api.get(f"/models/{model}/versions", RegistryPage[VersionOutput], limit=100),
    )
    known = [one for one in reversed(versions.items) if one.state in CALLABLE]
    shown = PinShown(application, model, pin, pin_etag, entry, known, None, None)
    before = start or shown.answering
    after = to or next((one.number for one in known if one.number != before), None)
    if before is None or after is None or before == after:
        return shown
    preview = None
    if visit.may("admin", "publisher", "consumer"):
        preview = await visit.api.get(
            f"/applications/{name}/upgrades/{model}",
            UpgradePreview,
            **{"from": before, "to": after},
        )
    return msgspec.structs.replace(shown, chosen=(before, after), preview=preview)


async def _pin(visit: Visit, name: str, model: str) -> tuple[Pin | None, str]:
    try:
        return await visit.api.get_tagged(f"/applications/{name}/pins/{model}", Pin)
    except ApiRefusal as refusal:
        if refusal.problem.code != Code.NOT_FOUND:
            raise
        return None, ""


async def _entry(visit: Visit, model: str) -> CatalogueEntry | None:
    try:
        return await visit.api.get(f"/catalogue/{model}", CatalogueEntry)
    except ApiRefusal as refusal:
        if refusal.problem.code != Code.MODEL_NOT_FOUND:
            raise
        return None
