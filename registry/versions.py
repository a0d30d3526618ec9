"""Reading versions: their immutable manifest, their state, and what the workers say of them."""

import hashlib

import msgspec

from protocol.configuration import CALLABLE_STATES
from protocol.errors import Code, TollwayError
from registry.models import model_not_found
from registry.status import ServingStatus, ServingStatusOf
from registry.store import models as model_store
from registry.store import transitions
from registry.store import versions as store
from registry.store.database import Database
from registry.store.transitions import TransitionRecord
from registry.store.versions import VersionRecord


def version_not_found(model: str, number: int) -> TollwayError:
    """The error for a number that the model has no version of."""
    return TollwayError(Code.VERSION_NOT_FOUND, f"model {model!r} has no version {number}")


def version_etag(version: VersionRecord) -> str:
    """Changes with the state, with ``loaded`` and with the deprecation; all else never changes."""
    loaded = "loaded" if version.loaded else "unloaded"
    tag = f"{version.digest.removeprefix('sha256:')[:16]}-{version.state}-{loaded}"
    if version.deprecation is None:
        return tag
    return f"{tag}-{hashlib.sha256(msgspec.json.encode(version.deprecation)).hexdigest()[:16]}"


class Versions:
    """Reads versions."""

    def __init__(self, database: Database, serving_status: ServingStatusOf) -> None:
        self._database = database
        self._serving_status = serving_status

    def get(self, model: str, number: int, *, callable_only: bool = False) -> VersionRecord:
        """The version. Raises ``MODEL_NOT_FOUND`` or ``VERSION_NOT_FOUND``.

        With ``callable_only`` there are no others than those that may be called.
        """
        with self._database.read() as connection:
            found = store.get(connection, model, number)
            hidden = callable_only and found is not None and found.state not in CALLABLE_STATES
            if found is not None and not hidden:
                return found
            if model_store.get(connection, model) is None:
                raise model_not_found(model)
        raise version_not_found(model, number)

    def page(
        self, model: str, after: int, limit: int, *, callable_only: bool = False
    ) -> list[VersionRecord]:
        """The model's versions by number, from the one following ``after``."""
        with self._database.read() as connection:
            if model_store.get(connection, model) is None:
                raise model_not_found(model)
            return store.page(connection, model, after, limit, callable_only=callable_only)

    def serving(self, version: VersionRecord) -> ServingStatus:
        """What the workers last reported of the version."""
        return self._serving_status(version.model, version.number)

    def history(self, model: str, number: int, after: int, limit: int) -> list[TransitionRecord]:
        """The version's transitions, oldest first."""
        self.get(model, number)
        with self._database.read() as connection:
            return transitions.history(connection, model, number, after, limit)
