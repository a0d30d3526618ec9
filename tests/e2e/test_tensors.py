"""Types and shapes through the whole stack: deployed by the SDK, asked through the gateway."""

from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.stack import RunningStack, eventually
from tests.serving import models
from tests.serving.test_optional import FACTOR, optional_output, scaled
from tests.serving.test_types import binaries, joined, of_shapes, parts, values_of

GRAPHS = {
    "scaled": scaled(),
    "maybe": optional_output(),
    "joined": joined(("rows", "n"), ("n", 2)),
    "bits": models.bfloat16(),
    "scalar": models.identity("FP64", ()),
}


@pytest.fixture(scope="module")
def api(stack: RunningStack) -> Iterator[httpx.Client]:
    secret = ""
    with stack.client() as client:
        for name, graph in GRAPHS.items():
            version = client.deploy(graph, name=name)
            if name == "joined":
                assert version.manifest.inputs[0].symbols == ("rows", "n")
            secret = client.create_key(application="shop", model=name, plan="unlimited").secret
    with stack.api(secret) as built:
        eventually(
            lambda: all(built.get(f"/v2/models/{name}/ready").status_code == 200 for name in GRAPHS)
        )
        yield built


def test_types_and_shapes_pass_the_gateway_as_the_engine_has_them(api: httpx.Client) -> None:
    def infer(model: str, request: object) -> tuple[int, dict[str, object]]:
        answer = api.post(f"/v2/models/{model}/infer", json=request)
        return answer.status_code, answer.json()

    empty = {"name": "x", "shape": [0, 2], "datatype": "FP32", "data": []}
    status, answer = infer("scaled", {"inputs": [empty]})
    assert (status, answer["outputs"]) == (200, [{**empty, "name": "y"}])
    row = {**empty, "shape": [1, 2], "data": [1, 2]}
    status, answer = infer("scaled", {"inputs": [row, FACTOR]})
    assert (status, answer["outputs"]) == (200, [{**row, "name": "y", "data": [5.0, 10.0]}])

    wanted = {"name": "wanted", "shape": [], "datatype": "BOOL", "data": [False]}
    status, answer = infer("maybe", {"inputs": [wanted, row], "outputs": [{"name": "maybe"}]})
    assert (status, answer["outputs"]) == (200, [])

    told = "dimension 'n' is 3 in input 'a' shape[1] but 4 in input 'b' shape[0]"
    assert infer("joined", of_shapes([1, 3], [4, 2])) == (400, {"error": told})
    assert infer("joined", of_shapes([1, 3], [3, 2]))[0] == 200

    number = {"name": "x", "shape": [], "datatype": "FP64", "data": [0.1]}
    status, answer = infer("scalar", {"inputs": [number]})
    assert (status, answer["outputs"]) == (200, [{**number, "name": "y"}])


@pytest.mark.parametrize("rows", [0, 3])
def test_bf16_passes_the_gateway_in_every_bit(api: httpx.Client, rows: int) -> None:
    bits = values_of("BF16", [rows, 2])
    body, length = binaries({"x": bits}, {"x": "BF16"}, parameters={"binary_data_output": True})
    answer = api.post(
        "/v2/models/bits/infer",
        content=body,
        headers={"Inference-Header-Content-Length": str(length)},
    )
    assert answer.status_code == 200, answer.text
    header = int(answer.headers["Inference-Header-Content-Length"])
    assert parts(answer.content, header)["y"] == ([rows, 2], bits.astype("<u2").tobytes())


def test_what_cannot_be_carried_is_refused_when_it_is_deployed(stack: RunningStack) -> None:
    graph = models.identity("FP32", (None, 2))
    for value in (*graph.graph.input, *graph.graph.output):
        value.type.tensor_type.elem_type = models.TensorProto.COMPLEX64
    with stack.client() as client, pytest.raises(Exception, match=r"(?i)complex64"):
        client.deploy(graph, name="complex")
