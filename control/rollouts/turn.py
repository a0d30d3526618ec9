"""One transaction about one model's canary: what is decided in it commits whole, with the change,
the audit entry and the alert, or not at all."""

import msgspec

from control.rollouts.evidence import Verdict
from control.rollouts.progress import Progress, RunState
from control.rollouts.shown import shown
from control.store import canary_counts
from control.store import canary_runs as store
from control.store.alerts import record_alert
from control.store.canary_runs import Run
from protocol.errors import TollwayError
from registry.canary_plan import CanaryPlan
from registry.rollouts import CanaryWish, RolloutWish, Statuses, change
from registry.status import ServingStatus
from registry.store import audit
from registry.store import rollouts as rollout_store
from registry.store.database import Transaction
from registry.store.rollouts import RolloutRecord

MICROSECONDS = 1000
"""In a millisecond."""


class Turn:
    """What can be done with a canary within a transaction that holds its model's lock."""

    def __init__(
        self, connection: Transaction, model: str, statuses: Statuses, *, actor: str, at: int
    ) -> None:
        """``statuses``: what workers say of the canary. ``at``: now."""
        self.connection = connection
        self._statuses = statuses
        self._actor = actor
        self.at = at
        self.model = model
        self.rollout: RolloutRecord = rollout_store.get(connection, model)

    def serving(self, version: int) -> ServingStatus:
        """What workers say of the canary."""
        return self._statuses.get(version, ServingStatus())

    def begin(self, version: int, stable: int, plan: CanaryPlan) -> Run:
        """Begin a run. An alert about the model's canary before it ends."""
        earlier = store.newest(self.connection, self.model)
        if earlier is not None and earlier.alerting:
            self.end_alert(earlier)
        limit_ms = plan.guard.max_p99_ms
        run = store.insert(
            self.connection,
            model=self.model,
            version=version,
            stable=stable,
            plan=plan,
            progress=Progress(step_began=self.at, looked=self.at),
            over_limit_us=None if limit_ms is None else round(limit_ms * MICROSECONDS),
            at=self.at,
        )
        canary_counts.begin(self.connection, run.id)
        self._record("started", None, run, None, "")
        return run

    def keep(self, run: Run) -> None:
        """Write what was seen, where nothing is decided."""
        store.save(self.connection, run)

    def note(self, before: Run, after: Run, action: str, verdict: Verdict, reason: str) -> Run:
        """Keep a decision that leaves the traffic as it is."""
        after = msgspec.structs.replace(after, reason=reason)
        store.save(self.connection, after)
        self._record(action, before, after, verdict, reason)
        return after

    def advance(self, run: Run, verdict: Verdict, reason: str) -> Run:
        """Go to the next step. Raises what the rollout's change raises; nothing is done then."""
        following = run.progress.step + 1
        progress = msgspec.structs.replace(
            run.progress,
            step=following,
            step_began=self.at,
            step_from=run.progress.taken.canary.requests,
            watched_ms=0,
            waits="",
        )
        # A limit on slow answers is taken anew for each step: from what was seen before it.
        after = msgspec.structs.replace(run, progress=progress, reason=reason, over_p99_us=None)
        share = run.plan.steps[following].permille
        self._change(CanaryWish(version=run.version, permille=share), reason)
        store.save(self.connection, after)
        self._record("advanced", run, after, verdict, reason)
        return after

    def promote(self, run: Run, verdict: Verdict, reason: str) -> Run:
        """Make the canary the stable version. Raises as :meth:`advance` does."""
        wish = RolloutWish(stable=run.version, force=run.plan.forced, reason=reason)
        with self.connection.begin_nested():
            change(
                self.connection,
                self.rollout,
                wish,
                self._statuses,
                actor=self._actor,
                at=self.at,
            )
        return self.close(run, "promoted", "promoted", verdict, reason)

    def take_back(
        self, run: Run, state: RunState, action: str, verdict: Verdict | None, reason: str
    ) -> Run:
        """End the canary: all of its traffic is stable's again."""
        self._change(None, reason)
        return self.close(run, state, action, verdict, reason)

    def close(
        self, run: Run, state: RunState, action: str, verdict: Verdict | None, reason: str
    ) -> Run:
        """End the run; the traffic is as it should be."""
        alerting = state == "rolled_back"
        after = msgspec.structs.replace(
            run, state=state, reason=reason, ended_ms=self.at, alerting=alerting
        )
        store.save(self.connection, after)
        self._record(action, run, after, verdict, reason)
        if alerting:
            record_alert(self.connection, after, raised=True, at_ms=self.at)
        return after

    def end_alert(self, run: Run) -> None:
        """Somebody has seen what the alert is about, or it is old."""
        store.save(self.connection, msgspec.structs.replace(run, alerting=False))
        record_alert(self.connection, run, raised=False, at_ms=self.at)

    def _change(self, canary: CanaryWish | None, reason: str) -> None:
        wish = RolloutWish(canary=canary, reason=reason)
        # Within a savepoint: a refusal half-way leaves nothing behind, and can be told.
        with self.connection.begin_nested():
            self.rollout = change(
                self.connection,
                self.rollout,
                wish,
                self._statuses,
                actor=self._actor,
                at=self.at,
            )

    def _record(
        self, action: str, before: Run | None, after: Run, verdict: Verdict | None, reason: str
    ) -> None:
        state = shown(after, verdict)
        store.add_decision(
            self.connection,
            after,
            action,
            actor=self._actor,
            reason=reason,
            evidence=state,
            at=self.at,
        )
        audit.record(
            self.connection,
            f"canary.{action}",
            "canary",
            f"{after.model}/{after.version}",
            at_ms=self.at,
            before=None if before is None else shown(before, None),
            after=state,
            reason=reason,
        )


def refusal(error: TollwayError) -> str:
    """Why a change was refused, as a reason to wait."""
    return f"refused: {error.public}"
