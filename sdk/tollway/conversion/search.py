"""Try the candidates until one answers as the original does; explain it well when none does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto
from onnx.helper import np_dtype_to_tensor_dtype

from tollway.conversion import candidates as ways
from tollway.conversion.encoding import encode_inputs
from tollway.conversion.errors import ParityError
from tollway.conversion.graph import Output, with_outputs
from tollway.conversion.outputs import MAIN_OUTPUT
from tollway.conversion.parity import Tolerance, Verdict, column_scale, compare
from tollway.conversion.probes import Group
from tollway.conversion.reference import Answers
from tollway.conversion.rows import Rows
from tollway.conversion.runtime import Session
from tollway.conversion.types import ColumnSpec, Label, Task, TensorSpec

Array = npt.NDArray[Any]
SINGLE_ROWS = 8


@dataclass(frozen=True)
class Proven:
    """A graph that agrees with the original, and what was compared."""

    onnx_bytes: bytes
    session: Session
    candidate: ways.Candidate
    columns: list[ColumnSpec]
    inputs: list[TensorSpec]
    verdict: Verdict


@dataclass(frozen=True)
class Failure:
    """Why one candidate is out: an error, or a verdict with its counterexample."""

    candidate: ways.Candidate
    error: Exception | None = None
    verdict: Verdict | None = None
    group: Group | None = None


@dataclass(frozen=True)
class Problem:
    """One conversion: the original, its rows, its answers, and what counts as equal."""

    model: Any
    task: Task
    labels: list[Label]
    groups: list[Group]
    """The rows given first, then the probes."""
    nullable: Sequence[bool]
    tolerance: Tolerance

    @property
    def rows(self) -> Rows:
        """The rows given."""
        return self.groups[0].rows


def search(problem: Problem, progress: Callable[[str], None]) -> Proven | list[Failure]:
    """The first candidate without near-ties, else the one with the fewest; or every failure."""
    failures: list[Failure] = []
    best: Proven | None = None
    for candidate in ways.candidates(problem.model, problem.rows):
        progress(f"converting ({candidate})")
        outcome = attempt(problem, candidate)
        if isinstance(outcome, Failure):
            failures.append(outcome)
            if _hopeless(failures):
                break
            continue
        if not outcome.verdict.near_ties:
            return outcome
        if best is None or outcome.verdict.near_ties < best.verdict.near_ties:
            best = outcome
    return best or failures


def _hopeless(failures: list[Failure]) -> bool:
    """A missing converter stays missing whatever the options."""
    return type(failures[-1].error).__name__ in {"MissingShapeCalculator", "MissingConverter"}


def attempt(problem: Problem, candidate: ways.Candidate) -> Proven | Failure:
    """Convert one way and compare on every group of rows."""
    try:
        built = ways.build(problem.model, problem.rows, candidate, problem.nullable)
        raw_session = Session(built.model.SerializeToString())
        given = problem.groups[0]
        encoded = encode_inputs(built.inputs, built.columns, given.rows.native)
        plan, types = plan_outputs(raw_session.run(encoded), given.answers, problem.task)
        graph = with_outputs(built.model, plan, types)
        onnx_bytes = graph.SerializeToString()
        session = Session(onnx_bytes)
        total = Verdict(rows=0)
        for group in problem.groups:
            inputs = encode_inputs(built.inputs, built.columns, group.rows.native)
            outputs = session.run(inputs)
            verdict = compare(
                group.answers, outputs, problem.task, problem.labels, problem.tolerance
            )
            if not verdict.holds:
                return Failure(candidate, verdict=verdict, group=group)
            _check_batches(session, inputs, outputs)
            _add(total, verdict)
    except Exception as error:
        return Failure(candidate, error=error)
    return Proven(onnx_bytes, session, candidate, built.columns, built.inputs, total)


def _add(total: Verdict, verdict: Verdict) -> None:
    total.rows += verdict.rows
    total.near_ties += verdict.near_ties
    total.max_abs_error = max(total.max_abs_error, verdict.max_abs_error)


class BatchError(ValueError):
    """A row's answer depends on the rows beside it."""


