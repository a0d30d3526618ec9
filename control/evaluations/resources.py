"""What the management API takes and gives about evaluations that control runs."""

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from control.resources import Resource, no_nul

MAX_SEGMENTS: Final = 100
MAX_SEGMENT: Final = 500
"""Characters, as the language of conditions has it."""

State = Literal["running", "kept", "failed", "cancelled"]
About = Literal["", "rows", "target", "segments", "metrics"]
Text = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(no_nul)]
Segment = Annotated[str, Field(min_length=1, max_length=MAX_SEGMENT), AfterValidator(no_nul)]


class EvaluationInput(BaseModel):
    """An evaluation that is to be run. Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    upload: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    """Id of a whole upload (`POST /blobs/uploads` with `fresh`) of a CSV file: UTF-8, names of the
    columns in the first line. It is taken: nothing of it is kept."""
    target: Text
    """The column that holds the truth."""
    rows_name: Annotated[str, Field(min_length=1, max_length=100), AfterValidator(no_nul)] = (
        "holdout"
    )
    """What criteria call these rows."""
    segments: Annotated[tuple[Segment, ...], Field(max_length=MAX_SEGMENTS)] = ()
    """Conditions (`age<30`), or columns, whose values are segments."""
    importance: bool = True
    """Whether columns are shuffled to see which count."""
    latency: bool = True
    """Whether requests of one row are timed."""


class EvaluationFailure(Resource):
    """Why an evaluation failed."""

    about: About
    """Which of its inputs is wrong; empty: none, or that is not known."""
    detail: str


class EvaluationRun(Resource):
    """An evaluation that control runs, or has run lately."""

    id: str
    model: str
    version: int
    state: State
    """`kept`: the evidence is with the version."""
    rows_name: str
    target: str
    segments: tuple[str, ...]
    importance: bool
    latency: bool
    done: tuple[str, ...]
    """The steps that are behind it."""
    step: str
    """The present one."""
    rows: int | None
    """Rows of the present step that are done."""
    of_rows: int | None
    """And how many there are; null where it is not about rows."""
    started_at: str
    started_by: str
    ended_at: str | None
    evidence: str | None
    """Digest of the evidence that was kept."""
    failure: EvaluationFailure | None


class EvaluationRuns(Resource):
    """What control runs and has run lately of a version, and whether the process that answers can
    run more."""

    items: list[EvaluationRun]
    """The newest first. Of those that have ended the oldest are forgotten."""
    available: bool
    unavailable: str
    """Why no evaluations are run here; empty: they are."""
    max_bytes: int
    max_rows: int
