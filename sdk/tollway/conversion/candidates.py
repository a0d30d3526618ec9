"""The ways to convert one estimator, from the fastest graph to the slowest."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from skl2onnx import convert_sklearn
from skl2onnx._supported_operators import sklearn_operator_name_map
from skl2onnx.common import data_types
from skl2onnx.common._registration import _converter_pool

from tollway.conversion.boosting import register_boosting
from tollway.conversion.converters import register
from tollway.conversion.foreign import Estimator, Foreign
from tollway.conversion.graph import has_zip_map, with_inputs
from tollway.conversion.missing import spelled_as
from tollway.conversion.rewrites import rewritten
from tollway.conversion.rows import Rows
from tollway.conversion.schema import describe, tensor_specs
from tollway.conversion.steps import parts
from tollway.conversion.types import ColumnSpec, TensorSpec

TEXT_ESTIMATORS = frozenset({"TfidfVectorizer", "CountVectorizer"})
DEFAULT_TOKENS = r"(?u)\b\w\w+\b"
UNICODE_TOKENS = r"[\p{L}\p{N}_]{2,}"
"""The default token pattern in the regular expressions of RE2, for every script."""


@dataclass(frozen=True)
class Candidate:
    """One way to convert: input layout, number type, opsets, locale of text."""

    layout: str
    """``matrix``, ``columns`` or ``text``."""
    double: bool = False
    opset: int = 19
    opset_ml: int = 3
    locale: str = ""

    def options(self) -> dict[str, str]:
        """The options as they are stored with the version."""
        chosen = {
            "layout": self.layout,
            "numbers": "double" if self.double else "float",
            "opset": str(self.opset),
            "opset.ai.onnx.ml": str(self.opset_ml),
        }
        if self.locale:
            chosen["locale"] = self.locale
        return chosen

    def __str__(self) -> str:
        return ", ".join(f"{key} {value}" for key, value in self.options().items())


def candidates(model: Estimator, rows: Rows) -> Iterator[Candidate]:
    """Every way worth trying, fastest first."""
    layouts = {"matrix": ("matrix", "columns"), "columns": ("columns",), "text": ("text",)}
    has_text = any(type(part).__name__ in TEXT_ESTIMATORS for _, part in parts(model))
    locales = ("C", "C.UTF-8") if has_text else ("",)
    for layout in layouts[rows.kind]:
        if layout == "columns" and rows.kind == "matrix" and not rows.framed:
            continue
        for double in (False,) if rows.kind == "text" else (False, True):
            for locale in locales:
                yield Candidate(layout, double=double, locale=locale)
    first = Candidate(layouts[rows.kind][0], locale=locales[0])
    yield replace(first, opset=18)
    yield replace(first, opset=15, opset_ml=2)
    yield replace(first, opset=11, opset_ml=1)


@dataclass(frozen=True)
class Built:
    """A raw graph with its agreed inputs; outputs are still as the converter left them."""

    model: Any
    columns: list[ColumnSpec]
    inputs: list[TensorSpec]


def build(model: Estimator, rows: Rows, candidate: Candidate, nullable: Sequence[bool]) -> Built:
    """Convert ``model`` the candidate's way. Raises whatever the converters raise."""
    register()
    register_boosting(model)
    columns = describe(rows, as_matrix=candidate.layout == "matrix", nullable=nullable)
    inputs = tensor_specs(columns, double=candidate.double)
    raw = [(f"in{i}", _raw_type(spec, candidate)) for i, spec in enumerate(inputs)]
    changed = rewritten(model, double=candidate.double)
    with warnings.catch_warnings(), spelled_as(model, rows):
        warnings.simplefilter("ignore")
        graph = convert_sklearn(
            changed,
            name="tollway",
            initial_types=raw,
            target_opset={"": candidate.opset, "ai.onnx.ml": candidate.opset_ml},
            options=_options(changed, candidate),
        )
    if has_zip_map(graph):
        raise ValueError("the converter left a ZipMap, whose maps cannot be served as tensors")
    return Built(with_inputs(graph, [name for name, _ in raw], inputs), columns, inputs)


def _raw_type(spec: TensorSpec, candidate: Candidate) -> Foreign:
    shape = [None, *spec["shape"][1:]]
    if spec["datatype"] == "BYTES":
        return data_types.StringTensorType(shape)
    return (data_types.DoubleTensorType if candidate.double else data_types.FloatTensorType)(shape)


def _options(model: Estimator, candidate: Candidate) -> dict[int, dict[str, Any]]:
    options: dict[int, dict[str, Any]] = {}
    for _, part in parts(model):
        if type(part).__name__ in TEXT_ESTIMATORS:
            options[id(part)] = _text_options(part, candidate)
            continue
        alias = sklearn_operator_name_map.get(type(part))
        if alias not in _converter_pool:
            continue
        allowed = _converter_pool[alias].get_allowed_options() or {}
        # An entry for every part: skl2onnx sets zipmap for classifiers without one.
        pipeline = alias == "SklearnPipeline"
        options[id(part)] = {"zipmap": False} if "zipmap" in allowed and not pipeline else {}
    return options


def _text_options(vectorizer: Estimator, candidate: Candidate) -> dict[str, Any]:
    options: dict[str, Any] = {"locale": candidate.locale}
    if vectorizer.analyzer == "word" and vectorizer.token_pattern == DEFAULT_TOKENS:
        options["tokenexp"] = UNICODE_TOKENS
    return options
