"""A run with its numbers, as the audit log, events and the API show it."""

import msgspec

from control.rollouts.evidence import Verdict
from control.rollouts.progress import Tally
from control.store.canary_runs import Run


def shown(run: Run, verdict: Verdict | None) -> dict[str, object]:
    """The run's standing: where it is, what was counted, and the e-values against thresholds."""
    taken = run.progress.taken
    found: dict[str, object] = {
        "model": run.model,
        "version": run.version,
        "stable": run.stable,
        "state": run.state,
        "step": run.progress.step + 1,
        "percent": run.permille / 10,
        "counts": {
            "canary": _counts(taken.canary),
            "stable": _counts(taken.stable),
            "compared": int(taken.compared.requests),
        },
    }
    if verdict is not None:
        found |= {
            "alpha": run.plan.guard.alpha,
            "e_value": verdict.e_value,
            "threshold": verdict.threshold,
            "tests": msgspec.to_builtins(verdict.tests),
        }
    return found


def _counts(tally: Tally) -> dict[str, int]:
    return {"requests": tally.requests, "errors": tally.errors}
