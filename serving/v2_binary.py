"""V2 requests with the binary tensor extension: tensors after the JSON part, or nothing but one."""

from struct import unpack_from

import msgspec
import numpy as np
from msgspec import UNSET

from protocol.datatypes import DATATYPES
from serving.byte_session import ESCAPED
from serving.call import Call
from serving.signature import Signature, malformed
from serving.tensors import Array, TensorSpec, element_count, invalid, show, to_tensor
from serving.v2_reply import V2Replies
from serving.v2_request import (
    GivenInput,
    InferRequest,
    binary_size,
    check_input,
    choose_encoder,
    read_leniently,
)

_LENGTH_BYTES = 4


class V2Binary:
    """Decodes one model's requests that carry ``Inference-Header-Content-Length``."""

    def __init__(self, signature: Signature, replies: V2Replies) -> None:
        self._signature = signature
        self._replies = replies
        self._requests = msgspec.json.Decoder(InferRequest)

    def decode(self, body: bytes, header_bytes: int) -> Call:
        """The call of a body whose first ``header_bytes`` are JSON; 0: the body is the tensor.

        Numeric tensors are views of ``body``. Raises ``TollwayError``.
        """
        if header_bytes == 0:
            return self._raw(body)
        if header_bytes > len(body):
            raise malformed(
                f"Inference-Header-Content-Length is {header_bytes}, "
                f"but the body has {len(body)} bytes"
            )
        signature = self._signature
        header = body[:header_bytes]
        try:
            request = self._requests.decode(header)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            request = None
        if request is None or any(item.data is not UNSET for item in request.inputs):
            inputs, encoder = read_leniently(header, signature, self._replies)
        else:
            inputs = [
                GivenInput(
                    item.name,
                    item.shape,
                    item.datatype,
                    None,
                    _required_size(binary_size(item.parameters, item.name), item.name),
                )
                for item in request.inputs
            ]
            encoder = choose_encoder(
                signature, self._replies, request.id, request.parameters, request.outputs
            )
        feeds = self._feeds(inputs, body, header_bytes)
        return Call(feeds, signature.rows(feeds), signature.key(feeds), encoder)

    def _feeds(self, inputs: list[GivenInput], body: bytes, offset: int) -> list[Array | None]:
        signature = self._signature
        feeds: list[Array | None] = [None] * len(signature.inputs)
        for given in inputs:
            index = signature.input(given.name)
            spec = signature.inputs[index]
            if feeds[index] is not None:
                raise invalid(f"input {show(given.name)} is given twice")
            check_input(given.datatype, given.shape, spec)
            if given.binary_bytes is None:
                feeds[index] = to_tensor(given.data, spec, given.shape)
                continue
            end = offset + given.binary_bytes
            if end > len(body):
                raise malformed(
                    f"input {show(given.name)} has binary_data_size {given.binary_bytes}, "
                    f"but only {len(body) - offset} bytes follow"
                )
            feeds[index] = view(body, offset, end, spec, given.shape)
            offset = end
        if offset != len(body):
            raise malformed(f"{len(body) - offset} bytes follow the last binary tensor")
        signature.check_complete(feeds)
        return feeds

    def _raw(self, body: bytes) -> Call:
        """A body that is one tensor and nothing else; its reply is binary too, as Triton has it."""
        signature = self._signature
        if len(signature.required) != 1:
            raise malformed(
                "a raw binary request needs a model with one input; "
                f"this one has {len(signature.required)}"
            )
        spec = signature.required[0]
        shape = _raw_shape(spec, len(body))
        array = view(body, 0, len(body), spec, shape)
        feeds = [array if other is spec else None for other in signature.inputs]
        signature.check_complete(feeds)
        encoder = choose_encoder(signature, self._replies, UNSET, UNSET, UNSET, binary_default=True)
        return Call(feeds, signature.rows(feeds), signature.key(feeds), encoder)


def _required_size(size: int | None, name: str) -> int:
    if size is None:
        raise malformed(f"input {show(name)} has neither 'data' nor 'binary_data_size'")
    return size


def _raw_shape(spec: TensorSpec, body_bytes: int) -> list[int]:
    """The shape of a raw tensor: the one dimension that varies follows from the size, if any does;
    of strings it is 1."""
    varying = [axis for axis, size in enumerate(spec.shape) if size < 0]
    if len(varying) > 1:
        raise malformed(
            f"a raw binary request cannot tell the shape of input {show(spec.name)}: "
            "more than one of its dimensions is dynamic"
        )
    shape = [1 if size < 0 else size for size in spec.shape]
    item = DATATYPES[spec.datatype]
    if varying and item:
        part = element_count(shape) * item
        if body_bytes == 0 or part == 0 or body_bytes % part:
            raise invalid(
                f"input {show(spec.name)} data has {body_bytes} bytes, "
                f"which is no positive multiple of {part}, the size of a row"
            )
        shape[varying[0]] = body_bytes // part
    return shape


def view(body: bytes, start: int, end: int, spec: TensorSpec, shape: list[int]) -> Array:
    """A tensor's bytes as an array: a view of ``body`` where it lies as its type must in memory."""
    count = element_count(shape)
    item = DATATYPES[spec.datatype]
    what = f"input {show(spec.name)} data"
    if not item:
        return _strings(body, start, end, spec, shape)
    if end - start != count * item:
        raise invalid(
            f"{what} has {end - start} bytes, but shape {show(shape)} of {spec.datatype} "
            f"has {count * item}"
        )
    if not count:
        return np.empty(shape, spec.dtype)
    if spec.datatype == "BOOL":
        bits = np.frombuffer(body, np.uint8, count, start)
        if bits.max() > 1:
            index = int(np.argmax(bits > 1))
            raise invalid(f"{what}[{index}]: the byte {bits[index]} is not BOOL")
        return bits.view(np.bool_).reshape(shape)
    array = np.frombuffer(body, spec.dtype.newbyteorder("<"), count, start)
    if not array.flags.aligned:
        # The JSON part may have any length. The runtime's kernels take alignment for granted.
        array = array.copy()
    return array.astype(spec.dtype, copy=False).reshape(shape)


def _strings(body: bytes, start: int, end: int, spec: TensorSpec, shape: list[int]) -> Array:
    """Length-prefixed strings of any bytes; see :mod:`serving.byte_session` for those that are no
    text."""
    what = f"input {show(spec.name)} data"
    values: list[str] = []
    at = start
    while at < end:
        if end - at < _LENGTH_BYTES:
            raise invalid(f"{what}[{len(values)}]: its length is cut off")
        (size,) = unpack_from("<I", body, at)
        at += _LENGTH_BYTES
        if size > end - at:
            raise invalid(f"{what}[{len(values)}]: {size} bytes announced, {end - at} left")
        values.append(body[at : at + size].decode("utf-8", ESCAPED))
        at += size
    count = element_count(shape)
    if len(values) != count:
        raise invalid(f"{what} has {len(values)} elements, but its shape {show(shape)} has {count}")
    array = np.empty(count, object)
    array[:] = values
    return array.reshape(shape)
