"""V2 bodies with binary tensors: what is written can be read, and broken answers are refused."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tollway.errors import InvalidRequestError, ServerError
from tollway.tensors import HEADER_LENGTH, decode_response, encode_request

NUMBERS = ["?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]


def _as_answer(headers: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
    """A request's own tensors as the outputs of an answer."""
    length = int(headers[HEADER_LENGTH])
    document = json.loads(body[:length])
    header = json.dumps({"outputs": document["inputs"]}).encode()
    return {HEADER_LENGTH: str(len(header))}, header + body[length:]


@given(
    st.sampled_from(NUMBERS).flatmap(
        lambda dtype: hnp.arrays(np.dtype(dtype), hnp.array_shapes(max_dims=3, max_side=4))
    ),
    hnp.arrays(np.dtype("<f4"), (2, 3)),
)
def test_numeric_tensors_survive_the_wire_bit_by_bit(array: np.ndarray, other: np.ndarray) -> None:
    found = decode_response(*_as_answer(*encode_request({"a": array, "b": other})))
    assert found["a"].dtype == array.dtype
    assert found["a"].shape == array.shape
    assert found["a"].tobytes() == array.tobytes()
    assert found["b"].tobytes() == other.tobytes()


@given(st.lists(st.text(), min_size=1, max_size=8))
def test_strings_of_any_script_survive_the_wire(texts: list[str]) -> None:
    array = np.array(texts, dtype=object).reshape(-1, 1)
    found = decode_response(*_as_answer(*encode_request({"a": array})))
    assert found["a"].tolist() == array.tolist()


def test_foreign_byte_order_and_strides_are_written_as_the_protocol_wants() -> None:
    array = np.arange(6, dtype=">i4").reshape(2, 3).T
    found = decode_response(*_as_answer(*encode_request({"a": array})))
    assert found["a"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_an_answer_in_json_is_read_too_with_null_as_nan() -> None:
    outputs = [
        {"name": "p", "datatype": "FP32", "shape": [2, 2], "data": [[0.5, None], [1, 2]]},
        {"name": "l", "datatype": "BYTES", "shape": [2], "data": ["a", "é"]},
    ]
    found = decode_response({}, json.dumps({"outputs": outputs}).encode())
    np.testing.assert_array_equal(found["p"], np.array([[0.5, np.nan], [1, 2]], np.float32))
    assert found["l"].tolist() == ["a", "é"]


def test_bf16_becomes_float32() -> None:
    header = json.dumps(
        {
            "outputs": [
                {
                    "name": "x",
                    "datatype": "BF16",
                    "shape": [2],
                    "parameters": {"binary_data_size": 4},
                }
            ]
        }
    ).encode()
    raw = np.array([1.5, -2.0], dtype=np.float32).view(np.uint32)
    body = header + (raw >> 16).astype("<u2").tobytes()
    found = decode_response({HEADER_LENGTH: str(len(header))}, body)
    assert found["x"].tolist() == [1.5, -2.0]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b'{"outputs": 3}',
        b'{"outputs":[{"name":"x","datatype":"FP32","shape":[9],"parameters":{"binary_data_size":4}}]}',
        b'{"outputs":[{"name":"x","datatype":"FP32","shape":[9],"data":[1]}]}',
        b'{"outputs":[{"name":"x","datatype":"NEW","shape":[1],"data":[1]}]}',
    ],
)
def test_an_answer_that_breaks_the_protocol_is_a_server_error(body: bytes) -> None:
    with pytest.raises(ServerError, match="cannot be read"):
        decode_response({}, body)


def test_a_string_that_is_cut_off_is_a_server_error() -> None:
    header = json.dumps(
        {
            "outputs": [
                {
                    "name": "x",
                    "datatype": "BYTES",
                    "shape": [1],
                    "parameters": {"binary_data_size": 5},
                }
            ]
        }
    ).encode()
    with pytest.raises(ServerError, match="cut off"):
        decode_response({HEADER_LENGTH: str(len(header))}, header + b"\x09\0\0\0a")


def test_what_no_tensor_can_hold_is_refused_by_name() -> None:
    with pytest.raises(InvalidRequestError, match="input 'a' has the type complex128"):
        encode_request({"a": np.zeros(1, dtype=complex)})
    with pytest.raises(InvalidRequestError, match=r"input 'a' data\[1\]: None is not a string"):
        encode_request({"a": np.array(["x", None], dtype=object)})
