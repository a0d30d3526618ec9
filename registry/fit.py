"""Whether what the publisher states fits the graph: training columns, labels and golden rows."""

import re
from collections.abc import Iterable, Sequence
from typing import Final, Literal

import msgspec

from protocol.errors import Code, TollwayError
from protocol.manifest import Background, Column, Golden, Tensor

_FLOATS: Final = frozenset({"FP16", "BF16", "FP32", "FP64"})
_PROBABILITIES: Final = re.compile("prob|score|softmax|logit", re.IGNORECASE)


class _Named(msgspec.Struct):
    name: str


class _GoldenRequest(msgspec.Struct):
    inputs: list[_Named]


class _GoldenResponse(msgspec.Struct):
    outputs: list[_Named]


def check_columns(columns: Iterable[Column], inputs: Iterable[Tensor]) -> None:
    """Raise ``INVALID`` unless each column has a place of its own in the graph's inputs."""
    by_name = {tensor.name: tensor for tensor in inputs}
    names: set[str] = set()
    places: set[tuple[str, int | None]] = set()
    for column in columns:
        tensor = by_name.get(column.input)
        where = f"column {column.name[:80]!r}"
        if tensor is None:
            raise TollwayError(
                Code.INVALID,
                f"{where} goes to input {column.input[:80]!r}, which the graph does not have; "
                f"it has {_listed(by_name)}",
            )
        width = tensor.shape[-1] if tensor.shape else 1
        if column.index is not None and not 0 <= column.index < (width if width >= 0 else 1 << 31):
            raise TollwayError(
                Code.INVALID,
                f"{where} has index {column.index}; input {column.input[:80]!r} has {width}",
            )
        place = (column.input, column.index)
        if column.name in names or place in places:
            raise TollwayError(
                Code.INVALID, f"{where} appears twice, or shares its place with another column"
            )
        names.add(column.name)
        places.add(place)


def check_labels(labels: Sequence[object], outputs: Iterable[Tensor]) -> None:
    """Raise ``INVALID`` where the graph tells how many classes there are, and there are more or
    fewer ``labels``.

    It tells by an output of a fixed width that is named as probabilities and scores are, or is the
    only one and has columns. One probability is that of the second of two classes. Of several such
    outputs the labels are of one.
    """
    tensors = list(outputs)
    widths = {
        tensor.name: tensor.shape[-1]
        for tensor in tensors
        if tensor.datatype in _FLOATS
        and len(tensor.shape) > 1
        and tensor.shape[-1] > 0
        and (_PROBABILITIES.search(tensor.name) or (len(tensors) == 1 and tensor.shape[-1] > 1))
    }
    if not labels or not widths:
        return
    if not any(len(labels) == (2 if width == 1 else width) for width in widths.values()):
        name, width = next(iter(widths.items()))
        has = "one column, which is of two classes" if width == 1 else f"{width} columns"
        raise TollwayError(
            Code.INVALID,
            f"labels: there {'is' if len(labels) == 1 else 'are'} {len(labels)}, and output "
            f"{name[:80]!r} has {has}: give one label for each class, in the order of their "
            "probabilities",
        )


def check_golden(data: bytes, inputs: Iterable[Tensor], outputs: Iterable[Tensor]) -> None:
    """Raise ``INVALID`` unless ``data`` is golden rows for this graph. Their values are checked by
    the engine that replays them."""
    try:
        golden = msgspec.json.decode(data, type=Golden)
        request = msgspec.json.decode(golden.request, type=_GoldenRequest)
        response = msgspec.json.decode(golden.response, type=_GoldenResponse)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TollwayError(
            Code.INVALID,
            f"the golden blob is not {{request, response, atol, rtol}} with a V2 request and "
            f"response: {error}",
        ) from None
    _check_names("input", {named.name for named in request.inputs}, inputs)
    _check_names("output", {named.name for named in response.outputs}, outputs)
    if not response.outputs:
        raise TollwayError(Code.INVALID, "the golden response has no outputs to compare")


def check_background(data: bytes, inputs: Iterable[Tensor], columns: Iterable[Column]) -> None:
    """Raise ``INVALID`` unless ``data`` is background rows for this graph, each of whose inputs is
    made of columns. Their values are checked by the engine that uses them."""
    try:
        background = msgspec.json.decode(data, type=Background)
        request = msgspec.json.decode(background.request, type=_GoldenRequest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TollwayError(
            Code.INVALID, f"the background blob is not {{request}} with a V2 request: {error}"
        ) from None
    tensors = list(inputs)
    _check_names("input", {named.name for named in request.inputs}, tensors, "background")
    carried = {column.input for column in columns}
    for tensor in tensors:
        if tensor.name not in carried and not tensor.optional:
            raise TollwayError(
                Code.INVALID,
                f"input {tensor.name[:80]!r} has no columns, so that background rows explain "
                "nothing of it: declare 'columns'",
            )


def _check_names(
    what: Literal["input", "output"],
    names: set[str],
    tensors: Iterable[Tensor],
    rows: Literal["golden", "background"] = "golden",
) -> None:
    optional = {tensor.name: tensor.optional for tensor in tensors}
    known = set(optional)
    unknown = names - known
    missing = {name for name in known - names if what == "input" and not optional[name]}
    if unknown or missing:
        verb, which = ("has", unknown) if unknown else ("lacks", missing)
        raise TollwayError(
            Code.INVALID,
            f"the {rows} rows' {what}s do not fit: the blob {verb} {_listed(which)}, "
            f"the graph has {_listed(known)}",
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name[:80]) for name in sorted(names)[:20]) or "none"
