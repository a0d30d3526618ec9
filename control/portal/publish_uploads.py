"""The registration's form: what is asked beside an uploaded graph, and what the API gets. Pure."""

from collections.abc import Mapping
from typing import Final

import msgspec

from control.portal.forms import Form
from control.portal.publish_examples import example_of
from protocol.errors import Code, TollwayError
from protocol.manifest import ColumnType, Tensor
from registry.outputs import InspectionOutput

MAX_WIDTH: Final = 2_000
"""Columns of one input that a form can name."""
TASKS: Final = (
    ("classification", "Classification"),
    ("regression", "Regression"),
    ("clustering", "Clustering"),
    ("outlier", "Outlier detection"),
    ("transform", "Transformation"),
    ("unknown", "Something else"),
)
_INTEGERS: Final = frozenset(
    {"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"}
)
_OTHER_TYPES: Final[Mapping[str, ColumnType]] = {"BOOL": "boolean", "BYTES": "string"}


class InputView(msgspec.Struct, frozen=True, kw_only=True):
    """An input of the graph, and how many columns a row has in it."""

    tensor: Tensor
    columns: int
    """0: its columns cannot be named."""
    single: bool
    """Whether the tensor is one column."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What the graph says of itself."""

    inputs: list[InputView]
    outputs: list[Tensor]
    opsets: dict[str, int]
    task: str
    """What its outputs look like."""


def tensors(found: InspectionOutput) -> Found:
    """From what the API gives."""
    inputs = msgspec.convert(found.inputs, list[Tensor])
    outputs = msgspec.convert(found.outputs, list[Tensor])
    return Found(
        inputs=[_input(tensor) for tensor in inputs],
        outputs=outputs,
        opsets=found.opsets,
        task=_task(outputs),
    )


def registration(form: Form, found: Found) -> dict[str, object]:
    """The body of the registration. Raises ``INVALID`` for columns that do not fit the graph, and
    an example that does not fit the columns."""
    size = form.number("size")
    columns: list[dict[str, object]] = []
    kinds: dict[str, ColumnType] = {}
    for index, one in enumerate(found.inputs):
        names = form.lines(f"columns.{index}")
        if not names:
            continue
        if len(names) != one.columns:
            raise TollwayError(
                Code.INVALID,
                f"columns.{index}: there are {len(names)} names, and the input has "
                f"{one.columns} columns: one name for each, in their order",
            )
        kind = _column_type(one.tensor.datatype)
        kinds.update(dict.fromkeys(names, kind))
        columns += [
            {
                "name": name,
                "type": kind,
                "input": one.tensor.name,
                "index": None if one.single else place,
            }
            for place, name in enumerate(names)
        ]
    example = example_of(form.text("example"), kinds)
    columns = [{**one, "example": example.get(str(one["name"]))} for one in columns]
    return {
        "artifact": {"digest": form.text("artifact"), "size": size},
        "task": form.text("task"),
        "labels": [_label(text) for text in form.lines("labels")],
        "columns": columns,
        "description": form.text("description"),
    }


def _input(tensor: Tensor) -> InputView:
    shape = tensor.shape
    single = len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)  # noqa: PLR2004
    width = 1 if single else shape[1] if len(shape) == 2 else 0  # noqa: PLR2004
    return InputView(tensor=tensor, columns=width if 0 < width <= MAX_WIDTH else 0, single=single)


def _task(outputs: list[Tensor]) -> str:
    names = {tensor.name for tensor in outputs}
    if names & {"probabilities", "output_probability", "label", "output_label"}:
        return "classification"
    return "regression" if len(outputs) == 1 else "unknown"


def _column_type(datatype: str) -> ColumnType:
    if datatype in _INTEGERS:
        return "integer"
    return _OTHER_TYPES.get(datatype, "float")


def _label(text: str) -> str | int:
    return int(text) if text.lstrip("-").isdecimal() else text
