"""Requests and answers of remote versions are of the tensors that they declare, or are refused."""

import json
import struct
from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st
from msgspec import Raw

from gateway.remote_bodies import Outgoing, RemoteBodies
from gateway.remote_messages import MalformedAnswer
from gateway.remote_signature import _elements, bytes_misfit
from protocol.errors import Code, TollwayError
from protocol.frames import NO_HEADER, Operation
from protocol.manifest import Manifest, Tensor
from tests.fixtures.remote_server import tensor

MANIFEST = Manifest(
    model="m",
    inputs=(
        Tensor(name="x", datatype="FP32", shape=(-1, 2)),
        Tensor(name="s", datatype="BYTES", shape=(-1,), optional=True),
    ),
    outputs=(
        Tensor(name="y", datatype="FP32", shape=(-1,)),
        Tensor(name="t", datatype="BYTES", shape=(-1,)),
    ),
)
BINARY = RemoteBodies(MANIFEST, 1, binary=True)
JSON_ONLY = RemoteBodies(MANIFEST, 1, binary=False)
EIGHT = struct.pack("<2f", 1, 2)
X = tensor("x", "FP32", [1, 2], data=[1, 2])
X_BINARY = tensor("x", "FP32", [1, 2], parameters={"binary_data_size": 8})
TEXT = struct.pack("<I", 2) + b"ab"


def asked(
    bodies: RemoteBodies, inputs: list[dict[str, Any]], binary: bytes | None = None, **fields: Any
) -> Outgoing:
    header = json.dumps({"inputs": inputs, **fields}).encode()
    length = NO_HEADER if binary is None else len(header)
    return bodies.outgoing(header + (binary or b""), length, Operation.V2_INFER, 0)


@pytest.mark.parametrize("bodies", [BINARY, JSON_ONLY])
@pytest.mark.parametrize(
    ("inputs", "binary", "said"),
    [
        ([X, tensor("z", "FP32", [1], data=[1])], None, "unknown input 'z'"),
        ([tensor("s", "BYTES", [1], data=["a"])], None, "input 'x' is missing"),
        ([X, X], None, "input 'x' is given twice"),
        ([{**X, "datatype": "FP64"}], None, "has datatype 'FP64'; the model takes FP32"),
        ([{**X, "datatype": "F"}], None, "has datatype 'F', which is no datatype of the protocol"),
        ([{**X, "shape": [2]}], None, "has 1 dimensions in shape [2], but the model takes [-1, 2]"),
        ([{**X, "shape": [1, 3]}], None, "has shape [1, 3], but the model takes [-1, 2]"),
        ([{**X_BINARY, "shape": [2, 1]}], EIGHT, "has shape [2, 1], but the model takes [-1, 2]"),
        ([{**X, "shape": [2, 2]}], None, "data has 2 elements, but its shape [2, 2] has 4"),
        ([{**X, "data": [[], []]}], None, "data has 0 elements, but its shape [1, 2] has 2"),
        ([tensor("x", "FP32", [1, 2])], None, "has neither 'data' nor 'binary_data_size'"),
        ([{**X_BINARY, "data": [1, 2]}], EIGHT, "has both 'data' and 'binary_data_size'"),
        ([X_BINARY], EIGHT[:5], "has binary_data_size 8, but only 5 bytes follow"),
        ([X_BINARY], EIGHT * 2, "8 bytes follow the last binary tensor"),
        ([{**X_BINARY, "shape": [2, 2]}], EIGHT, "has 8 bytes, but shape [2, 2] of FP32 has 16"),
        ([X_BINARY, tensor("s", "BYTES", [2], parameters={"binary_data_size": 6})], EIGHT + TEXT,
         "data has 1 elements, but its shape [2] has 2"),
    ],
)  # fmt: skip
def test_inputs_that_the_model_does_not_take_are_refused(
    bodies: RemoteBodies, inputs: list[dict[str, Any]], binary: bytes | None, said: str
) -> None:
    with pytest.raises(TollwayError) as refused:
        asked(bodies, inputs, binary)
    assert refused.value.code is Code.INVALID_TENSOR
    assert said in refused.value.public


@pytest.mark.parametrize(
    ("inputs", "binary", "rows"),
    [
        ([X], None, 1),
        ([tensor("x", "FP32", [2, 2], data=[[1, 2], [3, 4]])], None, 2),
        ([tensor("x", "FP32", [0, 2], data=[])], None, 0),
        ([X_BINARY], EIGHT, 1),
        ([X_BINARY, tensor("s", "BYTES", [1], data=["a,b"])], EIGHT, 1),
        ([X_BINARY, tensor("s", "BYTES", [1], parameters={"binary_data_size": 6})], EIGHT + TEXT,
         1),
    ],
)  # fmt: skip
def test_inputs_that_it_takes_pass(
    inputs: list[dict[str, Any]], binary: bytes | None, rows: int
) -> None:
    assert asked(BINARY, inputs, binary).rows == rows
    assert asked(JSON_ONLY, inputs, binary).rows == rows


