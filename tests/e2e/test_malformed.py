"""Whatever a client sends gets its documented status and leaves nothing behind."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.e2e.models import AFFINE_REQUEST, affine, many_types
from tests.e2e.stack import RunningStack, eventually

DOCUMENTED = {400, 404, 405, 406, 411, 413, 415}
fuzz = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def api(stack: RunningStack) -> Iterator[httpx.Client]:
    with stack.client() as client:
        client.deploy(affine(), name="affine")
        client.deploy(many_types(), name="many")
        secret = ""
        for model in ("affine", "many"):
            secret = client.create_key(application="shop", model=model, plan="unlimited").secret
    with stack.api(secret) as built:
        eventually(lambda: all_answer(built))
        yield built
        # Nothing is left behind: everything still answers, nothing waits.
        assert all_answer(built)
        for model in ("affine", "many"):
            (stats,) = built.get(f"/v2/models/{model}/stats").json()["model_stats"]
            assert [engine["queued"] for engine in stats["engines"]] == [0]
        assert "tollway_in_flight 0.0" in built.get("/metrics").text


def all_answer(api: httpx.Client) -> bool:
    affine_answer = api.post("/v2/models/affine/infer", json=AFFINE_REQUEST)
    many_answer = api.post("/v1/models/many:predict", json={"instances": [ROW]})
    return affine_answer.status_code == many_answer.status_code == 200


ROW = {"f": 1.5, "i": 2, "b": True, "s": "é"}


def check(answer: httpx.Response) -> None:
    """200 only for what is right; a documented 4xx in the protocol's form otherwise."""
    if answer.status_code == 200:
        # Any 12 bytes are three floats to a raw binary request, which is answered in binary.
        json_bytes = answer.headers.get("inference-header-content-length")
        text = answer.content if json_bytes is None else answer.content[: int(json_bytes)]
        body = json.loads(text)
        assert "outputs" in body or "predictions" in body
        return
    assert answer.status_code in DOCUMENTED, (answer.status_code, answer.text)
    body = answer.json()
    assert set(body) == {"error"}
    assert isinstance(body["error"], str)
    assert 0 < len(body["error"]) < 600
    assert "Traceback" not in body["error"]


