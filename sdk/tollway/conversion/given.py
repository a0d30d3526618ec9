"""An ONNX graph that deploys as it is: a path or a ModelProto."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx.external_data_helper import (
    ExternalDataInfo,
    uses_external_data,
)

from tollway.conversion.background import background
from tollway.conversion.encoding import NUMPY_TYPES, InputError, encode_inputs
from tollway.conversion.errors import ConversionError
from tollway.conversion.foreign import Estimator, Foreign
from tollway.conversion.golden import ROWS, golden, usable
from tollway.conversion.graph import interface
from tollway.conversion.libraries import onnx_versions
from tollway.conversion.rows import rows_of
from tollway.conversion.runtime import Session
from tollway.conversion.schema import describe
from tollway.conversion.types import ColumnSpec, Converted, Task, TensorSpec


def convert_given(
    model: Estimator, X: object, background_rows: int, report: Callable[[str], None]
) -> Converted:
    """Check the graph, load it once, describe it; golden rows from ``X`` or from made-up ones."""
    report("checking the graph")
    path = Path(model) if isinstance(model, (str, os.PathLike)) else None
    proto, onnx_bytes = _read(model, path)
    if any(node.op_type == "ZipMap" for node in proto.graph.node):
        raise ConversionError(
            "the graph gives maps (ZipMap), which cannot be served as tensors. Way out: convert it "
            "again with the option zipmap=False."
        )
    files = _external_files(proto, path)
    try:
        onnx.checker.check_model(str(path) if path is not None else proto)
        session = Session(str(path) if path is not None and files else onnx_bytes)
    except Exception as error:
        raise ConversionError(f"the graph does not load: {_first_line(error)}") from error
    inputs, outputs = interface(proto)
    columns = _columns(inputs, X)
    rows = _encoded(inputs, columns, X)
    return Converted(
        onnx_bytes=onnx_bytes,
        task=_task(outputs),
        inputs=inputs,
        outputs=outputs,
        columns=columns,
        external_files=files,
        libraries=onnx_versions(),
        conversion={"layout": "as given"},
        golden=_golden(session, inputs, rows, made_up=X is None),
        background=None
        if X is None or rows is None
        else background(rows, inputs, columns, background_rows),
    )


def _read(model: Estimator, path: Path | None) -> tuple[Any, bytes]:
    if path is None:
        return model, model.SerializeToString()
    if not path.is_file():
        raise ConversionError(f"{path} is not a file")
    data = path.read_bytes()
    try:
        return onnx.load_from_string(data), data
    except Exception as error:
        raise ConversionError(f"{path} is not an ONNX model: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__


def _external_files(proto: Foreign, path: Path | None) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for tensor in proto.graph.initializer:
        if not uses_external_data(tensor):
            continue
        location = ExternalDataInfo(tensor).location
        if path is None:
            raise ConversionError(
                "the ModelProto keeps weights in external files: save it and deploy the path"
            )
        file = path.parent / location
        inside = file.resolve().is_relative_to(path.parent.resolve())
        if Path(location).is_absolute() or not inside:
            raise ConversionError(f"external data {location!r} leaves the folder of the model")
        if not file.is_file():
            raise ConversionError(f"external data {location!r} is missing beside {path.name}")
        files[Path(location).as_posix()] = file
    return files


def _task(outputs: list[TensorSpec]) -> Task:
    names = {spec["name"] for spec in outputs}
    if {"label", "probabilities"} <= names:
        return "classification"
    if names == {"prediction"}:
        return "regression"
    return "transform" if names == {"transformed"} else "unknown"


def _columns(inputs: list[TensorSpec], X: object) -> list[ColumnSpec]:
    """A schema where ``X`` says what the columns are: one matrix, or one tensor per column."""
    if X is None or isinstance(X, dict):
        return []
    rows = rows_of(X)
    if len(inputs) == 1 and inputs[0]["shape"][1:] in ([len(rows.names)], [-1]):
        columns = describe(rows, as_matrix=True)
        for column in columns:
            column["input"] = inputs[0]["name"]
        return columns
    by_name = {spec["name"] for spec in inputs}
    columns = describe(rows, as_matrix=False)
    if {column["name"] for column in columns} != by_name:
        raise ConversionError(
            f"the columns of X ({', '.join(rows.names)}) are not the inputs of the graph "
            f"({', '.join(sorted(by_name))}): give a frame with those columns, or no X"
        )
    for column in columns:
        column["input"] = column["name"]
    return columns


def _encoded(
    inputs: list[TensorSpec], columns: list[ColumnSpec], X: object
) -> dict[str, npt.NDArray[Any]] | None:
    try:
        return _made_up(inputs) if X is None else encode_inputs(inputs, columns, X)
    except InputError as error:
        raise ConversionError(f"X does not fit the inputs of the graph: {error}") from error


def _golden(
    session: Session,
    inputs: list[TensorSpec],
    rows: dict[str, npt.NDArray[Any]] | None,
    *,
    made_up: bool,
) -> bytes | None:
    if rows is None:
        return None
    kept = usable(rows)
    if not len(kept):
        return None
    chosen = {name: value[kept] for name, value in rows.items()}
    try:
        outputs = session.run(chosen)
    except Exception as error:
        if made_up:
            return None  # made-up rows may not suit the graph; then there are no golden rows
        raise ConversionError(f"the graph fails on the rows of X: {_first_line(error)}") from error
    return golden(chosen, outputs, inputs)


def _made_up(inputs: list[TensorSpec]) -> dict[str, npt.NDArray[Any]] | None:
    """A few rows of small numbers; None where an input is not numeric or has open inner sizes."""
    rows: dict[str, npt.NDArray[Any]] = {}
    generator = np.random.default_rng(0)
    for spec in inputs:
        if spec["datatype"] in {"BYTES", "UNKNOWN"} or any(d < 0 for d in spec["shape"][1:]):
            return None
        if not spec["shape"] or spec["shape"][0] > 0:
            return None
        values = generator.normal(size=(ROWS // 2, *spec["shape"][1:]))
        rows[spec["name"]] = np.abs(values).astype(NUMPY_TYPES[spec["datatype"]])
    return rows or None