def test_a_raw_body_has_the_size_of_its_rows() -> None:
    assert BINARY.outgoing(EIGHT * 3, 0, Operation.V2_INFER, 0).rows == 3
    with pytest.raises(TollwayError, match="no positive multiple of 8"):
        BINARY.outgoing(EIGHT + b"1", 0, Operation.V2_INFER, 0)
    fixed = Manifest(
        model="m", inputs=(Tensor(name="x", datatype="FP32", shape=(1, 2)),), outputs=()
    )
    with pytest.raises(TollwayError, match=r"has 16 bytes, but shape \[1, 2\] of FP32 has 8"):
        RemoteBodies(fixed, 1, binary=True).outgoing(EIGHT * 2, 0, Operation.V2_INFER, 0)


@pytest.mark.parametrize(
    ("outputs", "said"),
    [([{"name": "z"}], "unknown output 'z'"), ([{"name": "y"}] * 2, "requested twice")],
)
def test_outputs_that_the_model_does_not_have_are_refused(
    outputs: list[dict[str, Any]], said: str
) -> None:
    with pytest.raises(TollwayError, match=said):
        asked(BINARY, [X], outputs=outputs)


Y = tensor("y", "FP32", [2], data=[1, 2])
T = tensor("t", "BYTES", [1], data=["a,b"])


def answered(given: list[dict[str, Any]], binary: bytes, **fields: Any) -> bytes:
    header = json.dumps({"outputs": given}).encode()
    length = str(len(header)) if binary else None
    return BINARY.incoming(header + binary, length, asked(BINARY, [X], **fields))[0]


@pytest.mark.parametrize(
    ("outputs", "binary", "fields"),
    [
        ([Y, T], b"", {}),
        ([Y], b"", {}),  # MLServer gives only one where nothing is asked for by name
        ([Y], b"", {"outputs": [{"name": "y"}]}),
        ([tensor("y", "FP32", [2, 1], data=[[1], [2]])], b"", {}),
        ([tensor("y", "BYTES", [1], data=["0.9:1:cat"])], b"",
         {"outputs": [{"name": "y", "parameters": {"classification": 1}}]}),
        ([tensor("y", "FP32", [2], parameters={"binary_data_size": 8}), T], EIGHT, {}),
    ],
)  # fmt: skip
def test_answers_of_the_models_outputs_pass(
    outputs: list[dict[str, Any]], binary: bytes, fields: dict[str, Any]
) -> None:
    assert b'"model_name":"m"' in answered(outputs, binary, **fields)


@pytest.mark.parametrize(
    ("outputs", "binary", "fields", "said"),
    [
        ([], b"", {}, "missing"),
        ([T], b"", {"outputs": [{"name": "y"}]}, "missing"),
        ([Y, Y], b"", {}, "twice"),
        ([{**Y, "name": "q"}], b"", {}, "unknown output 'q'"),
        ([{**Y, "datatype": "INT32"}], b"", {}, "is not FP32"),
        ([{**Y, "shape": [5, 2]}], b"", {}, "has 2 elements, but its shape"),
        ([{**T, "shape": [2]}], b"", {}, "has 1 elements, but its shape"),
        ([tensor("y", "FP32", [3], parameters={"binary_data_size": 8})], EIGHT, {}, "has 8 bytes"),
        ([tensor("y", "FP32", [2], parameters={"binary_data_size": 9})], EIGHT, {}, "8 bytes fol"),
        ([tensor("y", "FP32", [2], parameters={"binary_data_size": -1})], EIGHT, {}, "be read"),
        ([tensor("t", "BYTES", [2], parameters={"binary_data_size": 6})], TEXT, {}, "1 elements"),
        ([Y], EIGHT, {}, "8 bytes follow"),
    ],
)
def test_other_answers_are_malformed(
    outputs: list[dict[str, Any]], binary: bytes, fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(MalformedAnswer, match=said):
        answered(outputs, binary, **fields)


@drawn(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(alphabet=',[]"{}a', max_size=4),
        lambda inner: st.lists(inner, max_size=4),
        max_leaves=12,
    )
)
def test_elements_are_counted_whatever_they_are(data: Any) -> None:
    def count(value: Any) -> int:
        return sum(map(count, value)) if isinstance(value, list) else 1

    for separators in ((",", ":"), (" , ", " : ")):
        assert _elements(Raw(json.dumps(data, separators=separators).encode())) == count(data)


@drawn(st.lists(st.binary(max_size=5)), st.binary(min_size=1, max_size=3))
def test_strings_are_counted_by_their_lengths(texts: list[bytes], more: bytes) -> None:
    data = b"".join(struct.pack("<I", len(text)) + text for text in texts)
    assert bytes_misfit("BYTES", [len(texts)], memoryview(data)) == ""
    assert "shape" in bytes_misfit("BYTES", [len(texts) + 1], memoryview(data))
    assert "cut off" in bytes_misfit("BYTES", [len(texts)], memoryview(data + more))
