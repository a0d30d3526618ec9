"""V2 inference requests in JSON: a typed fast path, and one that reads everything and says why."""

import struct
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from protocol.datatypes import BINARY_ONLY
from serving.call import Call
from serving.signature import Signature, malformed
from serving.tensors import (
    FLOATS,
    Array,
    TensorSpec,
    element_count,
    invalid,
    packer,
    show,
    to_tensor,
)
from serving.v2_reply import V2Replies
from serving.v2_request import (
    InferRequest,
    Parameters,
    RequestedOutput,
    check_input,
    choose_encoder,
    read_leniently,
)

Elements = {
    **dict.fromkeys(FLOATS, list[float | list[float | None] | None]),
    "BOOL": list[bool | list[bool]],
    "BYTES": list[str | list[str]],
}
"""Datatype -> what msgspec decodes its data as: flat, or rows of values (integers otherwise)."""
_INTEGERS: Final = list[int | list[int]]
_NOT_FAST: Final = (
    msgspec.DecodeError,
    UnicodeDecodeError,
    RecursionError,
    ValueError,  # numpy: ragged rows; msgspec's and unicode's errors are ValueErrors as well
    OverflowError,
    FloatingPointError,
)


class V2Json:
    """Decodes one model's JSON requests.

    The fast path takes well-formed requests only; whatever it cannot take goes to the slow path,
    which decodes it after all (bare NaN, deeper nesting, inputs in another order) or raises the
    error that names what is wrong. So the fast path needs no error messages.
    """

    def __init__(self, signature: Signature, replies: V2Replies) -> None:
        self._signature = signature
        self._replies = replies
        self._data = [
            msgspec.json.Decoder(Elements.get(spec.datatype, _INTEGERS))
            for spec in signature.inputs
        ]
        self._requests: msgspec.json.Decoder[InferRequest] = msgspec.json.Decoder(InferRequest)
        self._binary_only = any(spec.datatype in BINARY_ONLY for spec in signature.inputs)
        elements = {repr(Elements.get(spec.datatype, _INTEGERS)) for spec in signature.inputs}
        self._typed = len(elements) == 1
        if self._typed:
            # Inputs of one kind: their data is decoded in the same pass as the rest.
            kind = Elements.get(signature.inputs[0].datatype, _INTEGERS)
            self._requests = msgspec.json.Decoder(_typed_request(kind))

    def decode(self, body: bytes) -> Call:
        """The call that a request body asks for. Raises ``TollwayError`` with the reason if none.

        The caller has set numpy to raise on overflow: a float beyond FP32 must not become infinite.
        """
        signature = self._signature
        try:
            request = self._requests.decode(body)
            feeds = self._fast(request)
        except _NOT_FAST:
            feeds = None
        if feeds is None:
            return self._slow(body)
        encoder = choose_encoder(
            signature, self._replies, request.id, request.parameters, request.outputs
        )
        if signature.bound:
            signature.check_bound(feeds)
        if signature.simple_key is not None and len(feeds) == 1:
            return Call(feeds, len(feeds[0]), signature.simple_key, encoder)  # type: ignore[arg-type]
        return Call(feeds, signature.rows(feeds), signature.key(feeds), encoder)

    def _fast(self, request: InferRequest) -> list[Array | None] | None:
        inputs = request.inputs
        specs = self._signature.inputs
        if len(inputs) > len(specs) or self._binary_only:
            return None
        feeds: list[Array | None] = []
        left_out = 0
        for index, spec in enumerate(specs):
            place = index - left_out
            if spec.optional and (place == len(inputs) or inputs[place].name != spec.name):
                left_out += 1
                feeds.append(None)
                continue
            if place == len(inputs):
                return None
            given = inputs[place]
            shape = given.shape
            count = _elements(shape, spec)
            if (
                given.name != spec.name
                or given.datatype != spec.datatype
                or given.parameters is not UNSET
                or given.data is UNSET
                or count < 0
            ):
                return None
            data = given.data if self._typed else self._data[index].decode(given.data)
            array = _to_array(data, spec, shape, count)
            if array is None:
                return None
            feeds.append(array)
        return feeds if len(inputs) == len(specs) - left_out else None

    def _slow(self, body: bytes) -> Call:
        signature = self._signature
        inputs, encoder = read_leniently(body, signature, self._replies)
        feeds: list[Array | None] = [None] * len(signature.inputs)
        for given in inputs:
            index = signature.input(given.name)
            spec = signature.inputs[index]
            if feeds[index] is not None:
                raise invalid(f"input {show(given.name)} is given twice")
            if given.binary_bytes is not None:
                raise malformed(
                    f"input {show(given.name)} has binary_data_size, "
                    "but the request has no Inference-Header-Content-Length"
                )
            check_input(given.datatype, given.shape, spec)
            feeds[index] = to_tensor(given.data, spec, given.shape)
        signature.check_complete(feeds)
        return Call(feeds, signature.rows(feeds), signature.key(feeds), encoder)


def _elements(shape: list[int], spec: TensorSpec) -> int:
    """How many elements a tensor of ``shape`` has; -1: the slow path must look at the shape."""
    if spec.rows:  # nearly always
        fits = len(shape) > 0 and shape[0] > 0 and shape[1:] == spec.trailing
        return shape[0] * spec.row_elements if fits else -1
    if len(shape) != len(spec.shape):
        return -1
    for given, size in zip(shape, spec.shape, strict=True):
        if given < 1 or (size >= 0 and given != size):
            return -1
    return element_count(shape)


def _to_array(data: Any, spec: TensorSpec, shape: list[int], count: int) -> Array | None:  # noqa: ANN401
    """``data`` as msgspec typed it, in ``shape``, which has ``count`` elements; None where only the
    slow path can tell."""
    if spec.letter and len(data) == count:
        try:
            return np.ndarray(shape, spec.dtype, packer(count, spec.letter)(*data))
        except struct.error:
            pass  # there are nulls or rows among the elements
    if spec.datatype == "BYTES":
        if any(type(item) is list for item in data) or len(data) != count:
            return None
        array: Array = np.array(data, object)
    else:
        array = np.array(data, spec.dtype)
        if array.ndim > 1 and list(array.shape) != shape:
            return None
    return array.reshape(shape)


def _typed_request(elements: object) -> type[InferRequest]:
    """InferRequest with inputs whose data is decoded as ``elements``."""
    typed_input = msgspec.defstruct(
        "TypedInput",
        [
            ("name", str),
            ("shape", list[int]),
            ("datatype", str),
            ("data", elements),
            ("parameters", Parameters, UNSET),
        ],
    )
    return msgspec.defstruct(  # type: ignore[return-value]  # same attributes, tighter types
        "TypedRequest",
        [
            ("inputs", list[typed_input]),  # type: ignore[valid-type]
            ("id", str | UnsetType, UNSET),
            ("parameters", Parameters, UNSET),
            ("outputs", list[RequestedOutput] | UnsetType, UNSET),
        ],
    )
