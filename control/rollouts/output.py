"""A guarded canary as the API gives it."""

from control.rollouts.evidence import verdict
from control.rollouts.operations import Canaries
from control.rollouts.progress import Tally
from control.store.canary_runs import DecisionRecord, Run
from registry.canary_bodies import (
    PERMILLE,
    CanaryDecisionOutput,
    CanaryTraceOutput,
    CountsOutput,
    GuardedCanaryOutput,
    GuardedOf,
    GuardInput,
    TestOutput,
    TracePointOutput,
    steps_of,
)
from registry.clock import rfc3339


def guarded_by(canaries: Canaries) -> GuardedOf:
    """How the registry learns of guarded canaries."""

    def guarded(model: str) -> GuardedCanaryOutput | None:
        run = canaries.newest(model)
        return None if run is None else output_of(run)

    return guarded


def output_of(run: Run) -> GuardedCanaryOutput:
    """The run with its evidence, as far as it has been looked at."""
    progress, found = run.progress, verdict(run.progress, run.plan)
    taken = progress.taken
    return GuardedCanaryOutput(
        version=run.version,
        stable=run.stable,
        state=run.state,
        reason=run.reason,
        step=progress.step + 1,
        steps=steps_of(run.plan),
        percent=run.permille / PERMILLE,
        promote=run.plan.promote,
        began_at=rfc3339(run.began_ms),
        step_began_at=rfc3339(progress.step_began),
        step_requests=taken.canary.requests - progress.step_from,
        step_watched_s=progress.watched_ms // 1000,
        ended_at=None if run.ended_ms is None else rfc3339(run.ended_ms),
        canary=_counts(taken.canary),
        stable_counts=_counts(taken.stable),
        compared=int(taken.compared.requests),
        guard=GuardInput.of(run.plan.guard),
        e_value=found.e_value,
        threshold=found.threshold,
        tests=[TestOutput.model_validate(test, from_attributes=True) for test in found.tests],
    )


def trace_of(run: Run) -> CanaryTraceOutput:
    """How its evidence came about."""
    found = verdict(run.progress, run.plan)
    return CanaryTraceOutput(
        version=run.version,
        state=run.state,
        threshold=found.threshold,
        tests=[test.test for test in found.tests],
        points=[
            TracePointOutput(
                requests=point.requests,
                step=point.step + 1,
                e_value=point.e_value,
                e_values=list(point.e_values),
            )
            for point in run.progress.trace
        ],
    )


def decision_of(record: DecisionRecord) -> CanaryDecisionOutput:
    """A decision that was kept."""
    return CanaryDecisionOutput(
        version=record.version,
        action=record.action,
        percent=record.permille / PERMILLE,
        actor=record.actor,
        reason=record.reason,
        at=rfc3339(record.at_ms),
        evidence=record.evidence,
    )


def _counts(tally: Tally) -> CountsOutput:
    return CountsOutput(requests=tally.requests, errors=tally.errors)
