"""The form of an evaluation: what the API gets of it, and where what is refused is said. Pure."""

from typing import Final

import msgspec

from control.evaluations.resources import EvaluationRun
from control.portal.api import ApiRefusal
from control.portal.directions import isolated
from control.portal.forms import Form
from protocol.errors import Code, TollwayError
from protocol.problems import FieldError, of_error
from registry.approval_bodies import GateOutput
from registry.outputs import VersionOutput
from registry.rollout_bodies import RolloutOutput

FIELDS: Final = ("rows", "target", "rows_name", "segments")
DEFAULT_ROWS_NAME: Final = "holdout"
_BESIDE: Final = {"upload": "rows", "metrics": "target"}
"""What the form shows beside another of its fields."""

Values = dict[str, str]


def blank() -> Values:
    """What the form holds at first."""
    return {"rows_name": DEFAULT_ROWS_NAME, "importance": "on", "latency": "on"}


def evaluation_body(form: Form, upload: str) -> dict[str, object]:
    """What the API takes."""
    lines = form.raw("segments").splitlines()  # commas may be in a value: they part nothing
    return {
        "upload": upload,
        "target": form.text("target"),
        "rows_name": form.text("rows_name"),
        "segments": [line.strip() for line in lines if line.strip()],
        "importance": form.flag("importance"),
        "latency": form.flag("latency"),
    }


def values_of(run: EvaluationRun) -> Values:
    """The form of an evaluation that was begun: all but its rows, which are gone."""
    return {
        "target": run.target,
        "rows_name": run.rows_name,
        "segments": "\n".join(run.segments),
        "importance": "on" if run.importance else "",
        "latency": "on" if run.latency else "",
    }


def placed(refusal: ApiRefusal) -> ApiRefusal:
    """What the API refused, beside the fields of the form."""
    return refusal.beside(**_BESIDE)


def approval_lost(version: VersionOutput, gate: GateOutput, rollout: RolloutOutput) -> str:
    """What new evidence does to the approval that the version has; empty: it has none to lose."""
    if gate.approval.state != "given":
        return ""
    by, number = isolated(gate.approval.sponsor or "the sponsor"), version.number
    said = f"{by} has approved this version on the evidence that is there. With one evaluation more"
    said += " the approval is void until they decide again."
    canary = rollout.canary
    if rollout.stable == number:
        return f"{said} The version stays stable meanwhile."
    if canary is not None and canary.version == number:
        return (
            f"{said} It is the canary: it keeps its {canary.percent:g} % of the calls meanwhile, "
            "and neither gets more nor becomes stable, by itself or by hand."
        )
    if version.state in ("published", "deprecated"):
        return f"{said} It answers who names it meanwhile, and cannot become canary or stable."
    return f"{said} Its next step waits for that."


def without_rows() -> ApiRefusal:
    """The refusal of a form that brings none."""
    return _about("rows", "choose a CSV file, or paste its lines")


def refusal_of(run: EvaluationRun) -> ApiRefusal | None:
    """Why an evaluation failed, as a refusal of its form; None where it did not."""
    if run.failure is None:
        return None
    about = run.failure.about
    return _about(_BESIDE.get(about, about), run.failure.detail)


def _about(field: str, detail: str) -> ApiRefusal:
    problem = of_error(TollwayError(Code.INVALID, detail))
    if field:
        problem = msgspec.structs.replace(problem, errors=(FieldError(field, detail),))
    return ApiRefusal(problem)
