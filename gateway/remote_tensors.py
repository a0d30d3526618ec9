"""Tensors between binary and JSON, for remote servers that speak JSON alone. Pure.

Their callers may send and ask for binary all the same. This is the one place where the gateway
reads elements: nobody behind it does. Numbers are little-endian and row-major; a float of 32 bits
is written so that it is read back as the same one.
"""

from collections.abc import Iterator, Sequence
from math import isinf, prod
from struct import Struct, error, pack, unpack_from
from typing import Final

import msgspec
from msgspec import Raw

from protocol.errors import Code, TollwayError

_CODES: Final = {
    "BOOL": "?", "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q", "INT8": "b",
    "INT16": "h", "INT32": "i", "INT64": "q", "FP16": "e", "FP32": "f", "FP64": "d",
}  # fmt: skip
_FLOATS: Final = "efd"
_LENGTH: Final = Struct("<I")
_NAN: Final = float("nan")


def to_json(name: str, datatype: str, shape: Sequence[int], data: memoryview) -> Raw:
    """A binary tensor's elements as a flat JSON array; NaN as null.

    Raises ``INVALID_TENSOR`` for bytes that do not fit, and for elements that JSON cannot hold.
    """
    count = prod(shape)
    if datatype == "BYTES":
        texts = list(_texts(name, data))
        if len(texts) != count:
            raise _invalid(name, f"has {len(texts)} elements, but its shape has {count}")
        return Raw(msgspec.json.encode(texts))
    code = _CODES.get(datatype)
    if code is None:
        raise _invalid(
            name, f"is {datatype}, which has no JSON form, and its server takes no other"
        )
    wanted = count * Struct(f"<{code}").size
    if wanted != len(data):
        raise _invalid(name, f"has {len(data)} bytes, but its shape of {datatype} has {wanted}")
    values = unpack_from(f"<{count}{code}", data)
    if code in _FLOATS and any(map(isinf, values)):
        raise _invalid(name, "has an infinite element, which its server's JSON cannot hold")
    return Raw(msgspec.json.encode(values))


def to_binary(datatype: str, shape: Sequence[int], data: Raw) -> bytes:
    """A JSON array, nested or flat, as a binary tensor. Raises ``ValueError`` if it is none."""
    values = list(flat(msgspec.json.decode(data)))
    if len(values) != prod(shape):
        raise ValueError("the number of elements is not the shape's")
    try:
        if datatype == "BYTES":
            texts = [str(value).encode() for value in values]
            return b"".join(part for text in texts for part in (_LENGTH.pack(len(text)), text))
        code = _CODES[datatype]
        if code in _FLOATS:
            values = [_NAN if value is None else value for value in values]
        return pack(f"<{len(values)}{code}", *values)
    except (error, TypeError, KeyError, OverflowError) as reason:
        raise ValueError(f"an element is not {datatype}") from reason


def _texts(name: str, data: memoryview) -> Iterator[str]:
    at = 0
    while at < len(data):
        if len(data) - at < _LENGTH.size:
            raise _invalid(name, "has a string whose length is cut off")
        (size,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        if size > len(data) - at:
            raise _invalid(name, "has a string that is cut off")
        try:
            yield str(data[at : at + size], "utf-8")
        except UnicodeDecodeError:
            raise _invalid(name, "has a string that is not UTF-8") from None
        at += size


def flat(data: object) -> Iterator[object]:
    """The elements of nested arrays, in row-major order; what is no array is one element."""
    if not isinstance(data, list):
        yield data
        return
    for item in data:
        if isinstance(item, list):
            yield from flat(item)
        else:
            yield item


def _invalid(name: str, what: str) -> TollwayError:
    return TollwayError(Code.INVALID_TENSOR, f"input {name[:80]!r} {what}")
