"""Aliases: labels that point at versions, moved by compare-and-swap, every move kept.

The alias ``stable`` is the model's traffic: it answers calls that name no version.
"""

from typing import Final

from protocol.configuration import CALLABLE_STATES
from protocol.errors import Code, TollwayError
from protocol.names import check_name
from registry.clock import Clock
from registry.conditions import holds
from registry.models import model_not_found
from registry.store import aliases as store
from registry.store import audit
from registry.store import models as model_store
from registry.store import versions as version_store
from registry.store.aliases import AliasRecord, MoveRecord
from registry.store.database import Database, Transaction
from registry.versions import version_not_found

STABLE: Final = "stable"


def alias_etag(alias: AliasRecord) -> str:
    """Names one move of the alias; never the same again, even after a deletion."""
    return f"r{alias.revision}"


class Aliases:
    """Reads and moves aliases."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def get(self, model: str, alias: str) -> AliasRecord:
        """The alias. Raises ``MODEL_NOT_FOUND`` or ``NOT_FOUND``."""
        found = self.find(model, alias)
        if found is None:
            raise TollwayError(Code.NOT_FOUND, f"model {model!r} has no alias {alias[:80]!r}")
        return found

    def find(self, model: str, alias: str) -> AliasRecord | None:
        """The alias, or None. Raises ``MODEL_NOT_FOUND``."""
        with self._database.read() as connection:
            if model_store.get(connection, model) is None:
                raise model_not_found(model)
            return store.get(connection, model, alias)

    def page(self, model: str, after: str, limit: int) -> list[AliasRecord]:
        """The model's aliases by name, from the one following ``after``."""
        with self._database.read() as connection:
            if model_store.get(connection, model) is None:
                raise model_not_found(model)
            return store.page(connection, model, after, limit)

    def history(self, model: str, alias: str, after: int, limit: int) -> list[MoveRecord]:
        """Every move of the alias, oldest first; also of one that was deleted."""
        with self._database.read() as connection:
            if model_store.get(connection, model) is None:
                raise model_not_found(model)
            return store.history(connection, model, alias, after, limit)

    def set(
        self, model: str, alias: str, version: int, *, actor: str, expected: str | None
    ) -> tuple[AliasRecord, bool]:
        """Point ``alias`` at ``version``. Returns the alias and whether it is new.

        ``expected`` is a condition on what is there now; see ``registry.conditions``.
        Raises ``PRECONDITION_FAILED``, and ``CONFLICT`` for a version that may not be called.
        """
        check_name(alias, "alias")
        with self._database.write() as connection:
            if not model_store.lock(connection, model):
                raise model_not_found(model)
            present = store.get(connection, model, alias)
            _check_expected(alias, present, expected)
            target = version_store.get(connection, model, version)
            if target is None:
                raise version_not_found(model, version)
            if target.state not in CALLABLE_STATES or not target.loaded:
                state = target.state if target.state not in CALLABLE_STATES else "not loaded"
                raise TollwayError(
                    Code.CONFLICT,
                    f"alias {alias!r} cannot point at version {version}, which is {state}; "
                    "it must be published or deprecated, and loaded",
                )
            if present is not None and present.version == version:
                return present, False
            moved = self._move(connection, model, alias, present, version, actor)
            assert moved is not None
            return moved, present is None

    def delete(self, model: str, alias: str, *, actor: str, expected: str | None) -> None:
        """Remove the alias; its history stays. Raises ``NOT_FOUND``, ``PRECONDITION_FAILED``."""
        with self._database.write() as connection:
            if not model_store.lock(connection, model):
                raise model_not_found(model)
            present = store.get(connection, model, alias)
            if present is None:
                raise TollwayError(Code.NOT_FOUND, f"model {model!r} has no alias {alias[:80]!r}")
            _check_expected(alias, present, expected)
            self._move(connection, model, alias, present, None, actor)

    def _move(
        self,
        connection: Transaction,
        model: str,
        alias: str,
        present: AliasRecord | None,
        version: int | None,
        actor: str,
    ) -> AliasRecord | None:
        now = self._clock()
        moved = store.move(
            connection,
            model=model,
            alias=alias,
            previous=present,
            version=version,
            actor=actor,
            at=now,
        )
        verb = "removed" if moved is None else "created" if present is None else "moved"
        audit.record(
            connection,
            f"alias.{verb}",
            "alias",
            f"{model}/{alias}",
            at_ms=now,
            before=present,
            after=moved,
        )
        return moved


def _check_expected(alias: str, present: AliasRecord | None, expected: str | None) -> None:
    if not holds(expected, None if present is None else alias_etag(present)):
        now = "does not exist" if present is None else f"points at version {present.version}"
        raise TollwayError(
            Code.PRECONDITION_FAILED,
            f"alias {alias!r} {now}, which is not what the request expects; read it again",
        )
