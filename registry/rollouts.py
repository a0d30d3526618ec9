"""Rollouts: the stable version, the canary that takes a share of its traffic, the shadows that are
compared with it. One resource, changed as a whole or in parts, under one condition."""

from collections.abc import Iterable

import msgspec
from msgspec import UNSET, UnsetType

from protocol.configuration import ShadowDoc
from protocol.errors import Code, TollwayError
from registry.aliases import go_back, point
from registry.canary_plan import CanaryPlan, same_plan
from registry.clock import Clock
from registry.conditions import holds
from registry.gates import check_promotion
from registry.models import model_not_found
from registry.rollout_audit import record_rollout
from registry.status import ServingStatus, ServingStatusOf
from registry.store import models as model_store
from registry.store import rollouts as store
from registry.store.database import Database, Transaction
from registry.store.rollouts import CanaryRecord, RolloutChange, RolloutRecord
from registry.traffic import callable_version, check_canary, check_force

Statuses = dict[int, ServingStatus]


class CanaryWish(msgspec.Struct, frozen=True, kw_only=True):
    """The canary that a change asks for."""

    version: int
    permille: int | None = None
    """None: the first step's; without a plan that of the present canary, if it is this version."""
    plan: CanaryPlan | UnsetType | None = UNSET
    """None: it is not guarded; UNSET: as the present canary is, if it is this version."""


class RolloutWish(msgspec.Struct, frozen=True, kw_only=True):
    """What a change asks for; what is UNSET stays as it is."""

    stable: int | UnsetType = UNSET
    canary: CanaryWish | UnsetType | None = UNSET
    """None ends it."""
    shadows: tuple[ShadowDoc, ...] | UnsetType = UNSET
    force: bool = False
    """Whether callers may be broken; needs a reason."""
    reason: str = ""

    def versions(self) -> Iterable[int]:
        """Every version that it names."""
        if self.stable is not UNSET:
            yield self.stable
        if self.canary is not UNSET and self.canary is not None:
            yield self.canary.version
        if self.shadows is not UNSET:
            yield from (shadow.version for shadow in self.shadows)


def rollout_etag(rollout: RolloutRecord) -> str | None:
    """Names one state of the rollout; None where there is none: nothing is set."""
    if rollout.stable is None and rollout.canary is None and not rollout.shadows:
        return None
    return f"r{rollout.revision}"


class Rollouts:
    """Reads and changes rollouts. Thread-safe; calls block."""

    def __init__(self, database: Database, clock: Clock, serving_status: ServingStatusOf) -> None:
        self._database = database
        self._clock = clock
        self._serving_status = serving_status

    def get(self, model: str) -> RolloutRecord:
        """The model's rollout. Raises ``MODEL_NOT_FOUND``."""
        with self._database.read() as connection:
            if model_store.get(connection, model) is None:
                raise model_not_found(model)
            return store.get(connection, model)

    def previous(self, model: str) -> int | None:
        """The version that a rollback would go to: the last that was stable before the present one
        and is not retired. None: there is none."""
        with self._database.read() as connection:
            return store.before_stable(connection, model)

    def history(
        self, model: str, after: int, limit: int, *, newest: bool = False
    ) -> list[RolloutChange]:
        """Every change of the rollout, oldest first, or newest first."""
        with self._database.read() as connection:
            if model_store.get(connection, model) is None:
                raise model_not_found(model)
            return store.history(connection, model, after, limit, newest=newest)

    def change(
        self, model: str, wish: RolloutWish, *, actor: str, expected: str | None = None
    ) -> RolloutRecord:
        """Change what the wish names, all of it or nothing; ``expected`` is a condition.

        A version that becomes stable is neither canary nor shadow any more. Raises ``CONFLICT`` for
        a version that may not be called or that no engine answers for, ``INCOMPATIBLE`` for a
        stable version or a canary with a share that breaks callers, without ``force``.
        """
        check_force(force=wish.force, reason=wish.reason)
        statuses = {number: self._serving_status(model, number) for number in wish.versions()}
        with self._database.write() as connection:
            if not model_store.lock(connection, model):
                raise model_not_found(model)
            before = store.get(connection, model)
            check_expected(before, expected)
            return change(connection, before, wish, statuses, actor=actor, at=self._clock())

    def roll_back(
        self, model: str, *, actor: str, reason: str = "", expected: str | None = None
    ) -> RolloutRecord:
        """Give the traffic back to the version that was stable before the present one came, and end
        the canary. Raises ``CONFLICT`` where there is none, or it is not warm any more."""
        target = self.previous(model)
        status = ServingStatus() if target is None else self._serving_status(model, target)
        with self._database.write() as connection:
            if not model_store.lock(connection, model):
                raise model_not_found(model)
            before = store.get(connection, model)
            check_expected(before, expected)
            if store.before_stable(connection, model) != target:
                raise TollwayError(
                    Code.CONFLICT, "the stable version was moved meanwhile; look at it again"
                )
            if target is None:
                raise _nowhere_to_go(before)
            version = callable_version(
                connection, model, target, status, "the version to go back to"
            )
            if status.engines and all(engine.state != "ready" for engine in status.engines):
                raise TollwayError(
                    Code.CONFLICT,
                    f"version {version.number}, the one before, is not warm: nobody called it for "
                    "a while and its engine was let go; call it once by its number, or promote it",
                )
            go_back(connection, model, target, actor=actor, at=self._clock(), reason=reason)
            return store.get(connection, model)


