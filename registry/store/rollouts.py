"""SQL of rollouts: the canary and the shadows beside the stable version, and their history."""

from typing import Literal, cast

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protocol.configuration import ShadowDoc
from registry.canary_plan import CanaryPlan
from registry.store import aliases, models, versions
from registry.store.pages import from_there
from registry.store.rollout_tables import rollout_history, rollouts

STABLE = "stable"
Cause = Literal["set", "rollback"]
"""Why a rollout changed: somebody said so, or went back to the version before."""


class CanaryRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A version that answers a share of the applications. Kept as JSON: a new field needs a
    default, and no migration."""

    version: int
    permille: int
    since: int
    """UNIX milliseconds at which this version became the canary."""
    plan: CanaryPlan | None = None
    """How its share grows, and its guard; None: somebody sets it by hand."""


class RolloutRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How a model's traffic is answered. ``revision`` grows with every change; 0: none yet."""

    model: str
    stable: int | None = None
    canary: CanaryRecord | None = None
    shadows: tuple[ShadowDoc, ...] = ()
    revision: int = 0


class RolloutChange(msgspec.Struct, frozen=True, kw_only=True):
    """The rollout as one change left it."""

    id: int
    stable: int | None
    canary: CanaryRecord | None
    shadows: tuple[ShadowDoc, ...]
    cause: Cause
    actor: str
    reason: str
    at: int


def before_stable(connection: Connection, model: str) -> int | None:
    """The last version that was stable before the present one and may still be called, or None."""
    gone = versions.gone(connection, model)
    return aliases.before_present(connection, model, STABLE, gone)


def get(connection: Connection, model: str) -> RolloutRecord:
    """The model's rollout; empty where nothing was ever set."""
    stable = aliases.get(connection, model, STABLE)
    number = None if stable is None else stable.version
    row = connection.execute(sa.select(rollouts).where(rollouts.c.model == model)).first()
    if row is None:
        return RolloutRecord(model=model, stable=number)
    return RolloutRecord(
        model=model,
        stable=number,
        canary=_canary(row.canary),
        shadows=_shadows(row.shadows),
        revision=row.revision,
    )


def with_canary(connection: Connection) -> list[RolloutRecord]:
    """Every rollout that has a canary, by model."""
    query = sa.select(rollouts.c.model).where(rollouts.c.canary.is_not(None))
    names = connection.execute(query.order_by(rollouts.c.model)).scalars().all()
    return [get(connection, name) for name in names]


def save(
    connection: Connection, record: RolloutRecord, *, cause: Cause, actor: str, reason: str, at: int
) -> RolloutRecord:
    """Write canary and shadows, the history, and announce. Returns it with its new revision.

    ``record.stable`` is where the alias points already. The caller holds the model's lock.
    """
    canary = None if record.canary is None else msgspec.json.encode(record.canary).decode()
    shadows = msgspec.json.encode(record.shadows).decode()
    row = {
        "model": record.model,
        "stable": record.stable,
        "canary": canary,
        "shadows": shadows,
        "cause": cause,
        "actor": actor,
        "reason": reason,
        "at": at,
    }
    inserted = sa.insert(rollout_history).values(row).returning(rollout_history.c.id)
    revision = int(connection.execute(inserted).scalar_one())
    now = {"canary": canary, "shadows": shadows, "revision": revision, "updated_at": at}
    this = rollouts.c.model == record.model
    if not connection.execute(sa.update(rollouts).where(this).values(now)).rowcount:
        connection.execute(sa.insert(rollouts).values(model=record.model, **now))
    models.announce(connection, record.model)
    return msgspec.structs.replace(record, revision=revision)


def history(
    connection: Connection, model: str, after: int, limit: int, *, newest: bool = False
) -> list[RolloutChange]:
    """At most ``limit`` changes, oldest first, or with ``newest`` newest first, from the one
    following ``after`` (0: from the beginning)."""
    query = sa.select(rollout_history).where(rollout_history.c.model == model)
    query = from_there(query, rollout_history.c.id, after, newest=newest).limit(limit)
    return [
        RolloutChange(
            id=row.id,
            stable=row.stable,
            canary=_canary(row.canary),
            shadows=_shadows(row.shadows),
            cause=cast("Cause", row.cause),
            actor=row.actor,
            reason=row.reason,
            at=row.at,
        )
        for row in connection.execute(query)
    ]


def uses_of(connection: Connection, model: str, version: int) -> list[str]:
    """What the version is to the model's rollout, beside its aliases: ``the canary``,
    ``a shadow``."""
    record = get(connection, model)
    found = []
    if record.canary is not None and record.canary.version == version:
        found.append("the canary")
    if any(shadow.version == version for shadow in record.shadows):
        found.append("a shadow")
    return found


def _canary(text: str | None) -> CanaryRecord | None:
    return None if text is None else msgspec.json.decode(text, type=CanaryRecord)


def _shadows(text: str) -> tuple[ShadowDoc, ...]:
    return msgspec.json.decode(text, type=tuple[ShadowDoc, ...])
