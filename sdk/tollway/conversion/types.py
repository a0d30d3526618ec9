"""What a conversion gives back: the graph, its columns, and the proof of parity.

The shapes mirror the manifest; the SDK keeps its own so that it imports none of the server.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NotRequired, TypedDict

Task = Literal["classification", "regression", "clustering", "outlier", "transform", "unknown"]
ColumnType = Literal["float", "integer", "boolean", "string"]
Label = str | int | float | bool
MOST_BACKGROUND_ROWS = 1000
"""Rows that a version may keep for explanations."""


class TensorSpec(TypedDict):
    """An input or output of a graph: ``datatype`` as Open Inference Protocol V2 spells it.

    ``shape`` has -1 for a dynamic dimension.
    """

    name: str
    datatype: str
    shape: list[int]


class ColumnSpec(TypedDict):
    """One column of the training data and where it goes in the graph's inputs."""

    name: str
    type: ColumnType
    input: str
    index: NotRequired[int | None]
    minimum: NotRequired[float | None]
    maximum: NotRequired[float | None]
    categories: NotRequired[list[str] | None]
    null_share: NotRequired[float]
    null: NotRequired[str | None]
    example: NotRequired[Label]


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How the graph compares with the original estimator.

    ``rows`` counts the rows compared, ``max_abs_error`` is the largest difference of any number
    among them; scores, which have no unit, count as shares of their ``scale``. ``tolerance`` is the
    ``atol`` of the bound that held for every number ``x`` of the original,
    ``|got - x| <= atol * scale + rtol * |x|``: ``scale`` is 1 for probabilities and the largest
    magnitude in the output's column for other numbers (for scores at least 1).
    ``label_mismatches`` is 0 in a parity that was accepted; ``near_ties`` counts rows whose label
    differs where the original itself gives its two best answers scores closer than a fixed share,
    ``NEAR_TIE`` of :mod:`tollway.conversion.parity`, whatever the tolerance.
    """

    rows: int
    max_abs_error: float
    tolerance: float
    label_mismatches: int = 0
    near_ties: int = 0


@dataclass(frozen=True, kw_only=True)
class Converted:
    """A graph ready to deploy, and everything the registry wants to know about it."""

    onnx_bytes: bytes
    task: Task
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    labels: list[Label] = field(default_factory=list)
    """A classifier's classes in the order of its probabilities; empty for other tasks."""
    columns: list[ColumnSpec] = field(default_factory=list)
    external_files: dict[str, Path] = field(default_factory=dict)
    """External data of the graph: relative path inside the bundle -> file on this machine."""
    libraries: dict[str, str] = field(default_factory=dict)
    conversion: dict[str, str] = field(default_factory=dict)
    """The conversion options that won the search."""
    parity: Parity | None = None
    golden: bytes | None = None
    """JSON of a V2 request and its expected response, see :mod:`tollway.conversion.golden`."""
    background: bytes | None = None
    """JSON of a V2 request with typical rows, see :mod:`tollway.conversion.background`."""
    metrics: dict[str, float] = field(default_factory=dict)
