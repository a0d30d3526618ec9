"""Aliases: labels that point at versions, moved by compare-and-swap, every move kept.

The alias ``stable`` is the model's traffic: it answers calls that name no version.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from protocol.errors import Code, TollwayError
from protocol.names import check_name
from registry.clock import Clock
from registry.conditions import holds
from registry.gates import check_promotion
from registry.models import model_not_found
from registry.rollout_audit import record_rollout
from registry.status import ServingStatus, ServingStatusOf
from registry.store import aliases as store
from registry.store import audit
from registry.store import models as model_store
from registry.store import rollouts as rollout_store
from registry.store import versions as version_store
from registry.store.aliases import AliasRecord, MoveRecord
from registry.store.database import Database, Transaction
from registry.store.rollouts import RolloutRecord
from registry.traffic import callable_version, check_canary, check_compatible, check_force

STABLE: Final = rollout_store.STABLE


def alias_etag(alias: AliasRecord) -> str:
    """Names one move of the alias; never the same again, even after a deletion."""
    return f"r{alias.revision}"


class Aliases:
    """Reads and moves aliases."""

    def __init__(self, database: Database, clock: Clock, serving_status: ServingStatusOf) -> None:
        self._database = database
        self._clock = clock
        self._serving_status = serving_status

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
        self,
        model: str,
        alias: str,
        version: int,
        *,
        actor: str,
        expected: str | None,
        force: bool = False,
        reason: str = "",
    ) -> tuple[AliasRecord, bool]:
        """Point ``alias`` at ``version``. Returns the alias and whether it is new.

        ``expected`` is a condition on what is there now; see ``registry.conditions``.
        Raises ``PRECONDITION_FAILED``, ``CONFLICT`` for a version that may not be called or that no
        engine answers for, and ``INCOMPATIBLE`` for one that breaks the callers of the present one
        (of a new alias: of the stable one), unless there is ``force`` and a ``reason``.
        """
        check_name(alias, "alias")
        check_force(force=force, reason=reason)
        status = self._serving_status(model, version)
        with self._database.write() as connection:
            if not model_store.lock(connection, model):
                raise model_not_found(model)
            present = store.get(connection, model, alias)
            _check_expected(alias, present, expected)
            if present is not None and present.version == version:
                return present, False
            moved = point(
                connection,
                model,
                alias,
                version,
                status,
                actor=actor,
                at=self._clock(),
                force=force,
                reason=reason,
            )
            if alias == STABLE:
                rollout = rollout_store.get(connection, model)
                check_canary(connection, rollout, force=force)
            return moved, present is None

    def delete(self, model: str, alias: str, *, actor: str, expected: str | None) -> None:
        """Remove the alias; its history stays. Raises ``NOT_FOUND``, ``PRECONDITION_FAILED``, and
        ``CONFLICT`` for ``stable`` while a canary runs beside it."""
        with self._database.write() as connection:
            if not model_store.lock(connection, model):
                raise model_not_found(model)
            present = store.get(connection, model, alias)
            if present is None:
                raise TollwayError(Code.NOT_FOUND, f"model {model!r} has no alias {alias[:80]!r}")
            _check_expected(alias, present, expected)
            if alias == STABLE:
                canary = rollout_store.get(connection, model).canary
                if canary is not None:
                    raise TollwayError(
                        Code.CONFLICT,
                        f"alias 'stable' cannot be removed while version {canary.version} is the "
                        "canary beside it: end the canary first",
                    )
            _move(connection, model, alias, present, None, actor=actor, at=self._clock())


def point(
    connection: Transaction,
    model: str,
    alias: str,
    version: int,
    status: ServingStatus,
    *,
    actor: str,
    at: int,
    force: bool = False,
    reason: str = "",
) -> AliasRecord:
    """Move ``alias`` to another version, as :meth:`Aliases.set` does. ``status`` is what workers
    say of that version; the caller holds the model's lock."""
    present = store.get(connection, model, alias)
    target = callable_version(connection, model, version, status, f"alias {alias!r}")
    if alias == STABLE:
        check_promotion(connection, target, "stable")
    compared = present or store.get(connection, model, STABLE)
    broken: Sequence[str] = ()
    if compared is not None:
        before = version_store.get(connection, model, compared.version)
        assert before is not None
        broken = check_compatible(before, target, f"alias {alias!r}", force=force)
    moved = _move(
        connection, model, alias, present, version, actor=actor, at=at, reason=reason, broken=broken
    )
    assert moved is not None
    return moved


def go_back(
    connection: Transaction, model: str, version: int, *, actor: str, at: int, reason: str
) -> AliasRecord:
    """Move ``stable`` to the version before, whatever it takes and gives: its callers had it
    before. The caller holds the model's lock and knows that the version answers."""
    present = store.get(connection, model, STABLE)
    moved = _move(
        connection,
        model,
        STABLE,
        present,
        version,
        actor=actor,
        at=at,
        reason=reason,
        rollback=True,
    )
    assert moved is not None
    return moved


def _move(
    connection: Transaction,
    model: str,
    alias: str,
    present: AliasRecord | None,
    version: int | None,
    *,
    actor: str,
    at: int,
    reason: str = "",
    rollback: bool = False,
    broken: Sequence[str] = (),
) -> AliasRecord | None:
    before = rollout_store.get(connection, model)
    moved = store.move(
        connection,
        model=model,
        alias=alias,
        previous=present,
        version=version,
        actor=actor,
        at=at,
        reason=reason,
        rollback=rollback,
    )
    if alias == STABLE:
        after = rollout_store.save(
            connection,
            _beside(before, version, ends=rollback),
            cause="rollback" if rollback else "set",
            actor=actor,
            reason=reason,
            at=at,
        )
    verb = "removed" if moved is None else "created" if present is None else "moved"
    audit.record(
        connection,
        f"alias.{verb}",
        "alias",
        f"{model}/{alias}",
        at_ms=at,
        before=present,
        after=None if moved is None else _with(moved, broken),
        reason=reason,
    )
    if alias == STABLE:
        record_rollout(connection, before, after, at_ms=at, reason=reason, rollback=rollback)
    return moved


def _beside(before: RolloutRecord, stable: int | None, *, ends: bool) -> RolloutRecord:
    """What stays beside a stable version that has moved: not what has become it."""
    canary = before.canary
    if ends or (canary is not None and canary.version == stable):
        canary = None
    shadows = tuple(shadow for shadow in before.shadows if shadow.version != stable)
    return msgspec.structs.replace(before, stable=stable, canary=canary, shadows=shadows)


def _with(moved: AliasRecord, broken: Sequence[str]) -> dict[str, object]:
    """What the audit log keeps of a move: what was forced, too."""
    state = msgspec.structs.asdict(moved)
    return state | {"forced": list(broken)} if broken else state


def _check_expected(alias: str, present: AliasRecord | None, expected: str | None) -> None:
    if not holds(expected, None if present is None else alias_etag(present)):
        now = "does not exist" if present is None else f"points at version {present.version}"
        raise TollwayError(
            Code.PRECONDITION_FAILED,
            f"alias {alias!r} {now}, which is not what the request expects; read it again",
        )
