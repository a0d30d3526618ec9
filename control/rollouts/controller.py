"""Looks at every guarded canary, every second or two, and does what the evidence says.

All that it knows is in the database, read again in each transaction: two controls may look at once,
and one that is killed between two writes repeats nothing and loses nothing.
"""

from typing import Final

import msgspec

from control import histogram
from control.rollouts.comparisons import Comparisons, nothing_compared
from control.rollouts.decide import Decision, decide
from control.rollouts.evidence import Verdict, take, verdict
from control.rollouts.progress import RunState, Seen
from control.rollouts.trace import traced
from control.rollouts.turn import Turn, refusal
from control.store import canary_counts
from control.store import canary_runs as store
from control.store.canary_runs import Run
from control.store.failures import repeated
from control.usage import MINUTE_MS
from protocol.errors import TollwayError
from registry.acting import SYSTEM
from registry.clock import Clock
from registry.status import ServingStatusOf
from registry.store import models as model_store
from registry.store import rollouts as rollout_store
from registry.store.database import Database, Transaction
from registry.store.rollouts import RolloutRecord

UNWATCHED_MS: Final = 10_000
"""More than this between two looks was not watched: control was away, or its clock was set."""
IDLE_MS: Final = 2_000
"""How often a canary is looked at of which nothing new was counted."""
P99: Final = 0.99
P99_WINDOW_MIN: Final = 60
P99_REQUESTS: Final = 200
"""Answers of stable, in that window, from which its 99th percentile is taken."""
ALERT_MS: Final = 7 * 24 * 3600 * 1000
"""How long an alert stands that nobody has ended by a new canary."""


