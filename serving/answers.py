"""Reads answers that another version of a model gave, in whatever form their clients wanted."""

from typing import Any, Final

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from protocol.datatypes import DATATYPES
from protocol.errors import TollwayError
from protocol.frames import NO_HEADER, Operation
from protocol.manifest import Tensor
from serving.signature import Signature
from serving.tensors import Array, TensorSpec, widened
from serving.v2_binary import view

Answer = dict[str, Array]
"""Output -> its tensor; of JSON without datatypes, and of text, as objects."""

_OBJECTS: Final = frozenset({"", "BYTES", "BOOL"})
_INTEGERS: Final = frozenset(name for name in DATATYPES if "INT" in name)


_UNREADABLE: Final = (
    msgspec.DecodeError,
    TollwayError,
    ValueError,
    TypeError,
    LookupError,
    OverflowError,
    RecursionError,
)
"""What reading raises, whatever the bytes are."""


class UnreadableError(ValueError):
    """What should be an answer is none that can be compared."""


class _Output(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]
    data: list[Any] | UnsetType = UNSET
    parameters: dict[str, Any] | UnsetType = UNSET


class _V2(msgspec.Struct):
    outputs: list[_Output]


class _V1(msgspec.Struct):
    predictions: list[Any] | UnsetType = UNSET
    outputs: Any = UNSET


_v2: Final = msgspec.json.Decoder(_V2).decode
_v1: Final = msgspec.json.Decoder(_V1).decode


class Answers:
    """Of versions whose outputs are called as those of one signature are."""

    def __init__(self, signature: Signature) -> None:
        self._only = signature.outputs[0].name if len(signature.outputs) == 1 else None

    def read(self, operation: int, answer: bytes, header_length: int) -> Answer:
        """The tensors of an answer. Raises :class:`UnreadableError`."""
        try:
            if operation == Operation.V2_INFER:
                return _read_v2(answer, header_length)
            return self._read_v1(answer)
        except _UNREADABLE as error:
            raise UnreadableError(type(error).__name__) from error

    def _read_v1(self, answer: bytes) -> Answer:
        found = _v1(answer)
        if isinstance(rows := found.predictions, list):
            if rows and all(type(row) is dict for row in rows):
                return {name: _of_json([row[name] for row in rows]) for name in rows[0]}
            return self._alone(rows)
        if isinstance(found.outputs, dict):
            return {name: _of_json(value) for name, value in found.outputs.items()}
        return self._alone(found.outputs)

    def _alone(self, value: object) -> Answer:
        """Of a version with one output; its name is not told."""
        return {} if self._only is None else {self._only: _of_json(value)}


def _read_v2(answer: bytes, header_length: int) -> Answer:
    if header_length == NO_HEADER:
        header_length = len(answer)
    offset = header_length
    found: Answer = {}
    for output in _v2(answer[:header_length]).outputs:
        if output.datatype not in DATATYPES:
            raise ValueError("no datatype")
        if isinstance(output.data, list):
            found[output.name] = _of_json(output.data, output.datatype).reshape(output.shape)
            continue
        parameters = {} if isinstance(output.parameters, UnsetType) else output.parameters
        end = offset + int(parameters["binary_data_size"])
        if end > len(answer):
            raise ValueError("cut off")
        spec = TensorSpec(
            Tensor(name=output.name, datatype=output.datatype, shape=tuple(output.shape))
        )
        array = view(answer, offset, end, spec, output.shape)
        found[output.name] = widened(array) if output.datatype == "BF16" else array
        offset = end
    return found


def _of_json(value: object, datatype: str = "") -> Array:
    if datatype in _INTEGERS:
        return np.array(value, np.uint64 if datatype == "UINT64" else np.int64)
    # Where no datatype is told, as in V1, whoever compares knows what the values should be.
    return np.array(value, object if datatype in _OBJECTS else np.float64)