texts = st.text(st.characters(codec=None) | st.characters(categories=["Cs"]), max_size=8)
"""Lone surrogates included: ``json.dumps`` writes them as escapes, which any client may send."""
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=True, allow_infinity=True),
    texts,
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=12,
)
tensors = st.fixed_dictionaries(
    {},
    optional={
        "name": st.one_of(st.just("x"), st.sampled_from("fibs"), values),
        "shape": st.one_of(st.lists(st.integers(-2, 2**63), max_size=4), st.just([1, 3]), values),
        "datatype": st.one_of(
            st.sampled_from(["FP32", "INT64", "BOOL", "BYTES", "FP16", "BF16", "UINT8", "X"]),
            values,
        ),
        "data": st.one_of(st.lists(scalars, max_size=4), values),
        "parameters": st.one_of(
            st.dictionaries(
                st.sampled_from(["binary_data_size", "binary_data", "classification"]),
                scalars,
                max_size=2,
            ),
            values,
        ),
    },
)
v2_bodies = st.fixed_dictionaries(
    {},
    optional={
        "id": values,
        "inputs": st.one_of(st.lists(tensors, max_size=4), values),
        "outputs": st.one_of(
            st.lists(st.fixed_dictionaries({"name": st.one_of(st.just("y"), values)}), max_size=2),
            values,
        ),
        "parameters": values,
        "extra": values,
    },
)
usable = {"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}
echoing = st.fixed_dictionaries(
    {"inputs": st.just([usable])},
    optional={
        "id": texts,
        "parameters": st.dictionaries(texts, texts | st.booleans() | st.integers(), max_size=2),
    },
)
"""Requests that are right but for what the reply repeats."""
rows = st.one_of(
    st.dictionaries(st.sampled_from(["f", "i", "b", "s", "x", "?"]), scalars, max_size=5),
    st.lists(scalars, max_size=5),
    values,
)
v1_bodies = st.fixed_dictionaries(
    {},
    optional={
        "instances": st.one_of(st.lists(rows, max_size=4), values),
        "inputs": st.one_of(
            st.dictionaries(st.sampled_from(["f", "i", "b", "s", "x"]), values, max_size=4), values
        ),
        "signature_name": values,
        "extra": values,
    },
)
PATHS = {
    "/v2/models/affine/infer": v2_bodies | echoing,
    "/v2/models/many/infer": v2_bodies,
    "/v1/models/affine:predict": v1_bodies,
    "/v1/models/many:predict": v1_bodies,
}
cases: st.SearchStrategy[tuple[str, Any]] = st.sampled_from(list(PATHS)).flatmap(
    lambda path: st.tuples(st.just(path), PATHS[path])
)


@fuzz
@given(case=cases)
def test_json_of_any_content(api: httpx.Client, case: tuple[str, Any]) -> None:
    path, body = case
    check(api.post(path, content=json.dumps(body).encode(), headers=JSON))


@fuzz
@given(case=cases, cut=st.floats(0, 1), noise=st.binary(max_size=6))
def test_json_that_is_cut_or_damaged(
    api: httpx.Client, case: tuple[str, Any], cut: float, noise: bytes
) -> None:
    path, body = case
    text = json.dumps(body).encode()
    at = int(cut * len(text))
    check(api.post(path, content=text[:at] + noise, headers=JSON))
    check(api.post(path, content=text[:at] + noise + text[at:], headers=JSON))


@fuzz
@example(data=bytes(12), header=0, path="/v2/models/affine/infer")
@given(data=st.binary(max_size=400), header=st.integers(-1, 500), path=st.sampled_from(list(PATHS)))
def test_bytes_of_any_kind_with_a_binary_header(
    api: httpx.Client, data: bytes, header: int, path: str
) -> None:
    headers = {**BINARY, "inference-header-content-length": str(header)}
    check(api.post(path, content=data, headers=headers))


@fuzz
@given(body=v2_bodies, tail=st.binary(max_size=64), off=st.integers(-3, 3))
def test_binary_tensors_that_do_not_add_up(
    api: httpx.Client, body: Any, tail: bytes, off: int
) -> None:
    text = json.dumps(body).encode()
    headers = {**BINARY, "inference-header-content-length": str(max(0, len(text) + off))}
    check(api.post("/v2/models/affine/infer", content=text + tail, headers=headers))


def tensor(shape: bytes, data: bytes) -> bytes:
    """A V2 request with one tensor."""
    return (
        b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": '
        + shape
        + b', "data": ['
        + data
        + b"]}]}"
    )


JSON = {"content-type": "application/json"}
BINARY = {"content-type": "application/octet-stream"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b"{",
        b"[" * 100_000,
        b'{"inputs":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        tensor(b"[1,3]", b"9" * 5_000 + b",1,1"),
        tensor(b"[1,3]", b'1e999999,1,"a"'),
        tensor(b"[4294967296,4294967296,3]", b"1"),
        tensor(b"[-1,3]", b"1,2,3"),
        tensor(b"[0,3]", b"1"),
        b'{"inputs": [{"name": "\xff\xfe", "shape": [1,3], "datatype": "FP32", "data": [1,2,3]}]}',
        b"\xff\xfe\x00\x00",
        tensor(b"[1,3]", b"1,2,3").replace(b"]}", b"],}"),
        b'{"instances": [[1, 2]]}',
        b'{"instances": [[1, 2, "\xed\xa0\x80"]]}',
        b'{"instances": [[1, 2, 3]], "inputs": {}}',
    ],
    ids=range(19),
)
@pytest.mark.parametrize("path", ["/v2/models/affine/infer", "/v1/models/affine:predict"])
def test_known_nasty_bodies_get_a_4xx(api: httpx.Client, path: str, body: bytes) -> None:
    answer = api.post(path, content=body, headers=JSON)
    check(answer)
    assert answer.status_code == 400, answer.text


@pytest.mark.parametrize(
    ("value", "shown"),
    [("NaN", None), ("Infinity", None), ("-Infinity", None), ("null", None), ("1e39", None)],
)
def test_non_finite_values_go_in_and_come_back_as_null(
    api: httpx.Client, value: str, shown: None
) -> None:
    tensor = '{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [VALUE, 1, 2]}'
    body = '{"inputs": [' + tensor.replace("VALUE", value) + "]}"
    answer = api.post("/v2/models/affine/infer", content=body.encode(), headers=JSON)
    if value == "1e39" and answer.status_code == 400:
        return  # more than FP32 holds may be refused as well
    assert answer.json()["outputs"][0]["data"] == [shown, 2.0, 4.0]