class Controller:
    """Takes the decisions. Thread-safe; calls block."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        serving_status: ServingStatusOf,
        comparisons: Comparisons = nothing_compared,
    ) -> None:
        """``serving_status``: what workers report of a version."""
        self._database = database
        self._clock = clock
        self._serving_status = serving_status
        self._comparisons = comparisons

    def run(self) -> list[str]:
        """Look at everything once. Returns what was decided, in words.

        A model whose look fails does not keep the others waiting: the first failure is raised when
        all are done.
        """
        done: list[str] = []
        failures: list[Exception] = []
        for model in self._due():
            try:
                done += self.look(model)
            except Exception as error:  # raised below
                failures.append(error)
        if failures:
            raise failures[0]
        return done

    @repeated
    def look(self, model: str) -> list[str]:
        """Look at one model's canary. Returns what was decided, in words."""
        with self._database.read() as connection:
            canary = rollout_store.get(connection, model).canary
        # What workers say is asked outside of the transaction.
        statuses = (
            {} if canary is None else {canary.version: self._serving_status(model, canary.version)}
        )
        with self._database.write() as connection:
            model_store.lock(connection, model)
            turn = Turn(connection, model, statuses, actor=SYSTEM, at=self._clock())
            run = store.active(connection, model)
            if run is not None and not runs(turn.rollout, run):
                self._ended_outside(turn, run)
                run = None
            if run is None:
                run = _begun(turn)
            if run is None:
                old = store.newest(connection, model)
                if old is not None and old.alerting and _old(old, turn.at):
                    turn.end_alert(old)
                return []
            return self._decide(turn, self._observed(turn, run), run)

    def _due(self) -> list[str]:
        """Models with something to look at."""
        now = self._clock()
        with self._database.read() as connection:
            active = {run.model: run for run in store.all_active(connection)}
            rollouts = {found.model: found for found in rollout_store.with_canary(connection)}
            due = {run.model for run in store.all_alerting(connection) if _old(run, now)}
            due |= active.keys() - rollouts.keys()
            for model, rollout in rollouts.items():
                run = active.get(model)
                if run is None:
                    planned = rollout.canary is not None and rollout.canary.plan is not None
                    due |= {model} if planned else set()
                    continue
                moved = not runs(rollout, run) or rollout.stable != run.stable
                if moved or self._news(connection, run, now):
                    due.add(model)
        return sorted(due)

    def _news(self, connection: Transaction, run: Run, now: int) -> bool:
        """Whether something was counted since the last look, or that was a while ago."""
        waited = now - run.progress.looked
        return self._seen(connection, run) != run.progress.taken or not 0 <= waited < IDLE_MS

    def _seen(self, connection: Transaction, run: Run) -> Seen:
        canary, stable = canary_counts.read(connection, run.id)
        compared = run.progress.taken.compared
        if run.plan.guard.compares:
            compared = self._comparisons(run.model, run.version, run.stable, run.began_ms)
        return Seen(canary=canary, stable=stable, compared=compared)

    def _observed(self, turn: Turn, run: Run) -> Run:
        """The run with everything that was counted, and the time that was watched."""
        now, progress = turn.at, run.progress
        waited = now - progress.looked
        if 0 < waited <= UNWATCHED_MS:
            progress = msgspec.structs.replace(progress, watched_ms=progress.watched_ms + waited)
        progress = msgspec.structs.replace(progress, looked=now)
        run = msgspec.structs.replace(run, progress=progress)
        stable = turn.rollout.stable
        if stable is not None and stable != run.stable:
            run = msgspec.structs.replace(run, stable=stable)
            seen = self._seen(turn.connection, run)
            taken = msgspec.structs.replace(progress.taken, compared=seen.compared)
            progress = msgspec.structs.replace(progress, taken=taken)
        progress = take(progress, run.plan, self._seen(turn.connection, run))
        limit = run.over_p99_us
        if limit is None and run.plan.guard.p99_ratio is not None:
            limit = _slow_from(turn.connection, run, run.plan.guard.p99_ratio, now)
        return msgspec.structs.replace(run, progress=progress, over_p99_us=limit)

    def _decide(self, turn: Turn, run: Run, before: Run) -> list[str]:
        found = verdict(run.progress, run.plan)
        run = msgspec.structs.replace(run, progress=traced(run.progress, found))
        decision = decide(run.state, run.progress, run.plan, found, turn.serving(run.version))
        if run.stable != before.stable and decision.action == "hold":
            reason = f"stable is version {run.stable} now: compared with that from here on"
            decision = Decision(action="hold", code=f"stable_{run.stable}", reason=reason)
        try:
            acted = self._act(turn, run, before, decision, found)
        except TollwayError as error:
            decision = Decision(action="hold", code="refused", reason=refusal(error))
            acted = self._act(turn, run, before, decision, found)
        return [f"{run.model}/{run.version}: {decision.action}: {decision.reason}"] if acted else []

    def _act(self, turn: Turn, run: Run, before: Run, decision: Decision, found: Verdict) -> bool:
        """Do it. Returns whether it is worth telling. Raises ``TollwayError`` where the rollout
        cannot be changed so; nothing is done then."""
        match decision.action:
            case "advance":
                turn.advance(run, found, decision.reason)
            case "roll_back":
                turn.take_back(run, "rolled_back", "rolled_back", found, decision.reason)
            case "promote":
                turn.promote(run, found, decision.reason)
            case "complete":
                progress = msgspec.structs.replace(run.progress, waits="completed")
                done = msgspec.structs.replace(run, state="completed", progress=progress)
                turn.note(before, done, "completed", found, decision.reason)
            case "hold":
                if run.progress.waits == decision.code:
                    turn.keep(msgspec.structs.replace(run, reason=decision.reason))
                    return False
                progress = msgspec.structs.replace(run.progress, waits=decision.code)
                held = msgspec.structs.replace(run, progress=progress)
                turn.note(before, held, "held", found, decision.reason)
        return True

    def _ended_outside(self, turn: Turn, run: Run) -> None:
        """Somebody changed the rollout by hand: the run is over, and what was counted is kept."""
        run = self._observed(turn, run)
        by_hand = turn.rollout.stable == run.version
        state: RunState = "promoted" if by_hand else "ended"
        reason = "promoted by hand" if by_hand else "the canary was ended, or set anew"
        turn.close(run, state, state, verdict(run.progress, run.plan), reason)


def runs(rollout: RolloutRecord, run: Run) -> bool:
    """Whether the rollout still is what the run is about."""
    canary = rollout.canary
    return (
        canary is not None
        and canary.version == run.version
        and canary.plan is not None
        and canary.plan.since == run.plan.since
    )


def _begun(turn: Turn) -> Run | None:
    """A run for the canary that has a plan; None where there is none."""
    canary, stable = turn.rollout.canary, turn.rollout.stable
    if canary is None or canary.plan is None or stable is None:
        return None
    return turn.begin(canary.version, stable, canary.plan)


def _slow_from(connection: Transaction, run: Run, ratio: float, now: int) -> int | None:
    """Microseconds above which answers count as slow; None while too little is known of stable."""
    since = now // MINUTE_MS - P99_WINDOW_MIN
    times = store.latency(connection, run.model, run.stable, since)
    if sum(times.values()) < P99_REQUESTS:
        return None
    p99 = histogram.quantile(times, P99)
    return None if p99 is None else round(p99 * ratio)


def _old(run: Run, now: int) -> bool:
    return run.ended_ms is not None and now - run.ended_ms > ALERT_MS
