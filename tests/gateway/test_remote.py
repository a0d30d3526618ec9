"""A remote version answers as any other: same policies, same records."""

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from gateway.connection import Exchange
from gateway.settings import GatewaySettings
from protocol.frames import NO_HEADER
from protocol.trace_context import TraceContext
from runtime.remote_credentials import Secret
from runtime.trace import Trace
from tests.fixtures.remote_server import (
    CLOSE,
    Asked,
    http,
    serving,
    tensor,
)
from tests.fixtures.seals import sealed
from tests.gateway.conftest import until
from tests.gateway.documents import World
from tests.gateway.remote_stage import (
    ANSWER,
    MODEL,
    ROW,
    Stage,
    remote_settings,
    remote_version,
    staged,
)


@pytest.fixture
def settings(settings: GatewaySettings) -> GatewaySettings:
    return remote_settings(settings)


@pytest.fixture
async def stage(settings: GatewaySettings, world: World) -> AsyncIterator[Stage]:
    async with staged(settings, world) as built:
        yield built


async def test_an_answer_carries_this_gateways_names_and_headers(stage: Stage) -> None:
    answer = await stage.infer(2)

    assert answer.status_code == 200
    assert answer.json() == {
        "model_name": "flowers",
        "model_version": "1",
        "outputs": [tensor("label", "INT64", [2], data=[0, 1])],
    }
    assert answer.headers["tollway-version"] == "1"
    assert answer.headers["tollway-variant"] == "stable"
    assert "infer;dur=" in answer.headers["server-timing"]
    asked = stage.remote.inferred()[0]
    assert asked.path == f"{MODEL}/infer"
    assert json.loads(asked.body)["inputs"][0]["data"] == [ROW, ROW]


async def test_nothing_of_the_callers_headers_reaches_the_remote_server(stage: Stage) -> None:
    await stage.infer(headers={"cookie": "a=b", "x-forwarded-for": "1.2.3.4", "x-mine": "c"})

    assert set(stage.remote.inferred()[0].headers) == {
        "host", "accept", "accept-encoding", "connection", "content-length", "content-type",
        "user-agent",
    }  # fmt: skip


async def test_a_traced_request_is_traced_on_to_the_remote_server(
    stage: Stage,
) -> None:
    context = TraceContext(trace_id=0xABC, span_id=0xDEF, sampled=True)
    reply: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    body = msgspec.json.encode({"inputs": [tensor("input", "FP32", [1, 4], data=[ROW])]})
    upstream = TraceContext(trace_id=0xABC, span_id=0x123, sampled=True)
    trace = Trace(context, upstream, None, [("congo", "t61"), ("rojo", "00")])
    version = stage.gateway.remotes.get(("flowers", 1))
    assert version is not None
    deadline = asyncio.get_running_loop().time() + 2
    version.send(Exchange(body, deadline, reply.set_result, header_length=NO_HEADER, trace=trace))
    await reply

    sent = stage.remote.inferred()[0].headers
    assert sent["traceparent"] == upstream.traceparent.decode()
    assert sent["tracestate"] == "congo=t61,rojo=00"
    assert trace.sends == 1


async def test_usage_has_rows_and_the_round_trip_as_time(stage: Stage) -> None:
    await stage.infer(3)

    found = stage.records()[-1]
    assert (found.model, found.version, found.status, found.rows) == ("flowers", 1, 200, 3)
    assert 0 < found.infer_us <= found.total_us


async def test_a_plans_rows_are_counted_before_anything_is_sent(stage: Stage, world: World) -> None:
    headers = {"x-api-key": world.page_key}
    assert (await stage.infer(2, headers)).status_code == 200
    refused = await stage.infer(3, headers)

    assert refused.status_code == 413
    assert "3 rows" in refused.json()["error"]
    assert len(stage.remote.inferred()) == 1


async def test_a_shape_that_is_given_twice_does_not_hide_rows(stage: Stage, world: World) -> None:
    many = (
        b'{"name": "input", "datatype": "FP32", "shape": [9, 4], "shape": [1, 4], '
        b'"data": [1, 2, 3, 4]}'
    )
    answer = await stage.client.post(
        f"{MODEL}/infer",
        content=b'{"inputs": [' + many + b'], "inputs": [' + many + b"]}",
        headers={"x-api-key": world.page_key, "content-type": "application/json"},
    )

    assert answer.status_code == 200
    assert stage.remote.inferred()[0].body.count(b"shape") == 1


async def test_binary_tensors_pass_both_ways_untouched(stage: Stage) -> None:
    def infer(asked: Asked) -> bytes:
        length = int(asked.headers["inference-header-content-length"])
        assert asked.body[length:] == struct.pack("<4f", *ROW)
        label = tensor("label", "INT64", [1], parameters={"binary_data_size": 8})
        header = json.dumps({"model_name": "x", "outputs": [label]}).encode()
        return http(
            header + struct.pack("<q", 5),
            inference_header_content_length=str(len(header)),
            content_type="application/octet-stream",
        )

    stage.remote.infer = infer
    given = tensor("input", "FP32", [1, 4], parameters={"binary_data_size": 16})
    header = json.dumps({"inputs": [given], "parameters": {"binary_data_output": True}}).encode()
    answer = await stage.client.post(
        f"{MODEL}/infer",
        content=header + struct.pack("<4f", *ROW),
        headers={"inference-header-content-length": str(len(header))},
    )

    assert answer.status_code == 200, answer.text
    length = int(answer.headers["inference-header-content-length"])
    assert json.loads(answer.content[:length])["model_name"] == "flowers"
    assert answer.content[length:] == struct.pack("<q", 5)


