"""What is to be done with a guarded canary now. Pure."""

from typing import Final, Literal

import msgspec

from control.rollouts.evidence import Verdict, in_scale
from control.rollouts.progress import Compared, Progress, RunState
from registry.canary_plan import CanaryGuard, CanaryPlan
from registry.status import ServingStatus

Action = Literal["hold", "advance", "roll_back", "promote", "complete"]


READY: Final = ServingStatus(state="ready")


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What to do, and why."""

    action: Action
    code: str
    """Names the reason; a hold is told only when this changes."""
    reason: str


def decide(
    state: RunState,
    progress: Progress,
    plan: CanaryPlan,
    verdict: Verdict,
    serving: ServingStatus = READY,
) -> Decision:
    """Roll back on enough evidence, whatever the state; else advance once the step has been seen
    long enough and nothing speaks against it. ``serving``: what workers say of the canary."""
    answered = progress.taken.canary.requests
    if verdict.harmful:
        if answered >= plan.guard.min_requests:
            return Decision(action="roll_back", code=verdict.worst().test, reason=_harm(verdict))
        return _hold(
            "few_requests",
            f"there is evidence of harm, and {plan.guard.min_requests - answered} requests more "
            "are to be seen before anything is rolled back",
        )
    if state == "paused":
        return _hold("paused", "it is paused; resume it, or advance it by hand")
    if state == "completed":
        return _hold("completed", "the last step is done; promote it, or abort it")
    if serving.state != "ready":
        why = f": {serving.error}" if serving.error else ""
        return _hold(
            "not_ready", f"no engine answers for it; its callers are answered by stable{why}"
        )
    missing = _missing(progress, plan)
    if missing is not None:
        return missing
    if verdict.doubtful:
        worst = verdict.worst()
        return _hold(
            "evidence",
            f"{worst.test}: the evidence of harm is at {verdict.e_value:.3g} of "
            f"{verdict.threshold:.3g}; it advances when that has fallen below "
            f"{verdict.threshold**0.5:.3g}",
        )
    return _onward(progress, plan)


def _missing(progress: Progress, plan: CanaryPlan) -> Decision | None:
    """What the step still has to see."""
    step, answered = plan.steps[progress.step], progress.taken.canary.requests
    seen = answered - progress.step_from
    if seen < step.min_requests:
        if answered == 0:
            return _hold(
                "no_traffic",
                "the canary has answered nobody yet: no application that calls falls into its "
                "share",
            )
        return _hold("requests", f"{step.min_requests - seen} more requests of {step.min_requests}")
    held = _uncompared(progress.taken.compared, plan.guard, step.min_requests)
    if held is not None:
        return held
    left_ms = step.min_duration_s * 1000 - progress.watched_ms
    if left_ms > 0:
        return _hold("duration", f"{-(-left_ms // 1000)} s more of {step.min_duration_s} s")
    return None


def _uncompared(compared: Compared, guard: CanaryGuard, wanted: int) -> Decision | None:
    if not guard.compares:
        return None
    if compared.requests < wanted:
        return _hold(
            "comparisons",
            f"{wanted - compared.requests} more requests of {wanted} to be compared with stable: "
            "is the version a shadow as well?",
        )
    # What was compared need not have what a test looks at: it would see no harm, ever.
    if guard.max_disagreement is not None and compared.labelled_requests < wanted:
        return _hold(
            "classes",
            f"of {compared.requests} requests that were compared, {compared.labelled_requests} had "
            f"classes, and max_disagreement wants {wanted}: for a model without classes set "
            "max_score_shift instead",
        )
    if guard.max_score_shift is None:
        return None
    if compared.measured_requests < wanted:
        return _hold(
            "scores",
            f"of {compared.requests} requests that were compared, {compared.measured_requests} had "
            f"scores, and max_score_shift wants {wanted}: for a model without numeric answers set "
            "max_disagreement instead",
        )
    if not in_scale(compared, guard):
        return _hold(
            "score_scale",
            f"scores differ by up to {compared.largest:.4g}, more than score_scale says "
            f"({guard.score_scale:.4g}): nothing can be told of their shift; set it anew",
        )
    return None


def _onward(progress: Progress, plan: CanaryPlan) -> Decision:
    if progress.step + 1 < len(plan.steps):
        share = plan.steps[progress.step + 1].permille / 10
        return Decision(
            action="advance", code="advance", reason=f"the step is done: to {share:g} %"
        )
    if plan.promote:
        return Decision(action="promote", code="promote", reason="the last step is done")
    return Decision(action="complete", code="complete", reason="the last step is done")


def _hold(code: str, reason: str) -> Decision:
    return Decision(action="hold", code=code, reason=reason)


def _harm(verdict: Verdict) -> str:
    worst = verdict.worst()
    beside = "" if worst.stable is None else f" beside {worst.stable:.4g} of stable"
    return (
        f"{worst.test}: {worst.canary or 0:.4g}{beside}, allowed {worst.allowed:.4g}"
        f" (e-value {verdict.e_value:.4g}, threshold {verdict.threshold:.4g}, "
        f"{worst.requests} requests)"
    )
