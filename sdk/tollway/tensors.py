"""Open Inference Protocol V2 bodies with the binary tensor extension, to and from numpy.

A body is a JSON header followed by the raw tensors; ``Inference-Header-Content-Length`` says where
the header ends. Numbers are little-endian and row-major, BYTES elements are a 4-byte length and the
bytes each. https://github.com/kserve/open-inference-protocol and Triton's binary data extension.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from tollway.errors import InvalidRequestError, ServerError

Array = npt.NDArray[np.generic]

HEADER_LENGTH: Final = "Inference-Header-Content-Length"
BINARY_TYPE: Final = "application/octet-stream"

_DTYPES: Final[dict[str, str]] = {
    "BOOL": "|b1",
    "UINT8": "|u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "|i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
_DATATYPES: Final = {np.dtype(name).newbyteorder("="): key for key, name in _DTYPES.items()}
_LENGTH: Final = struct.Struct("<I")
_BF16_SHIFT: Final = 16


class _Output(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, object] = {}
    data: object = None


class _Response(msgspec.Struct):
    outputs: list[_Output]


def encode_request(
    inputs: Mapping[str, Array], outputs: Sequence[str] | None = None
) -> tuple[dict[str, str], bytes]:
    """Headers and body of an inference request that also wants its answer in binary."""
    described: list[dict[str, object]] = []
    chunks: list[bytes] = []
    for name, array in inputs.items():
        datatype, raw = _encode_tensor(name, array)
        described.append(
            {
                "name": name,
                "shape": list(array.shape),
                "datatype": datatype,
                "parameters": {"binary_data_size": len(raw)},
            }
        )
        chunks.append(raw)
    document: dict[str, object] = {
        "inputs": described,
        "parameters": {"binary_data_output": True},
    }
    if outputs is not None:
        document["outputs"] = [
            {"name": name, "parameters": {"binary_data": True}} for name in outputs
        ]
    header = msgspec.json.encode(document)
    headers = {"Content-Type": BINARY_TYPE, HEADER_LENGTH: str(len(header))}
    return headers, b"".join([header, *chunks])


def decode_response(headers: Mapping[str, str], body: bytes) -> dict[str, Array]:
    """Output name -> array. Raises ServerError when the answer breaks the protocol."""
    try:
        length = int(headers.get(HEADER_LENGTH) or len(body))
        document = msgspec.json.decode(memoryview(body)[:length], type=_Response)
        found: dict[str, Array] = {}
        offset = length
        for output in document.outputs:
            size = output.parameters.get("binary_data_size")
            if size is None:
                found[output.name] = _decode_json(output)
                continue
            if not isinstance(size, int) or size < 0 or offset + size > len(body):
                raise ValueError(f"output {output.name!r} announces more bytes than there are")
            raw = memoryview(body)[offset : offset + size]
            found[output.name] = _decode_binary(output.datatype, raw).reshape(output.shape)
            offset += size
    except (ValueError, TypeError, msgspec.DecodeError, struct.error, KeyError) as error:
        raise ServerError(f"the prediction's answer cannot be read: {error}") from error
    return found


def _encode_tensor(name: str, array: Array) -> tuple[str, bytes]:
    if array.dtype.kind in "OSUT":
        return "BYTES", _encode_strings(name, array.ravel().tolist())
    datatype = _DATATYPES.get(array.dtype.newbyteorder("="))
    if datatype is None:
        raise InvalidRequestError(f"input {name!r} has the type {array.dtype}, which has no tensor")
    return datatype, array.astype(_DTYPES[datatype], order="C", copy=False).tobytes()


def _encode_strings(name: str, values: Iterable[object]) -> bytes:
    parts: list[bytes] = []
    for position, value in enumerate(values):
        if isinstance(value, str):
            data = value.encode()
        elif isinstance(value, bytes):
            data = value
        else:
            raise InvalidRequestError(f"input {name!r} data[{position}]: {value!r} is not a string")
        parts.append(_LENGTH.pack(len(data)))
        parts.append(data)
    return b"".join(parts)


def _decode_binary(datatype: str, raw: memoryview) -> Array:
    if datatype == "BYTES":
        return _strings(raw)
    if datatype == "BF16":
        halves = np.frombuffer(raw, dtype="<u2").astype(np.uint32)
        return (halves << _BF16_SHIFT).view(np.float32)
    # A copy, so that callers may write to what they get.
    return np.frombuffer(raw, dtype=_DTYPES[datatype]).astype(
        np.dtype(_DTYPES[datatype]).newbyteorder("=")
    )


def _strings(raw: memoryview) -> Array:
    values: list[str] = []
    offset = 0
    while offset < len(raw):
        (length,) = _LENGTH.unpack_from(raw, offset)
        offset += _LENGTH.size
        if offset + length > len(raw):
            raise ValueError("a string is cut off")
        values.append(bytes(raw[offset : offset + length]).decode())
        offset += length
    return _object_array(values)


def _decode_json(output: _Output) -> Array:
    flat = _flatten(output.data)
    if output.datatype == "BYTES":
        return _object_array(flat).reshape(output.shape)
    dtype = np.dtype(_DTYPES[output.datatype]).newbyteorder("=")
    if dtype.kind == "f":
        flat = [np.nan if value is None else value for value in flat]
    return np.array(flat, dtype=dtype).reshape(output.shape)


def _flatten(data: object) -> list[object]:
    if not isinstance(data, list):
        return [data]
    if not any(isinstance(item, list) for item in data):
        return data
    return [value for item in data for value in _flatten(item)]


def _object_array(values: Sequence[object]) -> Array:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