@pytest.mark.parametrize("raw", [False, True])
async def test_a_server_without_binary_gets_json_and_the_caller_binary(
    stage: Stage, raw: bool
) -> None:
    stage.configure(binary=False)
    await stage.ready()
    given = tensor("input", "FP32", [2, 4], parameters={"binary_data_size": 32})
    header = json.dumps({"inputs": [given], "parameters": {"binary_data_output": True}}).encode()
    content = struct.pack("<8f", *ROW, *ROW)
    answer = await stage.client.post(
        f"{MODEL}/infer",
        content=content if raw else header + content,
        headers={"inference-header-content-length": "0" if raw else str(len(header))},
    )

    assert answer.status_code == 200, answer.text
    assert json.loads(stage.remote.inferred()[0].body) == {
        "inputs": [tensor("input", "FP32", [2, 4], data=[*ROW, *ROW])]
    }
    length = int(answer.headers["inference-header-content-length"])
    assert json.loads(answer.content[:length])["outputs"] == [
        tensor("label", "INT64", [2], parameters={"binary_data_size": 16})
    ]
    assert answer.content[length:] == struct.pack("<2q", 0, 1)
    assert stage.records()[-1].rows == 2


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (http({"error": "input is bad"}, 400), 400),
        (http({"error": "too much"}, 413), 413),
        (http({"error": "out of range"}, 422), 422),
        (http({"detail": [1]}, 422), 422),
        (http({"error": "who are you"}, 401), 502),
        (http({"error": "not you"}, 403), 502),
        (http({"error": "no such model"}, 404), 503),
        (http({"error": "slow down"}, 429), 503),
        (http({"error": "Traceback: /srv/model.py"}, 500), 502),
        (http({"error": "busy"}, 503), 503),
        (http(b"", 307, location="http://127.0.0.1/"), 502),
        (http({}, 204), 502),
        (http(b"<html>"), 502),
        (http(b'{"outputs": 1}'), 502),
        (http(ANSWER, inference_header_content_length="999"), 502),
        (http(ANSWER, inference_header_content_length="-1"), 502),
        (http(ANSWER, inference_header_content_length="0" * 5000), 502),
        (http({"outputs": [tensor("a", "FP32", [1] * 65, data=[1])]}), 502),
        (http({"outputs": [tensor("a", "FP32", [1], parameters={"binary_data_size": 4})]}), 502),
        (http(b"x" * 20_001), 502),
        (http(b"x" * 20_001, content_length="9" * 19), 502),
        (http(ANSWER, content_encoding="gzip"), 502),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\nconnection: close\r\n\r\n{", 502),
        (b"nonsense\r\n\r\n", 503),
        (CLOSE, 503),
    ],
)
async def test_what_the_remote_server_does_is_answered_in_the_contracts_statuses(
    stage: Stage, answer: bytes, status: int
) -> None:
    stage.remote.infer = lambda _: answer
    got = await stage.infer()

    assert got.status_code == status
    assert set(got.json()) == {"error"}
    assert ("retry-after" in got.headers) == (status == 503)
    if status >= 500:
        assert "Traceback" not in got.text
        assert "127.0.0.1" not in got.text
    assert stage.records()[-1].status == status


async def test_a_refusal_is_passed_on_in_the_remote_servers_words(stage: Stage) -> None:
    stage.remote.infer = lambda _: http({"error": "input is\nbad"}, 400)

    told = (await stage.infer()).json()["error"]
    assert told == "the server of 'flowers' version 1 refuses the request: input is bad"


@pytest.mark.parametrize("before", [0, 985])
async def test_a_secret_that_the_server_repeats_is_not_passed_on_nor_a_part_of_it(
    stage: Stage, before: int
) -> None:
    version = stage.gateway.remotes.get(("flowers", 1))
    assert version is not None
    version._server.secret = Secret("Authorization", "Bearer very-secret-word")  # type: ignore[attr-defined]
    stage.remote.infer = lambda _: http({"error": "x" * before + " very-secret-word"}, 400)

    told = (await stage.infer()).json()["error"]
    assert "***" in told
    assert "very" not in told


