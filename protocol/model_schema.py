"""JSON Schema (2020-12) of a version's requests and answers, and a row that it takes. Pure.

What the server refuses is a constraint; what was merely observed in training is told beside it
(``x-observed``): a client that validates by the schema must not refuse what the server takes.
The example is made of those observations. It is no row of anybody's data.
"""

import math
from collections.abc import Mapping
from typing import Final

from msgspec import UNSET

from protocol.configuration import ColumnRule, ContractDoc
from protocol.datatypes import BINARY_ONLY
from protocol.manifest import Column, Manifest, Tensor

Json = dict[str, object]
_TYPES: Final = {
    "float": "number", "integer": "integer", "boolean": "boolean", "string": "string",
}  # fmt: skip
_FLOATS: Final = frozenset({"FP16", "BF16", "FP32", "FP64"})
_SINGLE_VALUE_TASKS: Final = frozenset({"classification", "regression", "clustering", "outlier"})
"""Tasks whose ``[N, 1]`` outputs V1 writes without the inner brackets (``serving.v1_reply``)."""
MAX_NAMED: Final = 50
"""Categories that a description spells out."""


def speaks_json(manifest: Manifest) -> bool:
    """Whether requests and answers have a JSON form."""
    tensors = (*manifest.inputs, *manifest.outputs)
    return not any(tensor.datatype in BINARY_ONLY for tensor in tensors)


def has_rows(manifest: Manifest) -> bool:
    """Whether V1 can ask for rows: every tensor that it needs has one dimension at least."""
    return speaks_json(manifest) and all(
        tensor.shape for tensor in (*manifest.inputs, *manifest.outputs) if not tensor.optional
    )


def enforced(contract: ContractDoc | None) -> dict[str, ColumnRule]:
    """Column -> the rule that a request is refused by."""
    if contract is None or contract.mode != "enforce":
        return {}
    return {rule.column: rule for rule in contract.rules}


def row_schema(manifest: Manifest, rules: Mapping[str, ColumnRule]) -> Json:
    """A row as an object: keyed by column, or by input where no columns are declared."""
    if manifest.columns:
        properties = {c.name: column_schema(c, rules.get(c.name)) for c in manifest.columns}
        required = [column.name for column in manifest.columns]
    else:
        properties = {t.name: _input_schema(t, t.shape[1:]) for t in manifest.inputs}
        required = [t.name for t in manifest.inputs if not t.optional]
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
        "examples": [example_row(manifest, rules)],
    }


def list_schema(manifest: Manifest, rules: Mapping[str, ColumnRule]) -> Json | None:
    """A row as a list of values, in the order of the columns; None where rows have no such form."""
    if manifest.columns:
        items = [
            column_schema(c, rules.get(c.name)) | {"title": c.name} for c in _ordered(manifest)
        ]
        count = len(items)
        return {"type": "array", "prefixItems": items, "minItems": count, "maxItems": count}
    needed = [tensor for tensor in manifest.inputs if not tensor.optional]
    return _input_schema(needed[0], needed[0].shape[1:]) if len(needed) == 1 else None


def _ordered(manifest: Manifest) -> list[Column]:
    """Columns in the order of a row that is a list: of one input, its own order."""
    if len({column.input for column in manifest.columns}) == 1:
        return sorted(manifest.columns, key=lambda column: column.index or 0)
    return list(manifest.columns)


def column_schema(column: Column, rule: ColumnRule | None) -> Json:
    """A column's values, its description, and what was observed of it."""
    kind = _TYPES[column.type]
    nullable = (column.type == "float" or column.null is not None) and (rule is None or rule.nulls)
    schema: Json = {
        "type": [kind, "null"] if nullable else kind,
        "description": _description(column, rule),
        "examples": [example_value(column, rule)],
    }
    if rule is not None and kind in {"number", "integer"}:
        bounds = {"minimum": rule.minimum, "maximum": rule.maximum}
        schema |= {name: value for name, value in bounds.items() if value is not None}
    if rule is not None and rule.categories is not None and kind == "string":
        schema["enum"] = [*rule.categories, *([None] if nullable else [])]
    observed = {
        "minimum": column.minimum,
        "maximum": column.maximum,
        "categories": None if column.categories is None else list(column.categories),
    }
    told = {name: value for name, value in observed.items() if value is not None}
    if told:
        schema["x-observed"] = told
    return schema


def _description(column: Column, rule: ColumnRule | None) -> str:
    told = []
    if column.minimum is not None and column.maximum is not None:
        told.append(f"from {column.minimum:g} to {column.maximum:g} in training")
    if column.categories is not None:
        shown = ", ".join(repr(one) for one in column.categories[:MAX_NAMED])
        more = len(column.categories) - MAX_NAMED
        told.append(f"one of {shown}{f' and {more} more' if more > 0 else ''} in training")
    if column.null_share:
        told.append(f"missing in {column.null_share:.3g} of the training rows")
    if rule is not None:
        told.append("a value outside of the model's data contract is refused (422)")
    kind = f"Column of type {column.type}"
    return f"{kind}: {'; '.join(told)}." if told else f"{kind}."


