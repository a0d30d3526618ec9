"""Triton's own client works unchanged: ``tritonclient.http``, with threads and with asyncio."""

from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from tests.e2e.models import many_types
from tests.e2e.stack import RunningStack, eventually
from tests.serving import models

CODINGS = [None, "gzip", "deflate"]
NUMBERS: dict[str, Any] = {
    "BOOL": np.bool_, "FP16": np.float16, "FP32": np.float32, "FP64": np.float64,
    **{f"INT{bits}": np.dtype(f"int{bits}") for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": np.dtype(f"uint{bits}") for bits in (8, 16, 32, 64)},
}  # fmt: skip
ROWS = 700
"""Enough that answers are compressed."""


class Served:
    """Where the stack is, and a key for its models."""

    def __init__(self, stack: RunningStack, key: str) -> None:
        self.address = stack.url.removeprefix("http://")
        self._key = key

    @property
    def headers(self) -> dict[str, str]:
        """New ones each time, for the client adds to them what its request needs."""
        return {"X-API-Key": self._key}


@pytest.fixture(scope="module")
def served(stack: RunningStack) -> Served:
    graphs = {f"is-{name.lower()}": models.identity(name, (None, 2)) for name in NUMBERS}
    graphs["is-bytes"] = models.identity("BYTES", (None, 1))
    graphs["many"] = many_types()
    key = ""
    with stack.client() as client:
        for name, graph in graphs.items():
            client.deploy(graph, name=name)
            key = client.create_key(application="triton", model=name, plan="unlimited").secret
    with stack.api(key) as api:
        eventually(
            lambda: all(api.get(f"/v2/models/{name}/ready").status_code == 200 for name in graphs)
        )
    return Served(stack, key)


@pytest.fixture
def client(served: Served) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(served.address, concurrency=4) as built:
        yield built


def values_of(name: str, rows: int = ROWS) -> Any:
    numbers = np.arange(rows * 2).reshape(rows, 2)
    if name == "BYTES":
        texts = [f"tëxt\0 {n}".encode() if n % 5 else b"" for n in range(rows)]
        return np.array(texts, np.object_).reshape(rows, 1)
    return (numbers % 100).astype(NUMBERS[name])


def asked(values: Any, binary: bool, name: str = "x") -> Any:
    tensor = triton.InferInput(name, list(values.shape), np_to_triton_dtype(values.dtype))
    return tensor.set_data_from_numpy(values, binary_data=binary)


@pytest.mark.parametrize("name", [*NUMBERS, "BYTES"])
def test_every_datatype_comes_back_as_it_was_sent(
    name: str, client: triton.InferenceServerClient, served: Served
) -> None:
    values = values_of(name)
    ways = [(True, True), (True, False), (False, True), (False, False)]
    for given, wanted in ways:
        if name == "FP16" and not (given and wanted):
            continue  # the client itself has no JSON form of it
        for coding in CODINGS:
            answer = client.infer(
                f"is-{name.lower()}",
                [asked(values, given)],
                outputs=[triton.InferRequestedOutput("y", binary_data=wanted)],
                request_id="7",
                headers=served.headers,
                request_compression_algorithm=coding,
                response_compression_algorithm=coding,
            )
            found = answer.as_numpy("y")
            if name == "BYTES" and not wanted:
                found = np.array([text.encode() for text in found.reshape(-1)]).reshape(ROWS, 1)
            assert found.shape == values.shape
            assert (found == values).all()
            assert answer.get_response()["id"] == "7"


def test_several_tensors_of_several_types_pass_together(
    client: triton.InferenceServerClient, served: Served
) -> None:
    values = {
        "f": np.array([[1.5], [np.nan]], np.float32), "i": np.array([[1], [-2]], np.int64),
        "b": np.array([[True], [False]]), "s": np.array([[b"a"], [b""]], np.object_),
    }  # fmt: skip
    answer = client.infer(
        "many",
        [asked(v, binary=name in "fs", name=name) for name, v in values.items()],
        headers=served.headers,
    )
    for name, array in values.items():
        np.testing.assert_array_equal(answer.as_numpy(f"{name}_out"), array)


@pytest.mark.parametrize("coding", CODINGS)
def test_strings_of_any_bytes_pass_in_binary_and_are_refused_in_json_by_name(
    coding: str | None, client: triton.InferenceServerClient, served: Served
) -> None:
    values = np.array([[b"good"], [b"\xff\xfe\0"]], np.object_)

    def infer(binary: bool) -> triton.InferResult:
        return client.infer(
            "is-bytes",
            [asked(values, binary=True)],
            outputs=[triton.InferRequestedOutput("y", binary_data=binary)],
            headers=served.headers,
            request_compression_algorithm=coding,
            response_compression_algorithm=coding,
        )

    np.testing.assert_array_equal(infer(binary=True).as_numpy("y"), values)
    with pytest.raises(InferenceServerException, match=r"output 'y'.*not UTF-8") as refused:
        infer(binary=False)
    assert refused.value.status() == "400"


def test_asynchronous_requests_are_answered_each_with_its_own(
    client: triton.InferenceServerClient, served: Served
) -> None:
    sent = [np.full((3, 2), n, np.int64) for n in range(20)]
    waiting = [
        client.async_infer("is-int64", [asked(values, n % 2 == 0)], headers=served.headers)
        for n, values in enumerate(sent)
    ]
    for values, request in zip(sent, waiting, strict=True):
        assert (request.get_result().as_numpy("y") == values).all()


def posted(url: str, body: bytes, headers: dict[str, str]) -> triton.InferResult:
    """The client's reading of the answer to a body that it does not send itself."""
    answer = httpx.post(url, content=body, headers=headers, trust_env=False, timeout=30)
    assert answer.status_code == 200, answer.text
    header = answer.headers.get("inference-header-content-length")
    return triton.InferenceServerClient.parse_response_body(
        answer.content, header_length=None if header is None else int(header)
    )


def test_raw_request_is_one_tensor_without_a_header(served: Served) -> None:
    values = values_of("FP32", 5)
    length = {"Inference-Header-Content-Length": "0"}
    url = f"http://{served.address}/v2/models/is-fp32/infer"
    found = posted(url, values.tobytes(), served.headers | length)
    assert (found.as_numpy("y") == values).all()


@pytest.mark.parametrize("binary", [False, True])
def test_bodies_made_and_read_without_the_clients_connection_are_answered(
    served: Served, binary: bool
) -> None:
    values = values_of("FP32", 5)
    body, header = triton.InferenceServerClient.generate_request_body(
        [asked(values, binary)], outputs=[triton.InferRequestedOutput("y", binary_data=binary)]
    )
    length = {} if header is None else {"Inference-Header-Content-Length": str(header)}
    url = f"http://{served.address}/v2/models/is-fp32/infer"
    assert (posted(url, body, served.headers | length).as_numpy("y") == values).all()


def test_what_the_server_says_of_itself_is_read(
    client: triton.InferenceServerClient, served: Served
) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("is-fp32")
    assert client.is_model_ready("is-fp32", "1")
    assert not client.is_model_ready("nothing")
    assert client.get_server_metadata()["name"]
    metadata = client.get_model_metadata("is-fp32", headers=served.headers)
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]
    assert client.get_model_config("is-fp32", headers=served.headers)["name"] == "is-fp32"
    found = client.get_inference_statistics("is-fp32", headers=served.headers)["model_stats"]
    assert found[0]["name"] == "is-fp32"
    client.infer("is-fp32", [asked(values_of("FP32"), binary=True)], headers=served.headers)
    every = client.get_inference_statistics(headers=served.headers)["model_stats"]
    (one,) = [item for item in every if item["name"] == "is-fp32"]
    counts = one["inference_stats"]
    assert counts["success"]["count"] >= 1
    parts = ("queue", "compute_input", "compute_infer", "compute_output")
    assert all(counts[part]["count"] == counts["success"]["count"] for part in parts)
    assert all(counts[part]["ns"] > 0 for part in parts)
    assert sum(counts[part]["ns"] for part in parts) <= counts["success"]["ns"]
    runs = sum(batch["compute_infer"]["count"] for batch in one["batch_stats"])
    assert runs == one["execution_count"]
    assert "is-fp32" in {
        m["name"] for m in client.get_model_repository_index(headers=served.headers)
    }


