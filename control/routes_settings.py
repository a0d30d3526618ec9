"""The route of the settings: what this control process was told, read only, without secrets."""

import re
from typing import Annotated, Final

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict

from control.middleware import require
from control.routes_conventions import INSPECTORS, errors
from control.routes_parts import part
from control.settings import ControlSettings
from runtime.release import software_version

_PREFIX: Final = "TOLLWAY_"
_ADDRESSES: Final = frozenset({"database_url"})
"""Settings whose value may hold a password."""

_PASSWORD: Final = re.compile(r"(://[^/@:]*):.*@")
"""User and password in a URL: whatever stands before the last ``@`` is taken for the password."""

TheSettings = Annotated[ControlSettings, Depends(part(lambda services: services.settings))]


class SettingItem(BaseModel):
    """A setting of control. Files are named, never read."""

    model_config = ConfigDict(frozen=True)

    name: str
    value: str
    is_default: bool
    about: str


class SettingsItem(BaseModel):
    """The software and its settings, as the control process that answers has them."""

    model_config = ConfigDict(frozen=True)

    version: str
    database: str
    """``sqlite`` or ``postgresql``."""
    settings: list[SettingItem]


def settings_router() -> APIRouter:
    """``/settings``."""
    router = APIRouter(tags=["observation"])

    @router.get("/settings", dependencies=[Depends(require(*INSPECTORS))], responses=errors())
    def get_settings(settings: TheSettings) -> SettingsItem:
        """Read the settings of control and its version. They are changed by the environment and a
        restart, not here."""
        return SettingsItem(
            version=software_version(),
            database=settings.database.partition(":")[0].partition("+")[0],
            settings=_shown(settings),
        )

    return router


def _shown(settings: ControlSettings) -> list[SettingItem]:
    found = []
    for name, field in ControlSettings.model_fields.items():
        value = getattr(settings, name)
        if name in _ADDRESSES and value:
            value = _PASSWORD.sub(r"\1:***@", value)
        found.append(
            SettingItem(
                name=_PREFIX + name.upper(),
                value=_text(value),
                is_default=getattr(settings, name) == field.get_default(call_default_factory=True),
                about=" ".join((field.description or "").split()),
            )
        )
    return found


def _text(value: object) -> str:
    """The value as one would set it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {one}" for key, one in value.items())
    return str(value)