def example_value(column: Column, rule: ColumnRule | None = None) -> object:
    """A value that the column takes: the publisher's example where the contract allows it, else in
    the middle of its range, or its first category."""
    if column.example is not UNSET and (rule is None or _keeps(column.example, rule)):
        return column.example
    low, high = column.minimum, column.maximum
    categories = column.categories
    if rule is not None:
        low = rule.minimum if rule.minimum is not None else low
        high = rule.maximum if rule.maximum is not None else high
        categories = rule.categories if rule.categories is not None else categories
    match column.type:
        case "string":
            return categories[0] if categories else "text"
        case "boolean":
            return True
        case "integer":
            return int(_middle(low, high) // 1)
        case "float":
            middle = _middle(low, high)
            rounded = float(f"{middle:.4g}")
            inside = (low is None or low <= rounded) and (high is None or rounded <= high)
            return rounded if inside and math.isfinite(rounded) else middle


def _keeps(value: int | float | str | bool, rule: ColumnRule) -> bool:
    if isinstance(value, str):
        return rule.categories is None or value in rule.categories
    below = rule.minimum is not None and value < rule.minimum
    return not below and (rule.maximum is None or value <= rule.maximum)


def _middle(low: float | None, high: float | None) -> float:
    if low is not None and high is not None:
        return low / 2 + high / 2 if low <= high else high
    return low if low is not None else high if high is not None else 1.0


def example_row(manifest: Manifest, rules: Mapping[str, ColumnRule]) -> Json:
    """A row that :func:`row_schema` describes."""
    if manifest.columns:
        return {c.name: example_value(c, rules.get(c.name)) for c in manifest.columns}
    return {
        tensor.name: _filled(tensor, tensor.shape[1:])
        for tensor in manifest.inputs
        if not tensor.optional
    }


def example_tensors(manifest: Manifest, rules: Mapping[str, ColumnRule]) -> list[Json]:
    """The same row as V2 ``inputs``."""
    found: list[Json] = []
    for tensor in manifest.inputs:
        columns = [column for column in manifest.columns if column.input == tensor.name]
        if tensor.optional and not columns:
            continue
        shape = [1 if size < 0 else size for size in tensor.shape]
        count = 1
        for size in shape:
            count *= size
        data: list[object] = [_element(tensor.datatype)] * count
        if columns and columns[0].index is not None:
            shape, data = [1, len(columns)], [_element(tensor.datatype)] * len(columns)
        for column in columns:
            value = example_value(column, rules.get(column.name))
            data[column.index or 0] = _as_element(value, tensor.datatype)
        found.append(
            {"name": tensor.name, "shape": shape, "datatype": tensor.datatype, "data": data}
        )
    return found


def _element(datatype: str) -> object:
    if datatype in _FLOATS:
        return 1.0
    return {"BOOL": True, "BYTES": "text"}.get(datatype, 1)


def _as_element(value: object, datatype: str) -> object:
    if datatype == "BYTES":
        return value if isinstance(value, str) else str(value)
    if datatype == "BOOL" or not isinstance(value, bool | int | float):
        return value
    return float(value) if datatype in _FLOATS else int(value)


def _filled(tensor: Tensor, shape: tuple[int, ...]) -> object:
    if not shape:
        return _element(tensor.datatype)
    return [_filled(tensor, shape[1:])] * (1 if shape[0] < 0 else shape[0])


def _input_schema(tensor: Tensor, shape: tuple[int, ...]) -> Json:
    return _nested(_element_schema(tensor.datatype), shape)


def _nested(element: Json, shape: tuple[int, ...]) -> Json:
    for size in reversed(shape):
        bounds = {} if size < 0 else {"minItems": size, "maxItems": size}
        element = {"type": "array", "items": element, **bounds}
    return element


def _element_schema(datatype: str) -> Json:
    if datatype in _FLOATS:
        return {"type": ["number", "null"]}
    return {"type": {"BOOL": "boolean", "BYTES": "string"}.get(datatype, "integer")}


def prediction_schema(manifest: Manifest) -> Json:
    """What V1 answers for a row: the value of the only output, or an object keyed by output."""
    outputs = {tensor.name: _output_schema(manifest, tensor) for tensor in manifest.outputs}
    if len(outputs) == 1:
        (only,) = outputs.values()
        return only
    return {"type": "object", "properties": outputs, "required": list(outputs)}


def _output_schema(manifest: Manifest, tensor: Tensor) -> Json:
    shape = tensor.shape[1:]
    if manifest.task in _SINGLE_VALUE_TASKS and shape == (1,):
        shape = ()
    element = _element_schema(tensor.datatype)
    if manifest.task == "classification" and manifest.labels:
        if not shape and tensor.datatype not in _FLOATS:
            element = element | {"enum": list(manifest.labels)}
        elif len(shape) == 1 and tensor.datatype in _FLOATS:
            labels = ", ".join(str(label) for label in manifest.labels[:MAX_NAMED])
            return _nested(element, shape) | {
                "description": f"In the order of the classes: {labels}."
            }
    schema = _nested(element, shape)
    return {"anyOf": [schema, {"type": "null"}]} if tensor.optional else schema
