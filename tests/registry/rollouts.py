"""Three versions of a model and its rollout, for tests."""

from typing import Any

import msgspec

from protocol.configuration import ModelDoc
from registry.rollouts import CanaryWish, RolloutWish
from registry.store import changes
from registry.store.rollouts import RolloutRecord
from tests.registry.conftest import Bench


def three(bench: Bench) -> Bench:
    for _ in range(3):
        bench.to_state(bench.publish(), "published")
    put(bench, stable=1)
    return bench


def put(bench: Bench, *, expected: str | None = None, **wish: Any) -> RolloutRecord:
    asked = RolloutWish(**wish)
    return bench.registry.rollouts.change("credit", asked, actor="ann", expected=expected)


def canary(version: int, permille: int | None = None) -> CanaryWish:
    return CanaryWish(version=version, permille=permille)


def announced(bench: Bench) -> ModelDoc:
    with bench.registry.database.read() as connection:
        page = changes.read(connection, "", 0)
    newest = [change for change in page.changes if change.kind == "model"][-1]
    assert newest.doc is not None
    return msgspec.json.decode(newest.doc, type=ModelDoc)


def audited(bench: Bench) -> list[dict[str, Any]]:
    with bench.registry.database.read() as connection:
        rows = connection.exec_driver_sql(
            "SELECT kind, action, reason, before, after FROM audit ORDER BY seq"
        ).all()
    return [
        {
            "kind": row.kind,
            "action": row.action,
            "reason": row.reason,
            "before": msgspec.json.decode(row.before) if row.before else None,
            "after": msgspec.json.decode(row.after) if row.after else None,
        }
        for row in rows
    ]
