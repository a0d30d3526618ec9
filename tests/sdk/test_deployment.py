"""``Client.deploy``: the whole way, and what happens when something on it fails."""

import hashlib
import json
from pathlib import Path

import httpx
import pytest

import tollway
from tests.sdk.fake_access import problem
from tests.sdk.fake_server import FakeServer
from tollway import conversion, upload
from tollway.conversion import Converted
from tollway.conversion import Parity as ProvenParity

GRAPH = b"a graph " * 1000
GOLDEN = b'{"request": {}, "response": {}}'


@pytest.fixture(autouse=True)
def converted(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Conversion has tests of its own; here it gives a graph at once. Lists what it was given."""
    seen: list[object] = []

    def convert(model: object, *_args: object, **_options: object) -> Converted:
        seen.append(model)
        return Converted(
            onnx_bytes=GRAPH,
            task="regression",
            inputs=[{"name": "input", "datatype": "FP32", "shape": [-1, 2]}],
            outputs=[{"name": "prediction", "datatype": "FP32", "shape": [-1, 1]}],
            parity=ProvenParity(rows=10, max_abs_error=1e-7, tolerance=1e-4),
            golden=GOLDEN,
            metrics={"r2": 0.5},
        )

    monkeypatch.setattr(conversion, "convert", convert)
    return seen


def test_deploying_publishes_the_version_and_moves_the_traffic(
    client: tollway.Client, server: FakeServer
) -> None:
    steps: list[str] = []
    version = client.deploy(object(), name="m", metrics={"auc": 1}, progress=steps.append)
    assert (version.number, version.state) == (1, "published")
    assert server.models["m"]["aliases"] == {"stable": 1}
    assert version.parity is not None
    assert version.parity.max_abs_error == 1e-7
    assert version.metrics == {"r2": 0.5, "auc": 1.0}
    assert set(server.blobs.values()) == {GRAPH, GOLDEN}
    assert steps[-1] == "'m' version 1 answers"


def test_a_staged_version_is_validated_and_gets_no_traffic(
    client: tollway.Client, server: FakeServer
) -> None:
    client.deploy(object(), name="m")
    staged = client.deploy(object(), name="m", stage=True)
    assert (staged.number, staged.state) == (2, "validated")
    assert server.models["m"]["aliases"] == {"stable": 1}


def test_the_bytes_of_a_known_blob_are_not_sent_again(
    client: tollway.Client, server: FakeServer
) -> None:
    client.deploy(object(), name="m")
    sent = len(server.asked("PATCH", ".*"))
    client.deploy(object(), name="m")
    assert len(server.asked("PATCH", ".*")) == sent


def test_external_files_are_uploaded_and_named_by_their_path_in_the_bundle(
    client: tollway.Client,
    server: FakeServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"w" * 100)
    bundle = Converted(
        onnx_bytes=GRAPH, task="unknown", inputs=[], outputs=[], external_files={"w.bin": file}
    )
    monkeypatch.setattr(conversion, "convert", lambda *_a, **_k: bundle)
    client.deploy("model.onnx", name="m")
    (registration,) = server.asked("POST", "/api/v1/models/m/versions")
    digest = "sha256:" + hashlib.sha256(b"w" * 100).hexdigest()
    assert json.loads(registration.content)["files"] == [
        {"digest": digest, "size": 100, "path": "w.bin"}
    ]
    assert server.blobs[digest] == b"w" * 100


def test_a_version_that_no_engine_can_load_is_reported_with_the_engines_reason(
    client: tollway.Client, server: FakeServer
) -> None:
    client.deploy(object(), name="m")
    server.engine_error = "golden row 3 differs"
    with pytest.raises(tollway.DeploymentError, match=r"version 2 cannot be served: golden row 3"):
        client.deploy(object(), name="m")
    assert server.models["m"]["aliases"] == {"stable": 1}


def test_waiting_for_the_engine_ends_with_the_time_given(
    client: tollway.Client, server: FakeServer
) -> None:
    server.looks_until_ready = 10**9
    with pytest.raises(tollway.DeploymentError, match=r"not ready after 20 s \(engines: loading\)"):
        client.deploy(object(), name="m", timeout_s=20)


@pytest.mark.parametrize("name", ["", "Credit", "-a", "a" * 64, "a b", "a\n", "ä"])
def test_a_name_that_the_server_would_refuse_fails_before_any_work(
    client: tollway.Client, converted: list[object], name: str
) -> None:
    with pytest.raises(tollway.InvalidRequestError, match="is not valid: use 1 to 63"):
        client.deploy(object(), name=name)
    assert not converted


def test_a_wrong_token_is_noticed_before_the_conversion(
    server: FakeServer, converted: list[object]
) -> None:
    transport = httpx.MockTransport(server.handle)
    with (
        tollway.Client("http://server", "tw_wrong", transport=transport) as client,
        pytest.raises(tollway.AuthenticationError) as caught,
    ):
        client.deploy(object(), name="m")
    assert not converted
    assert "tw_wrong" not in str(caught.value)


def test_an_upload_goes_on_where_the_connection_broke(
    client: tollway.Client, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "CHUNK_BYTES", 1000)

    def half(request: httpx.Request) -> httpx.Response:
        name = request.url.path.rsplit("/", 1)[1]
        server.uploads[name]["data"] += request.content[:123]
        raise httpx.WriteError("broken pipe", request=request)

    server.fail("PATCH", ".*", half)
    server.lose_answer("PATCH", ".*")
    server.lose_answer("POST", ".*/complete")
    client.deploy(object(), name="m")
    assert GRAPH in server.blobs.values()


def test_checking_and_inspecting_a_large_model_may_take_minutes(
    client: tollway.Client, server: FakeServer
) -> None:
    client.deploy(object(), name="m")
    completed = server.asked("POST", ".*/complete")
    registered = server.asked("POST", ".*/versions")
    for request in (*completed, *registered):
        assert request.extensions["timeout"]["read"] >= 600
        assert request.extensions["timeout"]["connect"] <= 10


def busy(_: httpx.Request) -> httpx.Response:
    """As control answers while an earlier attempt to complete the upload is still at work."""
    return httpx.Response(409, json={}, headers={"Upload-Offset": str(len(GRAPH))})


def test_an_upload_that_is_still_being_checked_is_waited_for(
    client: tollway.Client, server: FakeServer
) -> None:
    for _ in range(3):
        server.fail("POST", ".*/complete", busy)
    client.deploy(object(), name="m")
    assert GRAPH in server.blobs.values()


def test_an_upload_that_an_earlier_attempt_completes_meanwhile_is_done(
    client: tollway.Client, server: FakeServer
) -> None:
    def busy_and_done(request: httpx.Request) -> httpx.Response:
        server.handle(request)
        return busy(request)

    server.fail("POST", ".*/complete", busy_and_done)
    client.deploy(object(), name="m")
    assert GRAPH in server.blobs.values()


def test_an_upload_that_lost_bytes_at_its_end_is_not_waited_for(
    client: tollway.Client, server: FakeServer
) -> None:
    server.fail(
        "POST",
        ".*/complete",
        lambda _: httpx.Response(409, json={}, headers={"Upload-Offset": "7"}),
    )
    with pytest.raises(tollway.ConflictError):
        client.deploy(object(), name="m")


def test_an_upload_that_never_moves_on_is_given_up(
    client: tollway.Client, server: FakeServer
) -> None:
    for _ in range(20):
        server.fail(
            "PATCH", ".*", lambda _: httpx.Response(409, json={}, headers={"Upload-Offset": "0"})
        )
    with pytest.raises(tollway.ConnectionFailed, match="stays at byte 0"):
        client.deploy(object(), name="m")


def test_lost_answers_do_not_fail_or_repeat_a_deployment(
    client: tollway.Client, server: FakeServer
) -> None:
    server.lose_answer("POST", ".*/transitions")
    server.lose_answer("POST", ".*/transitions")
    server.lose_answer("PUT", ".*/rollout")
    server.fail("POST", ".*/versions", lambda _: problem(503, "unavailable", "starting"))
    version = client.deploy(object(), name="m")
    assert (version.number, version.state) == (1, "published")
    first, second = server.asked("POST", "/api/v1/models/m/versions")
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]


def test_metrics_must_be_numbers(client: tollway.Client) -> None:
    with pytest.raises(tollway.InvalidRequestError, match="metric 'auc' is 'good'"):
        client.deploy(object(), name="m", metrics={"auc": "good"})  # type: ignore[dict-item]


def test_an_example_goes_with_the_columns_and_one_that_is_no_row_stops_it(
    client: tollway.Client, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def convert(*_args: object, **_options: object) -> Converted:
        return Converted(
            onnx_bytes=GRAPH,
            task="regression",
            inputs=[{"name": "input", "datatype": "FP32", "shape": [-1, 1]}],
            outputs=[{"name": "prediction", "datatype": "FP32", "shape": [-1, 1]}],
            columns=[{"name": "age", "type": "integer", "input": "input", "index": 0}],
        )

    monkeypatch.setattr(conversion, "convert", convert)
    with pytest.raises(tollway.InvalidRequestError, match="example: column 'age' takes integer"):
        client.deploy(object(), name="m", example={"age": "old"})
    assert server.blobs == {}
    client.deploy(object(), name="m", example=[41])
    [registered] = server.asked("POST", "/api/v1/models/m/versions")
    assert json.loads(registered.content)["columns"][0]["example"] == 41


def test_a_remote_model_is_published_without_an_upload(
    client: tollway.Client, server: FakeServer
) -> None:
    steps: list[str] = []
    version = client.register_remote(
        "m",
        "https://triton.example",
        version="3",
        credential="triton",
        inputs=[{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
        progress=steps.append,
    )
    assert (version.number, version.state) == (1, "published")
    assert version.manifest.artifact is None
    assert version.manifest.remote is not None
    assert version.manifest.remote.credential == "triton"
    assert server.models["m"]["aliases"] == {"stable": 1}
    assert server.blobs == {}
    body = json.loads(server.asked("POST", "/api/v1/models/m/versions")[0].content)
    assert body["remote"] == {
        "url": "https://triton.example",
        "model": "m",
        "version": "3",
        "credential": "triton",
        "binary": None,
        "timeout_ms": 30_000,
        "connect_timeout_ms": 2_000,
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2], "optional": False}],
        "outputs": [],
    }
    assert "waiting for the server of version 1" in steps


@pytest.mark.parametrize(
    ("url", "inputs"), [("triton.example", []), ("https://triton.example", [{"name": "x"}])]
)
def test_what_is_no_remote_model_is_refused_before_anything_is_asked(
    client: tollway.Client, server: FakeServer, url: str, inputs: list[dict[str, object]]
) -> None:
    with pytest.raises(tollway.InvalidRequestError):
        client.register_remote("m", url, inputs=inputs)
    assert server.requests == []
