"""What the audit log keeps of changes of a rollout."""

import msgspec

from registry.store import audit
from registry.store.database import Transaction
from registry.store.rollouts import RolloutRecord


def record_rollout(
    connection: Transaction,
    before: RolloutRecord,
    after: RolloutRecord,
    *,
    at_ms: int,
    reason: str = "",
    rollback: bool = False,
    forced: list[str] | None = None,
) -> None:
    """Add an entry if anything beside the stable version has changed, or it was rolled back: what
    moves it alone, the entry of its alias tells. ``forced``: what breaks callers."""
    beside = (before.canary, before.shadows) != (after.canary, after.shadows)
    if not (beside or rollback):
        return
    audit.record(
        connection,
        "rollout.rolled_back" if rollback else "rollout.changed",
        "rollout",
        after.model,
        at_ms=at_ms,
        before=before,
        after=msgspec.structs.asdict(after) | ({"forced": forced} if forced else {}),
        reason=reason,
    )