def test_errors_are_raised_as_the_clients_own(
    client: triton.InferenceServerClient, served: Served
) -> None:
    good = asked(values_of("FP32", 2), binary=True)
    wrong = asked(values_of("INT64", 2), binary=True)
    cases: list[tuple[str, Any, dict[str, str], str]] = [
        ("nothing", good, served.headers, "404"),
        ("is-fp32", wrong, served.headers, "400"),
        ("is-fp32", good, {}, "401"),
    ]
    for model, tensor, headers, status in cases:
        with pytest.raises(InferenceServerException) as raised:
            client.infer(model, [tensor], headers=headers)
        assert raised.value.status() == status
        assert raised.value.message()


async def test_client_of_asyncio_is_served_the_same(served: Served) -> None:
    async with triton_aio.InferenceServerClient(served.address) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready("is-fp32")
        assert (await client.get_model_metadata("is-fp32", headers=served.headers))[
            "name"
        ] == "is-fp32"
        assert (await client.get_model_config("is-fp32", headers=served.headers))[
            "name"
        ] == "is-fp32"
        stats = await client.get_inference_statistics("is-fp32", headers=served.headers)
        assert stats["model_stats"]
        assert await client.get_model_repository_index(headers=served.headers)
        for name in ("FP32", "INT8", "BYTES"):
            values = values_of(name)
            for coding in CODINGS:
                for binary in (True, False):
                    answer = await client.infer(
                        f"is-{name.lower()}",
                        [asked(values, binary)],
                        outputs=[triton_aio.InferRequestedOutput("y", binary_data=True)],
                        headers=served.headers,
                        request_compression_algorithm=coding,
                        response_compression_algorithm=coding,
                    )
                    assert (answer.as_numpy("y") == values).all()
        with pytest.raises(InferenceServerException) as raised:
            await client.infer("nothing", [asked(values, True)], headers=served.headers)
        assert raised.value.status() == "404"