def change(
    connection: Transaction,
    before: RolloutRecord,
    wish: RolloutWish,
    statuses: Statuses,
    *,
    actor: str,
    at: int,
) -> RolloutRecord:
    """Do what :meth:`Rollouts.change` says. ``statuses``: what workers say of the versions named.
    The caller holds the model's lock and has read ``before`` under it."""
    model = before.model
    if wish.stable is not UNSET and wish.stable != before.stable:
        point(
            connection,
            model,
            store.STABLE,
            wish.stable,
            statuses[wish.stable],
            actor=actor,
            at=at,
            force=wish.force,
            reason=wish.reason,
        )
    present = store.get(connection, model)
    canary = _canary(connection, present, wish, statuses, at)
    shadows = _shadows(connection, present, wish, statuses)
    wanted = msgspec.structs.replace(present, canary=canary, shadows=shadows)
    broken = [] if _is_known(before, wanted) else check_canary(connection, wanted, force=wish.force)
    if wanted == present:
        return present
    saved = store.save(connection, wanted, cause="set", actor=actor, reason=wish.reason, at=at)
    record_rollout(connection, present, saved, at_ms=at, reason=wish.reason, forced=broken)
    return saved


def _canary(
    connection: Transaction,
    present: RolloutRecord,
    wish: RolloutWish,
    statuses: Statuses,
    at: int,
) -> CanaryRecord | None:
    wanted, now = wish.canary, present.canary
    if wanted is UNSET or wanted is None:
        return now if wanted is UNSET else None
    if present.stable is None:
        raise TollwayError(
            Code.CONFLICT, "there is no stable version that a canary could run beside: set stable"
        )
    if wanted.version == present.stable:
        raise TollwayError(
            Code.CONFLICT, f"version {wanted.version} is the stable one: it cannot be its canary"
        )
    kept = now if now is not None and now.version == wanted.version else None
    canary = _wanted(kept, wanted, force=wish.force, at=at)
    if kept is None or canary.permille > kept.permille:  # taking from one that fails is fine
        status = statuses[wanted.version]
        version = callable_version(connection, present.model, wanted.version, status, "the canary")
        check_promotion(connection, version, "the canary")
    return canary


def _wanted(kept: CanaryRecord | None, wanted: CanaryWish, *, force: bool, at: int) -> CanaryRecord:
    """The canary that is wished for; ``kept``: the present one, if it is this version."""
    if isinstance(wanted.plan, CanaryPlan):
        return _planned(kept, wanted.version, wanted.plan, force=force, at=at)
    permille = wanted.permille
    if permille is None:
        if kept is None:
            raise TollwayError(Code.INVALID, "canary.percent: say which share the canary gets")
        permille = kept.permille
    if kept is None:
        return CanaryRecord(version=wanted.version, permille=permille, since=at)
    plan = kept.plan if wanted.plan is UNSET else None
    return msgspec.structs.replace(kept, permille=permille, plan=plan)


def _planned(
    kept: CanaryRecord | None, version: int, plan: CanaryPlan, *, force: bool, at: int
) -> CanaryRecord:
    """The canary at the first step of its plan; one that has this plan already goes on with it."""
    plan = msgspec.structs.replace(plan, forced=force, since=at)
    if kept is not None and kept.plan is not None and same_plan(kept.plan, plan):
        return kept
    since = at if kept is None else kept.since
    share = plan.steps[0].permille
    return CanaryRecord(version=version, permille=share, since=since, plan=plan)


def _shadows(
    connection: Transaction, present: RolloutRecord, wish: RolloutWish, statuses: Statuses
) -> tuple[ShadowDoc, ...]:
    if wish.shadows is UNSET:
        return present.shadows
    for shadow in wish.shadows:
        if shadow.version == present.stable:
            raise TollwayError(
                Code.CONFLICT,
                f"version {shadow.version} is the stable one: it cannot be its own shadow",
            )
        if all(shadow.version != known.version for known in present.shadows):
            status = statuses[shadow.version]
            version = callable_version(
                connection, present.model, shadow.version, status, "a shadow"
            )
            if version.manifest.artifact is None:
                raise TollwayError(
                    Code.CONFLICT,
                    f"version {shadow.version} answers from a remote server, and shadows are "
                    "compared by engines: make it a canary instead",
                )
    return wish.shadows


def _is_known(before: RolloutRecord, wanted: RolloutRecord) -> bool:
    """Whether the canary was judged already: it breaks callers from its first share on, or when
    stable moves beside it, and not by taking more."""
    had, has = before.canary, wanted.canary
    if had is None or has is None or before.stable != wanted.stable:
        return False
    return had.version == has.version and had.permille > 0


def _nowhere_to_go(present: RolloutRecord) -> TollwayError:
    why = (
        "no version is stable"
        if present.stable is None
        else f"version {present.stable} is the first that was stable"
    )
    more = "" if present.canary is None else "; to end the canary, set canary to null"
    return TollwayError(
        Code.CONFLICT, f"model {present.model!r} has no version to go back to: {why}{more}"
    )


def check_expected(present: RolloutRecord, expected: str | None) -> None:
    """Raise ``PRECONDITION_FAILED`` unless the condition holds. Under the model's lock."""
    if not holds(expected, rollout_etag(present)):
        raise TollwayError(
            Code.PRECONDITION_FAILED,
            f"the rollout of model {present.model!r} is not what the request expects; read it "
            "again",
        )