async def test_numbers_that_json_does_not_have_are_answered_as_null(stage: Stage) -> None:
    body = (
        b'{"outputs": [{"name": "label", "datatype": "INT64", "shape": [3], '
        b'"data": [NaN, -Infinity, 1.5]}]}'
    )
    stage.remote.infer = lambda _: http(body)

    assert (await stage.infer()).json()["outputs"][0]["data"] == [None, None, 1.5]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "cannot be read"),
        (
            b'{"inputs": [{"name": "input", "datatype": "FP32", "shape": ['
            + b"1," * 64
            + b"1]}]}",
            "64",
        ),
        (
            (b'{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 4], '
            b'"parameters": {"shared_\\u006demory_region": "theirs"}}]}'),
            "shared memory",
        ),
        (
            (b'{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 4], "data": [1]}], '
            b'"outputs": [{"name": "label", "parameters": {"shared_memory_region": "theirs"}}]}'),
            "shared memory",
        ),
        (
            (b'{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 4], '
            b'"parameters": 5}]}'),
            "parameter",
        ),
        (b'{"inputs": []}', "no inputs"),
        (b'{"inputs": [{"name": "other", "datatype": "FP32", "shape": [1]}]}', "unknown input"),
        (b'{"inputs": [{"name": "input", "datatype": "INT8", "shape": [1]}]}', "takes FP32"),
        (b'{"inputs": [{"name": "input", "datatype": "FP32", "shape": [-1]}]}', "shape"),
        (b'{"inputs": [{"name": "input", "datatype": "FP32", "shape": [' + b"9" * 40 + b"]}]}", ""),
        (
            b'{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1], "data": [NaN]}]}',
            "binary",
        ),
        (b'{"inputs": [' + b'{"name": "input", "datatype": "FP32", "shape": [1]},' * 2 + b"]}", ""),
        (b'{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1], "data": ' + b"[" * 9000,
         ""),
    ],
)  # fmt: skip
async def test_a_body_that_is_wrong_is_refused_here(stage: Stage, body: bytes, said: str) -> None:
    answer = await stage.client.post(f"{MODEL}/infer", content=body)

    assert answer.status_code == 400
    assert said in answer.json()["error"]
    assert stage.remote.inferred() == []


async def test_v1_predictions_are_refused_with_what_to_do(stage: Stage) -> None:
    answer = await stage.client.post("/v1/models/flowers:predict", json={"instances": [ROW]})

    assert answer.status_code == 400
    assert "POST /v2/models/flowers/infer" in answer.json()["error"]


@pytest.fixture
def secret_file(settings: GatewaySettings) -> Path:
    folder = settings.remote_credentials_path
    folder.mkdir()
    return folder / "flowers"


async def test_the_credential_is_sent_and_a_new_one_is_taken_up(
    stage: Stage, secret_file: Path
) -> None:
    def put(token: str) -> None:
        document = {"origins": [f"http://127.0.0.1:{stage.remote.port}"], "token": token}
        secret_file.write_text(json.dumps(document))
        secret_file.chmod(0o600)

    put("first-secret")
    stage.configure(credential="flowers")
    await stage.ready()
    await stage.infer()
    assert stage.remote.inferred()[-1].headers["authorization"] == "Bearer first-secret"

    put("second-secret")
    await until(
        lambda: stage.remote.asked[-1].headers.get("authorization") == "Bearer second-secret"
    )
    stage.remote.infer = lambda asked: http({"error": asked.headers["authorization"]}, 400)
    refused = await stage.infer()
    assert "second-secret" not in refused.text


async def test_without_its_credential_a_version_is_not_ready_and_nothing_is_sent(
    stage: Stage,
) -> None:
    before = len(stage.remote.asked)
    stage.configure(credential="missing")
    await until(lambda: stage.state == "failed")

    found = stage.gateway.remotes.reports()[0]
    assert "'missing' is not there" in found.error
    assert (await stage.infer()).status_code == 503
    assert not any(one.method == "POST" for one in stage.remote.asked[before:])


async def test_an_address_that_is_not_allowed_is_never_connected_to(
    stage: Stage, settings: GatewaySettings
) -> None:
    async with serving() as inside:
        doc = remote_version(inside.port)
        assert doc.manifest.remote
        moved = msgspec.structs.replace(
            doc.manifest.remote,
            url=f"http://[::1]:{inside.port}",  # type: ignore[arg-type]
        )
        manifest = msgspec.structs.replace(doc.manifest, remote=moved)
        doc = sealed(msgspec.structs.replace(doc, manifest=manifest))
        stage.gateway.catalog.apply([("version", "flowers/1", doc)], False)
        await until(lambda: stage.state == "failed")

        assert "TOLLWAY_REMOTE_ALLOWED_NETWORKS" in stage.gateway.remotes.reports()[0].error
        assert inside.connections == 0


@pytest.mark.parametrize("binary", [True, False])
async def test_null_where_nothing_is_meant_is_as_if_it_were_not_there(
    stage: Stage, binary: bool
) -> None:
    stage.configure(binary=binary)
    await stage.ready()
    given = tensor("input", "FP32", [1, 4], data=ROW, parameters=None)
    body = {"inputs": [given], "parameters": None, "outputs": None}
    answer = await stage.client.post(f"{MODEL}/infer", json=body)

    assert answer.status_code == 200, answer.text
    assert json.loads(stage.remote.inferred()[0].body) == {
        "inputs": [tensor("input", "FP32", [1, 4], data=ROW)]
    }
