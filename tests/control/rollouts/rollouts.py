"""A guarded canary of a registry, with traffic that a test makes up."""

from typing import Any

import msgspec

from control.rollouts.controller import Controller
from control.rollouts.operations import Canaries
from control.rollouts.output import decision_of, output_of
from control.rollouts.progress import Compared
from control.store.usage import UsageStore
from protocol.usage import UsageRecord
from registry.canary_bodies import GuardedCanaryOutput
from registry.rollout_bodies import RolloutInput
from registry.status import ServingStatus
from registry.store import audit
from registry.store.rollouts import RolloutRecord
from tests.registry.conftest import Bench

STEPS = [
    {"percent": 5, "min_duration_s": 60, "min_requests": 100},
    {"percent": 50, "min_duration_s": 60, "min_requests": 100},
]


class Guarded:
    """Versions 1 (stable), 2 (canary) and 3 of the model ``credit``."""

    def __init__(self, bench: Bench, **canary: Any) -> None:
        """``canary``: what of it is not as :data:`STEPS` and the defaults say."""
        self.bench = bench
        self.clock = bench.clock
        self.database = bench.registry.database
        self.compared = Compared()
        self.controller = self.new_controller()
        self.canaries = Canaries(self.database, bench.clock, self.status, self.controller.look)
        self._usage = UsageStore(self.database, bench.clock)
        self._segment = 0
        for _ in range(3):
            bench.to_state(bench.publish(), "published")
        self.put(stable=1)
        self.put(canary={"version": 2, "steps": STEPS} | canary)
        self.look()

    def new_controller(self) -> Controller:
        """A control that knows nothing but the database."""
        return Controller(self.database, self.clock, self.status, lambda *_about: self.compared)

    def status(self, model: str, number: int) -> ServingStatus:
        return self.bench.serving.get((model, number), ServingStatus())

    def put(self, **rollout: Any) -> RolloutRecord:
        """As ``PUT /models/credit/rollout``."""
        wish = RolloutInput(**rollout).wish()
        return self.bench.registry.rollouts.change("credit", wish, actor="ann")

    @property
    def rollout(self) -> RolloutRecord:
        return self.bench.registry.rollouts.get("credit")

    @property
    def state(self) -> GuardedCanaryOutput:
        run = self.canaries.newest("credit")
        assert run is not None
        return output_of(run)

    @property
    def decisions(self) -> list[Any]:
        return [decision_of(record) for record in self.canaries.decisions("credit", 0, 1000)]

    @property
    def actions(self) -> list[str]:
        return [decision.action for decision in self.decisions]

    def audited(self, kind: str) -> list[Any]:
        """Audit entries of a kind, oldest first."""
        with self.database.read() as connection:
            rows = connection.execute(audit.audit.select().order_by(audit.audit.c.seq)).all()
        return [row for row in rows if row.kind == kind]

    def look(self) -> list[str]:
        return self.controller.run()

    def traffic(
        self,
        canary: int,
        stable: int,
        *,
        canary_errors: int = 0,
        stable_errors: int = 0,
        status: int = 500,
        us: int = 1000,
        canary_us: int | None = None,
    ) -> None:
        """Answers of both versions, ingested at once."""
        slow = canary_us or us
        self.ingest(
            [self.record(2, "canary", status, slow)] * canary_errors
            + [self.record(2, "canary", 200, slow)] * (canary - canary_errors)
            + [self.record(1, "stable", status, us)] * stable_errors
            + [self.record(1, "stable", 200, us)] * (stable - stable_errors)
        )

    def ingest(self, records: list[UsageRecord], *, again: bool = False) -> None:
        self._segment += not again
        body = b"".join(msgspec.json.encode(record) + b"\n" for record in records)
        self._usage.ingest("gw", f"s{self._segment}", 0, body)

    def record(self, version: int, variant: str, status: int = 200, us: int = 1000) -> UsageRecord:
        return UsageRecord(
            self.clock(), "shop", "key-1", "credit", version, variant, status,
            1, 10, 100, us, 300, 50, "p",
        )  # fmt: skip

    def pass_time(self, seconds: int) -> None:
        """Let time go by as it does while control watches."""
        for _ in range(seconds // 5):
            self.clock.advance(5)
            self.look()


def told(guarded: Guarded) -> list[str]:
    """What is recorded of it, but for that it is held."""
    return [action for action in guarded.actions if action != "held"]
