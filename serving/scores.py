"""A classifier's graph with its last step taken off, so that it gives scores and not probabilities.

Of probabilities in FP32 no score beyond 17 can be told from infinity. The graph is changed in the
form in which it is stored, Protocol Buffers' wire format, of which a few fields are enough:
https://protobuf.dev/programming-guides/encoding and onnx.proto. The runtime checks what comes out.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

_GRAPH: Final = 7
_NODE: Final = 1
_INPUT, _OUTPUT, _OPERATOR, _ATTRIBUTE, _DOMAIN = 1, 2, 4, 5, 7
_ATTRIBUTE_NAME: Final = 1
_TEXT: Final = 4
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SEVEN_BITS: Final = 0x7F
_MORE: Final = 0x80
_NORMALISERS: Final = frozenset({b"Normalizer", b"LpNormalization"})


class UnknownGraphError(ValueError):
    """The graph does not end as a classifier's does."""


class _Field(NamedTuple):
    number: int
    start: int
    """Of the field, its tag included."""
    stop: int
    value: bytes
    """Of one with a length; else empty."""


class _Node:
    """A node's fields, as far as they matter here."""

    def __init__(self, data: bytes) -> None:
        self.fields = list(_fields(data))
        self.inputs = self._values(_INPUT)
        self.outputs = self._values(_OUTPUT)
        self.operator = b"".join(self._values(_OPERATOR))
        self._data = data

    def _values(self, number: int) -> list[bytes]:
        return [field.value for field in self.fields if field.number == number]

    def passing_on(self) -> bytes:
        """The node as an Identity."""
        kept = self._without(_OPERATOR, _ATTRIBUTE, _DOMAIN)
        return kept + _field(_OPERATOR, b"Identity")

    def plain(self) -> bytes:
        """The node with ``post_transform`` NONE."""
        parts = []
        for field in self.fields:
            if field.number == _ATTRIBUTE and _name(field.value) == b"post_transform":
                parts.append(_field(_ATTRIBUTE, _with_text(field.value, b"NONE")))
            else:
                parts.append(self._data[field.start : field.stop])
        return b"".join(parts)

    def _without(self, *numbers: int) -> bytes:
        kept = [field for field in self.fields if field.number not in numbers]
        return b"".join(self._data[field.start : field.stop] for field in kept)


def with_scores(model: bytes, output: str) -> bytes:
    """``model`` with scores in place of the probabilities in ``output``.

    Raises :class:`UnknownGraphError` when they do not come from a LinearClassifier or a Softmax, by
    way of normalisations alone.
    """
    try:
        graph = next(field for field in _fields(model) if field.number == _GRAPH)
        fields = list(_fields(graph.value))
        nodes = {at: _Node(f.value) for at, f in enumerate(fields) if f.number == _NODE}
        changed = _changed(nodes, output.encode())
    except (IndexError, StopIteration) as error:
        raise UnknownGraphError("it is no graph") from error
    parts = [
        _field(_NODE, changed[at]) if at in changed else graph.value[field.start : field.stop]
        for at, field in enumerate(fields)
    ]
    return model[: graph.start] + _field(_GRAPH, b"".join(parts)) + model[graph.stop :]


def _changed(nodes: dict[int, _Node], name: bytes) -> dict[int, bytes]:
    """What becomes of the nodes on the way back from a tensor to its classifier."""
    makers = {output: at for at, node in nodes.items() for output in node.outputs}
    changed: dict[int, bytes] = {}
    while name in makers:
        at = makers[name]
        node = nodes[at]
        if node.operator == b"LinearClassifier":
            changed[at] = node.plain()
            return changed
        if node.operator not in _NORMALISERS | {b"Softmax", b"Identity", b"Cast"}:
            break
        if node.operator in _NORMALISERS | {b"Softmax"}:
            changed[at] = node.passing_on()
        if node.operator == b"Softmax":
            return changed
        name = node.inputs[0]
    raise UnknownGraphError("its probabilities are not those of a linear classifier")


def _fields(data: bytes) -> Iterator[_Field]:
    """The fields of a message. Raises ``IndexError`` where it is cut off."""
    at = 0
    while at < len(data):
        start = at
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        value = b""
        if kind == _VARINT:
            _, at = _varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        elif kind == _BYTES:
            size, at = _varint(data, at)
            value = data[at : at + size]
            at += size
        else:
            raise IndexError(f"field of kind {kind}")
        if at > len(data):
            raise IndexError("cut off")
        yield _Field(number, start, at, value)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & _SEVEN_BITS) << shift
        if byte < _MORE:
            return value, at
        shift += 7


def _field(number: int, value: bytes) -> bytes:
    """A field with a length."""
    return _written(number << 3 | _BYTES) + _written(len(value)) + value


def _written(value: int) -> bytes:
    parts = bytearray()
    while value > _SEVEN_BITS:
        parts.append(value & _SEVEN_BITS | _MORE)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _name(attribute: bytes) -> bytes:
    return next((f.value for f in _fields(attribute) if f.number == _ATTRIBUTE_NAME), b"")


def _with_text(attribute: bytes, text: bytes) -> bytes:
    """An attribute with another string as its value."""
    kept = [f for f in _fields(attribute) if f.number != _TEXT]
    return b"".join(attribute[f.start : f.stop] for f in kept) + _field(_TEXT, text)
