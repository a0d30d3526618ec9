"""Models: a name, what its publisher says of it, and what its versions and aliases add."""

import hashlib
from collections.abc import Collection

import msgspec

from protocol.errors import Code, TollwayError
from protocol.names import check_name
from registry.access import INSTALLATION, Actor
from registry.clock import Clock
from registry.conditions import holds
from registry.store import audit
from registry.store import models as store
from registry.store.database import AlreadyThere, Database
from registry.store.models import ModelRecord, ModelSettings
from registry.store.owners import NO_OWNERS, Owners


def model_not_found(name: str) -> TollwayError:
    """The error for a name that no model has."""
    return TollwayError(Code.MODEL_NOT_FOUND, f"there is no model {name[:80]!r}")


def model_etag(model: ModelRecord) -> str:
    """Changes whenever anything that the API shows of the model changes."""
    return hashlib.sha256(msgspec.json.encode(model)).hexdigest()[:20]


class Models:
    """Reads and writes models."""

    def __init__(self, database: Database, clock: Clock, owners: Owners = NO_OWNERS) -> None:
        self._database = database
        self._clock = clock
        self._owners = owners

    def put(
        self,
        name: str,
        *,
        title: str | None = None,
        description: str | None = None,
        idle_unload_s: int | None = None,
        cold_start_wait_s: int | None = None,
        capture_permille: int | None = None,
        capture_days: int | None = None,
        expected: str | None = None,
        by: Actor = INSTALLATION,
    ) -> tuple[ModelRecord, bool]:
        """Make the model, or write what is given; None leaves it as it is.

        Returns the model and whether it is new; a new one belongs to ``by``, and one that ``by``
        does not manage raises ``CONFLICT``. ``expected`` is a condition on what is there now; see
        ``registry.conditions``.
        """
        check_name(name, "model name")
        said = {
            "title": title,
            "description": description,
            "idle_unload_s": idle_unload_s,
            "cold_start_wait_s": cold_start_wait_s,
            "capture_permille": capture_permille,
            "capture_days": capture_days,
        }
        given = {field: value for field, value in said.items() if value is not None}
        try:
            return self._put(name, given, expected, by)
        except AlreadyThere:  # another request made it meanwhile: now it can be updated
            return self._put(name, given, expected, by)

    def get(self, name: str, managed: Collection[str] | None = None) -> ModelRecord:
        """The model. Raises ``MODEL_NOT_FOUND``.

        One that is not among ``managed`` (None: all are) is shown as the catalogue has it.
        """
        with self._database.read() as connection:
            found = store.get(connection, name, managed)
        if found is None:
            raise model_not_found(name)
        return found

    def page(
        self, after: str, limit: int, managed: Collection[str] | None = None
    ) -> list[ModelRecord]:
        """Models by name, from the one following ``after``: those ``managed`` (None: all) and those
        in the catalogue."""
        with self._database.read() as connection:
            return store.page(connection, after, limit, managed)

    def _put(
        self,
        name: str,
        given: dict[str, str | int],
        expected: str | None,
        by: Actor,
    ) -> tuple[ModelRecord, bool]:
        with self._database.write() as connection:
            store.lock(connection, name)
            found = store.get(connection, name)
            if found is not None and not by.manages_model(name):
                raise TollwayError(
                    Code.CONFLICT, f"the name {name!r} is taken by a model that you do not manage"
                )
            if not holds(expected, None if found is None else model_etag(found)):
                raise TollwayError(
                    Code.PRECONDITION_FAILED,
                    f"model {name!r} is not in the state that the request expects; read it again",
                )
            now = self._clock()
            if found is None:
                self._owners.hold(connection, by.name)
                settings = msgspec.structs.replace(ModelSettings(), **given)
                store.insert(connection, name, settings, by.name, now)
                self._owners.changed(connection, by.name)
            else:
                settings = msgspec.structs.replace(found.settings, **given)
                if settings == found.settings:
                    return found, False
                store.update(connection, name, settings, now)
            present = store.get(connection, name)
            assert present is not None
            action = "model.created" if found is None else "model.changed"
            audit.record(connection, action, "model", name, at_ms=now, before=found, after=present)
            return present, found is None
