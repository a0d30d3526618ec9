"""From the forms of a rollout's page to what the API takes. Fields are named as the API names them,
so that what it refuses shows beside its field."""

from typing import Final

from control.portal.forms import Form
from registry.canary_bodies import GuardInput
from registry.canary_plan import DEFAULT_STEPS
from registry.rollout_bodies import RolloutOutput

MAX_STEPS: Final = 20
LIMITS: Final = (
    "max_error_rate_increase",
    "p99_ratio",
    "max_p99_ms",
    "max_disagreement",
    "max_score_shift",
)
"""Fields of the guard that may be left empty: not watched then."""
OTHERS: Final = ("alpha", "score_scale", "min_requests")
_STEP: Final = ("percent", "min_duration_s", "min_requests")
Values = dict[str, object]


def share_body(form: Form) -> dict[str, object]:
    """A canary whose share is set by hand."""
    canary = {"version": form.number("canary.version"), "percent": form.number("canary.percent")}
    return {"canary": canary, **why(form)}


def guarded_body(form: Form) -> dict[str, object]:
    """A guarded canary."""
    guard: dict[str, object] = {name: form.number(f"canary.guard.{name}") for name in LIMITS}
    for name in OTHERS:
        if (value := form.number(f"canary.guard.{name}")) is not None:
            guard[name] = value
    canary = {
        "version": form.number("canary.version"),
        "steps": steps_of(form),
        "guard": guard,
        "promote": form.flag("canary.promote"),
    }
    return {"canary": canary, **why(form)}


def compares(form: Form) -> bool:
    """Whether the guard needs the canary's answers beside stable's to the same requests."""
    names = ("max_disagreement", "max_score_shift")
    return any(form.text(f"canary.guard.{name}") for name in names)


def stable_body(form: Form) -> dict[str, object]:
    """Another stable version."""
    return {"stable": form.number("stable"), **why(form)}


LABELS: Final = {"stable": "Stable", "canary": "Canary", "shadow": "Shadows"}


def texts(rollout: RolloutOutput) -> dict[str, str]:
    """A rollout in words, as one is held against another."""
    canary = rollout.canary
    return {
        "stable": "none" if rollout.stable is None else f"version {rollout.stable}",
        "canary": "none"
        if canary is None
        else f"version {canary.version} at {canary.percent:g} %"
        + (", guarded" if canary.guard is not None else ""),
        "shadow": ", ".join(f"version {one.version} at {one.percent:g} %" for one in rollout.shadow)
        or "none",
    }


def typed(form: Form) -> dict[str, str]:
    """The same of what a form asks for; what it does not ask for is left out."""
    if form.text("stable"):
        return {"stable": f"version {form.text('stable')}"}
    if version := form.text("canary.version"):
        percent = form.text("canary.percent")
        return {"canary": f"version {version}" + (f" at {percent} %" if percent else ", guarded")}
    if version := form.text("version"):
        return {"shadow": f"version {version} at {form.text('percent') or '100'} %"}
    return {}


def why(form: Form) -> dict[str, object]:
    """The reason, and whether callers may be broken."""
    return {"reason": form.text("reason"), "force": form.flag("force")}


def steps_of(form: Form) -> list[dict[str, int | float | str]]:
    """The rows of steps that have a share."""
    found = []
    for index in range(MAX_STEPS):
        given = {name: form.number(f"canary.steps.{index}.{name}") for name in _STEP}
        if given["percent"] is not None:
            found.append({name: value for name, value in given.items() if value is not None})
    return found


def default_values() -> Values:
    """What the form of a guarded canary begins with."""
    guard = GuardInput().model_dump()
    return {
        "steps": [
            {
                "percent": f"{step.permille / 10:g}",
                "min_duration_s": step.min_duration_s,
                "min_requests": step.min_requests,
            }
            for step in DEFAULT_STEPS
        ],
        "guard": {name: _written(guard[name]) for name in (*LIMITS, *OTHERS)},
        "promote": True,
    }


def given_values(form: Form) -> Values:
    """What a refused form of a guarded canary is shown again with."""
    return {
        "steps": [{name: row.get(name) for name in _STEP} for row in steps_of(form)],
        "guard": {name: form.text(f"canary.guard.{name}") for name in (*LIMITS, *OTHERS)},
        "promote": form.flag("canary.promote"),
    }


def _written(value: float | None) -> str:
    return "" if value is None else f"{value:g}"
