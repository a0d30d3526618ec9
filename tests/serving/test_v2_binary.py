"""The binary tensor extension, both ways."""

import json
from struct import pack
from typing import Any

import numpy as np
import pytest

from protocol.datatypes import NUMPY_NAMES
from protocol.frames import NO_HEADER
from tests.serving import models
from tests.serving.conftest import MakeRig
from tests.serving.rig import Rig, one_input
from tests.serving.test_v2_json import VALUES


def binary_request(
    data: bytes, shape: list[int], datatype: str = "FP32", name: str = "x", **more: Any
) -> tuple[bytes, int]:
    """A body with one binary tensor, and its header's length."""
    tensor = {
        "name": name,
        "shape": shape,
        "datatype": datatype,
        "parameters": {"binary_data_size": len(data)},
    }
    header = json.dumps({"inputs": [tensor], **more}).encode()
    return header + data, len(header)


def strings(*values: bytes) -> bytes:
    return b"".join(pack("<I", len(value)) + value for value in values)


def as_bytes(values: list[Any], datatype: str) -> bytes:
    if datatype == "BYTES":
        return strings(*(value.encode() for value in values))
    return np.array(values, NUMPY_NAMES[datatype]).tobytes()


def split(answer: bytes, length: int) -> tuple[Any, bytes]:
    return json.loads(answer[:length]), answer[length:]


@pytest.mark.parametrize("datatype", VALUES)
def test_every_datatype_goes_in_and_out_exactly(rig: MakeRig, datatype: str) -> None:
    data = as_bytes(VALUES[datatype] * 2, datatype)
    body, length = binary_request(data, [2, 3], datatype, parameters={"binary_data_output": True})
    status, answer, header = rig(models.identity(datatype)).ask(body, header=length)
    assert status == 200
    document, tail = split(answer, header)
    assert document["outputs"] == [
        {
            "name": "y",
            "datatype": datatype,
            "shape": [2, 3],
            "parameters": {"binary_data_size": len(data)},
        }
    ]
    assert tail == data


def test_bf16_goes_in_and_out_as_its_bits(rig: MakeRig) -> None:
    made = rig(models.bfloat16())
    data = np.array([0x3F80, 0x4000], np.uint16).tobytes()
    body, length = binary_request(data, [1, 2], "BF16", parameters={"binary_data_output": True})
    status, answer, header = made.ask(body, header=length)
    assert (status, answer[header:]) == (200, data)
    body, length = binary_request(data, [1, 2], "BF16")
    assert made.ask(body, header=length)[1].startswith(b"output 'y' is BF16, which has no JSON")


def test_non_finite_floats_are_exact(rig: MakeRig) -> None:
    data = np.array([np.nan, np.inf, -np.inf], np.float32).tobytes()
    body, length = binary_request(
        data, [1, 3], outputs=[{"name": "y", "parameters": {"binary_data": True}}]
    )
    _, answer, header = rig(models.identity()).ask(body, header=length)
    assert answer[header:] == data


def test_some_outputs_may_be_binary_and_others_json(rig: MakeRig) -> None:
    request = one_input([1, 2, 3], [1, 3], name="input")
    request["outputs"] = [
        {"name": "probabilities", "parameters": {"binary_data": True}},
        {"name": "label"},
    ]
    status, answer, header = rig(models.classifier()).ask(json.dumps(request).encode())
    assert status == 200
    assert header != NO_HEADER
    document, tail = split(answer, header)
    assert document["outputs"][0]["parameters"] == {"binary_data_size": 12}
    assert "data" not in document["outputs"][0]
    assert document["outputs"][1]["data"] == [2]
    assert np.frombuffer(tail, np.float32).argmax() == 2


