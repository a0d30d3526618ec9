"""The V1 convention of TensorFlow Serving and KServe: ``instances`` by row, ``inputs`` by column.

Rows are lists (values in column order, or the one input's row) or objects keyed by column name, or
by input name where the model declares no columns. :mod:`serving.v1_reply` has the answers.
"""

from typing import Final

import msgspec
import numpy as np

from protocol.datatypes import BINARY_ONLY
from protocol.manifest import Column
from serving.call import Call
from serving.json_text import parse
from serving.signature import Signature, malformed
from serving.tensors import (
    FLOATS,
    Array,
    TensorSpec,
    invalid,
    position,
    show,
    to_elements,
    unnest,
)
from serving.v1_reply import ColumnEncoder, RowEncoder

_KNOWN: Final = frozenset({"instances", "inputs", "signature_name", "parameters", "id"})
Rows = list[float | list[float | None] | None]
MATRIX_DIMENSIONS: Final = 2


class _Instances(msgspec.Struct, forbid_unknown_fields=True):
    instances: Rows
    signature_name: str | None = None


class V1:
    """Decodes one model's V1 requests."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._columns = {column.name: column for column in signature.manifest.columns}
        self._by_row = RowEncoder(signature)
        self._by_column = ColumnEncoder(signature)
        self._no_json = [s.name for s in signature.outputs if s.datatype in BINARY_ONLY]
        self._only = signature.required[0] if len(signature.required) == 1 else None
        """The input that a request without names means."""
        single = signature.inputs[0] if len(signature.inputs) == 1 else None
        self._matrix = (
            single
            if single and len(single.shape) == MATRIX_DIMENSIONS and single.datatype in FLOATS
            else None
        )
        self._instances = msgspec.json.Decoder(_Instances)

    def decode(self, body: bytes) -> Call:
        """The call that a body asks for. Raises ``TollwayError`` with the reason if none."""
        if self._no_json:
            raise invalid(f"output {self._no_json[0]!r} has no JSON form: use V2 with binary data")
        feeds = self._fast(body) if self._matrix is not None else None
        if feeds is not None:
            return self._call(feeds, self._by_row)
        value = parse(body)
        if not isinstance(value, dict):
            raise malformed("the request must be a JSON object with 'instances' or 'inputs'")
        for name in value:
            if name not in _KNOWN:
                raise malformed(f"unknown field {show(name)}: V1 has 'instances' and 'inputs'")
        if ("instances" in value) == ("inputs" in value):
            raise malformed("the request must have either 'instances' or 'inputs'")
        if "inputs" in value:
            return self._call(self._from_inputs(value["inputs"]), self._by_column)
        return self._call(self._from_instances(value["instances"]), self._by_row)

    def _call(self, feeds: list[Array | None], encoder: ColumnEncoder) -> Call:
        signature = self._signature
        signature.check_complete(feeds)
        for spec, feed in zip(signature.inputs, feeds, strict=True):
            if feed is not None:
                spec.check_shape(list(feed.shape))
        return Call(feeds, signature.rows(feeds), signature.key(feeds), encoder)

    def _alone(self, array: Array) -> list[Array | None]:
        """The one input that the request means, without the optional ones."""
        return [array if spec is self._only else None for spec in self._signature.inputs]

    def _fast(self, body: bytes) -> list[Array | None] | None:
        """Rows of floats for a model of one matrix; None for anything else or amiss."""
        assert self._matrix is not None
        try:
            rows = self._instances.decode(body).instances
            array: Array = np.array(rows, self._matrix.dtype)
        except (ValueError, OverflowError, FloatingPointError, RecursionError):
            return None
        wanted = self._matrix.shape[1]
        if array.ndim != MATRIX_DIMENSIONS or not array.size or wanted not in (-1, array.shape[1]):
            return None
        return [array]

    # instances

    def _from_instances(self, instances: object) -> list[Array | None]:
        if not isinstance(instances, list):
            raise malformed("'instances' is not an array")
        if not instances:
            raise invalid("'instances' is empty")
        objects = sum(type(item) is dict for item in instances)
        if 0 < objects < len(instances):
            raise malformed("'instances' mixes objects and other rows")
        if objects:
            return self._from_objects(instances)
        if self._only is not None:
            return self._alone(_stack(instances, self._only, "instances"))
        if not self._columns:
            raise malformed(
                f"the model has {len(self._signature.inputs)} inputs: "
                "each instance must be an object keyed by input"
            )
        return self._from_lists(instances)

    def _from_lists(self, instances: list[object]) -> list[Array | None]:
        """Rows as lists of values in the order of the columns."""
        columns = list(self._columns.values())
        for index, row in enumerate(instances):
            if not isinstance(row, list):
                raise invalid(f"instances[{index}]: {show(row)} is not an array or an object")
            if len(row) != len(columns):
                raise invalid(
                    f"instances[{index}] has {len(row)} values; {len(columns)} columns are needed"
                )
        rows: list[list[object]] = instances  # type: ignore[assignment]  # all are
        values = {column.name: [row[place] for row in rows] for place, column in enumerate(columns)}
        return self._place(values, "instances[{}]")

    def _from_objects(self, instances: list[dict[str, object]]) -> list[Array | None]:
        by_column = bool(self._columns)
        names = list(self._columns or self._signature.position)
        optional = {s.name for s in self._signature.inputs if s.optional and not by_column}
        known = set(names)
        for index, row in enumerate(instances):
            if row.keys() == known:
                continue
            what = "column" if by_column else "input"
            for name in row:
                if name not in known:
                    raise invalid(f"instances[{index}] has an unknown {what} {show(name)}")
            for name in names:
                if name not in row and (name not in optional or name in instances[0]):
                    raise invalid(f"instances[{index}]: {what} {show(name)} is missing")
        given = [name for name in names if name in instances[0]]
        values = {name: [row[name] for row in instances if name in row] for name in given}
        if by_column:
            return self._place(values, "instances[{}]")
        return [
            _stack(values[spec.name], spec, "instances", f" input {show(spec.name)}")
            if spec.name in values
            else None
            for spec in self._signature.inputs
        ]

    # inputs

    def _from_inputs(self, inputs: object) -> list[Array | None]:
        specs = self._signature.inputs
        if not isinstance(inputs, dict):
            if self._only is None:
                raise malformed(
                    f"the model has {len(specs)} inputs: 'inputs' must be an object keyed by name"
                )
            return self._alone(_whole(inputs, self._only))
        columns: dict[str, list[object]] = {}
        feeds: list[Array | None] = [None] * len(specs)
        for name, value in inputs.items():
            if name in self._columns:
                columns[name] = _column_values(value, name)
            elif name in self._signature.position:
                index = self._signature.position[name]
                feeds[index] = _whole(value, specs[index])
            else:
                raise invalid(f"unknown column or input {show(name)}")
        if columns:
            placed = self._place(columns, "data[{}]")
            for index, feed in enumerate(placed):
                if feed is not None and feeds[index] is not None:
                    raise invalid(f"input {show(specs[index].name)} is given twice")
                feeds[index] = feed if feed is not None else feeds[index]
        return feeds

    def _place(self, values: dict[str, list[object]], where: str) -> list[Array | None]:
        """Columns of values into the inputs that carry them."""
        rows = len(next(iter(values.values())))
        for name, items in values.items():
            if len(items) != rows:
                raise invalid(f"column {show(name)} has {len(items)} values, others have {rows}")
        feeds: list[Array | None] = [None] * len(self._signature.inputs)
        touched = {self._columns[name].input for name in values}
        for column in self._columns.values():
            if column.input not in touched:
                continue
            if column.name not in values:
                raise invalid(f"column {show(column.name)} is missing")
            index = self._signature.input(column.input)
            spec = self._signature.inputs[index]
            elements = _column_elements(values[column.name], column, spec, where)
            if column.index is None:
                feeds[index] = elements.reshape([rows, *(1 for _ in spec.trailing)])
                continue
            matrix = feeds[index]
            if matrix is None:
                width = sum(other.input == column.input for other in self._columns.values())
                matrix = feeds[index] = np.empty((rows, width), spec.dtype)
            matrix[:, column.index] = elements
        return feeds


def _column_elements(values: list[object], column: Column, spec: TensorSpec, where: str) -> Array:
    """One column's values as its tensor has them: true as 1, missing strings as declared."""
    if spec.datatype == "BYTES":
        if column.null is not None:
            values = [column.null if value is None else value for value in values]
    elif column.type == "boolean" and spec.datatype != "BOOL":
        values = [int(value) if type(value) is bool else value for value in values]
    name = show(column.name)
    return to_elements(values, spec.datatype, lambda index: f"{where.format(index)} column {name}")