def _check_batches(session: Session, inputs: dict[str, Array], outputs: dict[str, Array]) -> None:
    """Alone, among many and in another order, a row must get the same answer."""
    length = len(next(iter(inputs.values())))
    order = np.arange(length)[::-1]
    turned = session.run({name: value[order] for name, value in inputs.items()})
    for name, value in outputs.items():
        if not _close(turned[name], value[order], value):
            raise BatchError(f"output {name!r} depends on the order of the rows")
    for i in range(min(SINGLE_ROWS, length)):
        single = session.run({name: value[i : i + 1] for name, value in inputs.items()})
        for name, value in outputs.items():
            if not _close(single[name], value[i : i + 1], value):
                raise BatchError(f"output {name!r} of row {i} differs when it comes alone")


def _close(left: Array, right: Array, whole: Array) -> bool:
    if left.shape != right.shape:
        return False
    if left.dtype.kind != "f":
        return bool(np.array_equal(left, right))
    scale = column_scale(whole)
    return bool(np.allclose(left / scale, right / scale, rtol=1e-5, atol=1e-5, equal_nan=True))


def plan_outputs(
    raw: dict[str, Array], expected: Answers, task: Task
) -> tuple[list[Output], dict[str, int]]:
    """Match the converter's outputs with the original's answers by place and shape."""
    names = list(raw)
    types = {
        name: int(TensorProto.STRING) if value.dtype.kind in "OUS"
        else int(np_dtype_to_tensor_dtype(value.dtype))
        for name, value in raw.items()
    }  # fmt: skip
    plan = [_shaped(names[0], MAIN_OUTPUT[task], raw[names[0]], expected.main)]
    if len(names) > 1 and task not in {"regression", "transform"}:
        second = _second(names[1], raw[names[1]], expected)
        if second is not None:
            plan.append(second)
    return plan, types


def _shaped(raw: str, name: str, value: Array, wanted: Array) -> Output:
    width = wanted.shape[1] if wanted.ndim == 2 else None  # noqa: PLR2004
    if value.size != wanted.size:
        raise ValueError(f"output {name!r} has shape {value.shape}, not {wanted.shape}")
    return Output(raw, name, width=width, reshape=value.shape != wanted.shape)


def _second(raw: str, value: Array, expected: Answers) -> Output | None:
    """Probabilities where the original has them; else scores, if they are the original's own."""
    if expected.probabilities is not None:
        return _shaped(raw, "probabilities", value, expected.probabilities)
    scores = expected.scores
    if scores is None:
        return None
    scale = np.maximum(column_scale(scores), 1.0)
    binary = value.ndim == 2 and value.shape[1] == 2 and scores.ndim == 1  # noqa: PLR2004
    column = 1 if binary else None
    taken = value[:, 1] if binary else value
    if taken.size != scores.size:
        return None
    if not np.allclose(taken.reshape(scores.shape) / scale, scores / scale, rtol=1e-3, atol=1e-3):
        return None
    width = scores.shape[1] if scores.ndim == 2 else None  # noqa: PLR2004
    return Output(raw, "scores", column, width, reshape=taken.shape != scores.shape)


def counterexample(problem: Problem, failures: list[Failure]) -> ParityError:
    """The error of the failure that came closest, with its row, both answers and ways out."""
    compared = [f for f in failures if f.verdict is not None and f.group is not None]
    closest = min(compared, key=lambda f: len(f.verdict.wrong) if f.verdict else 0)
    verdict, group = closest.verdict, closest.group
    assert verdict is not None
    assert group is not None
    row = group.rows.row(verdict.wrong[0])
    shown = ", ".join(f"{name}={value!r}" for name, value in list(row.items())[:20])
    more = f" (and {len(row) - 20} more columns)" if len(row) > 20 else ""  # noqa: PLR2004
    text = (
        f"the converted {type(problem.model).__name__} does not answer as the original on "
        f"{len(verdict.wrong)} of {verdict.rows} rows ({group.name}): {verdict.reason}.\n"
        f"Row: {shown}{more}\n"
        f"Original: {verdict.expected}\nConverted: {verdict.got}\n"
        f"Tried: {'; '.join(str(f.candidate) for f in failures)}.\n"
        f"Ways out: {_way_out(group)}raise atol or rtol if the difference is acceptable; scale the "
        "features before the model; or replace the estimator by one of "
        "docs/reference/model-families.md."
    )
    return ParityError(text, row=row, expected=verdict.expected, got=verdict.got)


def _way_out(group: Group) -> str:
    if group.name == "texts":
        return "normalise the text (case, accents) before the pipeline and in the caller; "
    return ""
