"""Tensors are the same in binary and in JSON, or are refused."""

import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from gateway.remote_tensors import to_binary, to_json
from protocol.errors import TollwayError

INTEGERS = {"UINT8": "B", "INT8": "b", "UINT16": "H", "INT16": "h", "UINT32": "I", "INT32": "i",
            "UINT64": "Q", "INT64": "q", "BOOL": "?"}  # fmt: skip
FLOATS = {"FP16": ("e", 16), "FP32": ("f", 32), "FP64": ("d", 64)}


@st.composite
def tensors(draw: st.DrawFn) -> tuple[str, list[int], bytes]:
    """Datatype, shape and bytes of a tensor whose elements JSON can hold."""
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    count = 1
    for size in shape:
        count *= size
    datatype = draw(st.sampled_from([*INTEGERS, *FLOATS, "BYTES"]))
    if datatype == "BYTES":
        texts = draw(st.lists(st.text(max_size=5), min_size=count, max_size=count))
        parts = [text.encode() for text in texts]
        return datatype, shape, b"".join(struct.pack("<I", len(p)) + p for p in parts)
    if datatype in FLOATS:
        code, width = FLOATS[datatype]
        element: st.SearchStrategy[Any] = st.floats(width=width, allow_infinity=False)  # type: ignore[arg-type]
    else:
        code = INTEGERS[datatype]
        size = struct.calcsize(code) * 8
        low, high = (
            (0, 2**size - 1) if code.isupper() else (-(2 ** (size - 1)), 2 ** (size - 1) - 1)
        )
        element = st.booleans() if code == "?" else st.integers(low, high)
    values = draw(st.lists(element, min_size=count, max_size=count))
    values = [float("nan") if value != value else value for value in values]  # noqa: PLR0124
    return datatype, shape, struct.pack(f"<{count}{code}", *values)


@given(tensors())
def test_a_tensor_comes_back_as_it_went(case: tuple[str, list[int], bytes]) -> None:
    datatype, shape, data = case
    assert to_binary(datatype, shape, to_json("x", datatype, shape, memoryview(data))) == data


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "said"),
    [
        ("FP32", [2], b"1234", "has 4 bytes"),
        ("FP32", [1], struct.pack("<f", float("inf")), "infinite"),
        ("BF16", [1], b"12", "no JSON form"),
        ("BYTES", [1], b"\1\0\0", "cut off"),
        ("BYTES", [1], b"\5\0\0\0ab", "cut off"),
        ("BYTES", [1], b"\1\0\0\0\xff", "UTF-8"),
        ("BYTES", [2], b"\1\0\0\0a", "1 elements"),
        ("INT64", [2**62, 2**62], b"", "bytes"),
    ],
)
def test_bytes_that_are_no_such_tensor_are_refused(
    datatype: str, shape: list[int], data: bytes, said: str
) -> None:
    with pytest.raises(TollwayError, match=said):
        to_json("x", datatype, shape, memoryview(data))


@pytest.mark.parametrize(
    ("datatype", "shape", "data"),
    [
        ("FP32", [2], [1.0]),
        ("FP32", [1], ["a"]),
        ("FP32", [1], [1e300]),
        ("INT8", [1], [300]),
        ("INT8", [1], [None]),
        ("BF16", [1], [1.0]),
    ],
)
def test_json_that_is_no_such_tensor_is_refused(
    datatype: str, shape: list[int], data: list[object]
) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 -- the message says which of several
        to_binary(datatype, shape, Raw(msgspec.json.encode(data)))


def test_nested_rows_and_nulls_are_read_as_they_lie() -> None:
    assert to_binary("INT8", [2, 2], Raw(b"[[1,2],[3,4]]")) == b"\1\2\3\4"
    assert to_binary("FP32", [1], Raw(b"[null]")) == struct.pack("<f", float("nan"))