def _column_values(value: object, name: str) -> list[object]:
    """A column given as ``[v, v]`` or ``[[v], [v]]``."""
    if not isinstance(value, list) or not value:
        raise invalid(f"column {show(name)} is not an array of values")
    elements, shape = unnest(value, f"column {show(name)}")
    if len(elements) != len(value):
        raise invalid(f"column {show(name)} has shape {show(shape)}; it has one value a row")
    return elements


def _stack(rows: list[object], spec: TensorSpec, what: str, of: str = "") -> Array:
    """Rows of one input, as a tensor with their number as its first dimension."""
    elements, shape = unnest(rows, what + of)
    if len(shape) == 1 and spec.shape[1:] in ((1,), (-1,)):
        shape = [len(rows), 1]  # one value a row, given without brackets
    if not spec.shape:
        raise invalid(f"input {show(spec.name)} is a scalar and has no rows: ask with 'inputs'")
    if len(shape) != len(spec.shape):
        raise invalid(
            f"{what}{of}: rows have {len(shape) - 1} dimensions, "
            f"the model takes {len(spec.shape) - 1}"
        )
    array = to_elements(
        elements, spec.datatype, lambda index: f"{what}{position(index, shape)}{of}"
    )
    return array.reshape(shape)


def _whole(value: object, spec: TensorSpec) -> Array:
    """A whole tensor, nested in its shape."""
    what = f"input {show(spec.name)}"
    if not isinstance(value, list):
        if not spec.shape:
            return to_elements([value], spec.datatype, lambda _: what).reshape(())
        raise invalid(f"{what} is not an array")
    elements, shape = unnest(value, what)
    if len(shape) == 1 and spec.shape[1:] in ((1,), (-1,)):
        shape = [len(value), 1]
    array = to_elements(
        elements, spec.datatype, lambda index: f"{what} data{position(index, shape)}"
    )
    return array.reshape(shape)