def test_binary_and_json_inputs_mix(rig: MakeRig) -> None:
    inputs = [
        {"name": "age", "shape": [1, 1], "datatype": "FP32", "parameters": {"binary_data_size": 4}},
        {"name": "city", "shape": [1, 1], "datatype": "BYTES", "data": ["Ulm"]},
        {
            "name": "visits",
            "shape": [1, 1],
            "datatype": "INT64",
            "parameters": {"binary_data_size": 8},
        },
        {
            "name": "member",
            "shape": [1, 1],
            "datatype": "BOOL",
            "parameters": {"binary_data_size": 1},
        },
    ]
    header = json.dumps({"inputs": inputs}).encode()
    body = header + pack("<fq?", 1.5, 7, True)
    body = header + pack("<f", 1.5) + pack("<q", 7) + b"\x01"
    status, answer, _ = rig(models.columns()).ask(body, header=len(header))
    assert status == 200
    assert [o["data"] for o in json.loads(answer)["outputs"]] == [[1.5], ["Ulm"], [7], [True]]


def test_a_raw_body_is_the_only_input_and_is_answered_in_binary(rig: MakeRig) -> None:
    data = np.arange(6, dtype=np.float32).tobytes()
    made = rig(models.identity())
    status, answer, header = made.ask(data, header=0)
    assert status == 200
    assert answer[header:] == data
    assert b"multiple of 12" in made.ask(data[:-1], header=0)[1]
    assert b"multiple of 12" in made.ask(b"", header=0)[1]


def test_a_raw_body_needs_a_model_with_one_input(rig: MakeRig) -> None:
    assert b"this one has 4" in rig(models.columns()).ask(b"xxxx", header=0)[1]


def test_a_numeric_tensor_is_a_view_of_the_body(rig: MakeRig) -> None:
    body, length = binary_request(b"\0" * 12, [1, 3])
    feed = rig(models.identity()).binary.decode(body, length).feeds[0]
    assert feed is not None
    assert not feed.flags.owndata


def refused(made: Rig, body: bytes, header: int) -> str:
    status, answer, _ = made.ask(body, header=header)
    assert status == 400
    return answer.decode()


def test_sizes_that_do_not_fit_are_refused(rig: MakeRig) -> None:
    made = rig(models.identity())
    body, length = binary_request(b"\0" * 12, [1, 3])
    assert "but the body has" in refused(made, body, len(body) + 1)
    assert "but only 11 bytes follow" in refused(made, body[:-1], length)
    assert "1 bytes follow the last binary tensor" in refused(made, body + b"\0", length)
    body, length = binary_request(b"\0" * 8, [1, 3])
    assert "has 8 bytes, but shape [1, 3] of FP32 has 12" in refused(made, body, length)
    body, length = binary_request(b"\0" * 12, [2**61, 3])
    assert "has 12 bytes, but shape" in refused(made, body, length)
    assert "has no Inference-Header-Content-Length" in made.refused(body[:length])


@pytest.mark.parametrize("size", [-1, 1.5, "12", True])
def test_a_size_that_is_none_is_refused(rig: MakeRig, size: object) -> None:
    tensor = {"name": "x", "shape": [1, 3], "datatype": "FP32"}
    header = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": size}}]}).encode()
    assert "is not a size in bytes" in refused(rig(models.identity()), header, len(header))


def test_strings_must_be_whole(rig: MakeRig) -> None:
    made = rig(models.identity("BYTES", (None, 1)))
    for data, reason in [
        (strings(b"ok")[:-1], "input 'x' data[0]: 2 bytes announced, 1 left"),
        (strings(b"ok") + b"\0", "input 'x' data[1]: its length is cut off"),
        (strings(b"a", b"b"), "has 2 elements, but its shape [1, 1] has 1"),
        (b"\xff\xff\xff\xff", "4294967295 bytes announced, 0 left"),
    ]:
        body, length = binary_request(data, [1, 1], "BYTES")
        assert reason in refused(made, body, length)


def test_a_bool_is_zero_or_one(rig: MakeRig) -> None:
    body, length = binary_request(b"\0\1\2", [1, 3], "BOOL")
    assert "the byte 2 is not BOOL" in refused(rig(models.identity("BOOL")), body, length)
