"""Requests made to break a decoder: each gets an answer or a 400, in bounded time and memory."""

import json
import tracemalloc
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.frames import NO_HEADER, Operation
from tests.serving import models
from tests.serving.models import tensor
from tests.serving.rig import Rig, one_input
from tests.serving.test_optional import scaled
from tests.serving.test_types import binaries, values_of

DATATYPES = ["FP32", "INT64", "BOOL", "BYTES", "BF16", "FP16"]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    """Several inputs of several types, two of whose dimensions share a name."""
    kinds: list[tuple[str, str, models.Shape]] = [
        ("a", "FP32", ("rows", "n")),
        ("b", "INT64", ("n",)),
        ("c", "BYTES", (None, 1)),
        ("d", "BOOL", ()),
    ]
    graph = models.model(
        [models.helper.make_node("Identity", [name], [name * 2]) for name, _, _ in kinds],
        [tensor(*kind) for kind in kinds],
        [tensor(name * 2, datatype, shape) for name, datatype, shape in kinds],
    )
    return Rig(graph, tmp_path_factory.mktemp("mixed"))


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Rigs around identities of one type."""

    @cache
    def make(datatype: str) -> Rig:
        graph = models.identity(datatype, (None, None))
        return Rig(graph, tmp_path_factory.mktemp("single"))

    return make


def sound() -> tuple[bytes, int]:
    """A binary request that the mixed graph answers."""
    shapes = {"a": ("FP32", [2, 3]), "b": ("INT64", [3]), "c": ("BYTES", [2, 1]), "d": ("BOOL", [])}
    arrays = {name: values_of(datatype, shape) for name, (datatype, shape) in shapes.items()}
    return binaries(arrays, {name: datatype for name, (datatype, _) in shapes.items()})


def ask_in_every_way(made: Rig, body: bytes, header: int) -> None:
    assert made.ask(body, header=header)[0] in (200, 400)
    assert made.ask(body[:header])[0] in (200, 400)
    assert made.ask(body, header=0)[0] in (200, 400)
    assert made.ask(body[:header], Operation.V1_PREDICT)[0] in (200, 400)


@given(data=st.data())
@settings(deadline=None, max_examples=150)
def test_a_sound_binary_request_with_bytes_changed_is_answered_or_refused(
    mixed: Rig, data: st.DataObject
) -> None:
    body, header = sound()
    assert mixed.ask(body, header=header)[0] == 200
    changed = bytearray(body)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(changed) - 1))
        how = data.draw(st.sampled_from(["set", "cut", "insert"]))
        if how == "set":
            changed[place] = data.draw(st.integers(0, 255))
        elif how == "cut":
            del changed[place : place + data.draw(st.integers(1, 8))]
        else:
            changed[place:place] = data.draw(st.binary(min_size=1, max_size=8))
        if not changed:
            break
    ask_in_every_way(mixed, bytes(changed), header + data.draw(st.integers(-3, 3)))


SIZES = st.integers(-2, 4) | st.sampled_from(
    [2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64, 10**400]
)


@given(
    datatype=st.sampled_from(DATATYPES),
    told=st.sampled_from([*DATATYPES, "", "FP8"]),
    shape=st.lists(SIZES, max_size=3) | st.just([1] * 100),
    size=SIZES | st.booleans() | st.none() | st.text(max_size=2),
    tail=st.binary(max_size=24),
    names=st.lists(st.sampled_from(["x", "y", "\ud800"]), min_size=1, max_size=3),
    outputs=st.none() | st.lists(st.sampled_from(["y", "x", ""]), max_size=3),
)
@settings(deadline=None, max_examples=200)
def test_no_binary_request_gets_anything_but_an_answer_or_a_refusal(
    single: Any,
    datatype: str,
    told: str,
    shape: list[int],
    size: object,
    tail: bytes,
    names: list[str],
    outputs: list[str] | None,
) -> None:
    request: dict[str, Any] = {
        "inputs": [
            {
                "name": name,
                "shape": shape,
                "datatype": told,
                "parameters": {"binary_data_size": size},
            }
            for name in names
        ]
    }
    if outputs is not None:
        parameters = {"binary_data": True}
        request["outputs"] = [{"name": name, "parameters": parameters} for name in outputs]
    header = json.dumps(request).encode()
    ask_in_every_way(single(datatype), header + tail, len(header))


DEEP = 100_000
HOSTILE = {
    "nested data": b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":%b1%b}]}'
    % (b"[" * DEEP, b"]" * DEEP),
    "nested body": b"[" * DEEP,
    "nested objects": b'{"a":' * DEEP,
    "nested parameters": b'{"inputs":[],"parameters":{"a":%b1%b}}' % (b"[" * DEEP, b"]" * DEEP),
    "many digits": b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[%b]}]}'
    % (b"9" * 500_000),
    "many digits of a size": b'{"inputs":[{"name":"x","shape":[%b],"datatype":"FP32","data":[]}]}'
    % (b"9" * 500_000),
    "many digits of a fraction": b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":'
    b"[0.%b,1,2]}]}" % (b"9" * 500_000),
    "many dimensions": b'{"inputs":[{"name":"x","shape":[%b1],"datatype":"FP32","data":[]}]}'
    % (b"1," * 200_000),
    "many inputs": b'{"inputs":[%b{}]}' % (b"{}," * 100_000),
    "one input many times": b'{"inputs":[%b]}'
    % b",".join([b'{"name":"x","shape":[0,3],"datatype":"FP32","data":[]}'] * 10_000),
    "one output many times": b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":'
    b'[1,2,3]}],"outputs":[%b]}' % b",".join([b'{"name":"y"}'] * 10_000),
    "many empty rows": b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[%b[]]}]}'
    % (b"[]," * 100_000),
    "a long name": b'{"inputs":[{"name":"%b","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}'
    % (b"x" * 500_000),
    "bytes that are no text": b'{"inputs":[{"name":"\xff\xfe","shape":[1,3],"datatype":"FP32"}]}',
    "half a surrogate": b'{"inputs":[{"name":"\\ud800","shape":[1,3],"datatype":"FP32","data":'
    b"[]}]}",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_body_is_refused_shortly_and_in_little_memory(single: Any, kind: str) -> None:
    made, body = single("FP32"), HOSTILE[kind]
    tracemalloc.start()
    try:
        for operation, header in (
            (Operation.V2_INFER, NO_HEADER),
            (Operation.V2_INFER, len(body)),
            (Operation.V1_PREDICT, NO_HEADER),
        ):
            status, answer, _ = made.ask(body, operation, header)
            fine = kind == "many digits of a fraction" and operation == Operation.V2_INFER
            assert status == (200 if fine else 400)
            assert fine or len(answer) < 1000
        assert tracemalloc.get_traced_memory()[1] < 100 * len(body) + (4 << 20)
    finally:
        tracemalloc.stop()


def test_an_optional_input_does_not_hide_an_unknown_one(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    made = Rig(scaled(), tmp_path_factory.mktemp("scaled"))
    inputs = one_input([1, 2], [1, 2])["inputs"]
    for name, told in (("z", "unknown input 'z'"), ("x", "input 'x' is given twice")):
        assert told in made.refused({"inputs": [*inputs, {**inputs[0], "name": name}]})
