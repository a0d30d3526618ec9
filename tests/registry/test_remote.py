"""Remote versions: what their server says of them is checked and kept, nothing else is."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from protocol.errors import Code, TollwayError
from protocol.manifest import Manifest, Remote, Tensor, canonical_json
from registry.publish import VersionRequest
from registry.remote import RemoteInspector, RemoteRequest
from registry.status import ServingStatus
from runtime.remote_credentials import RemoteCredentials
from runtime.targets import TargetRefused, Targets, networks
from tests.fixtures.remote_server import CLOSE, Asked, FakeRemote, http, serving, tensor
from tests.registry.conftest import Bench

INPUT = Tensor(name="input", datatype="FP32", shape=(-1, 4))
OUTPUT = Tensor(name="label", datatype="INT64", shape=(-1,))


@contextmanager
def in_a_thread(remote: FakeRemote) -> Iterator[FakeRemote]:
    """The registry blocks: its server has a loop of its own."""
    ready, stop = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def run() -> None:
        async with serving(remote):
            loops.append(asyncio.get_running_loop())
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    ready.wait(10)
    yield remote
    loops[0].call_soon_threadsafe(stop.set)
    thread.join(10)


@pytest.fixture
def remote() -> Iterator[FakeRemote]:
    with in_a_thread(FakeRemote()) as running:
        yield running


def inspector(folder: Path, allowed: str = "127.0.0.0/8") -> RemoteInspector:
    targets = Targets(networks(allowed), "TOLLWAY_REMOTE_ALLOWED_NETWORKS")
    return RemoteInspector(targets, RemoteCredentials(folder).secret)


def request(remote: FakeRemote, **fields: Any) -> RemoteRequest:
    return RemoteRequest(**{"url": f"http://127.0.0.1:{remote.port}", "model": "f", **fields})


def test_inputs_and_outputs_are_read_from_the_server(remote: FakeRemote, tmp_path: Path) -> None:
    found = inspector(tmp_path)("m", request(remote, version="2"))

    assert (found.inputs, found.outputs) == ((INPUT,), (OUTPUT,))
    assert remote.asked[0].path == "/v2/models/f/versions/2"


def test_names_are_quoted_in_the_path(remote: FakeRemote, tmp_path: Path) -> None:
    inspector(tmp_path)("m", request(remote, model="../a b?/ü"))

    assert remote.asked[0].path == "/v2/models/..%2Fa%20b%3F%2F%C3%BC"


def test_the_url_is_kept_in_one_form(remote: FakeRemote, tmp_path: Path) -> None:
    found = inspector(tmp_path)("m", request(remote, url=f"http://127.0.0.1:{remote.port}/base/"))

    assert found.remote.url == f"http://127.0.0.1:{remote.port}/base"
    assert remote.asked[0].path == "/base/v2/models/f"


@pytest.mark.parametrize(
    ("extensions", "stated", "binary"),
    [
        (["binary_tensor_data"], None, True),
        (["statistics"], None, False),
        (None, None, False),
        ([], True, True),
        (["binary_tensor_data"], False, False),
    ],
)
def test_the_server_says_whether_it_speaks_binary_unless_the_publisher_does(
    tmp_path: Path, extensions: list[str] | None, stated: bool | None, binary: bool
) -> None:
    class Server(FakeRemote):
        def _answer(self, asked: Asked) -> bytes:
            if asked.path == "/v2":
                return http({"name": "s", "extensions": extensions} if extensions else b"?")
            return super()._answer(asked)

    with in_a_thread(Server()) as remote:
        found = inspector(tmp_path)("m", request(remote, binary=stated))

    assert found.remote.binary is binary


def test_the_credential_is_sent_and_not_kept(remote: FakeRemote, tmp_path: Path) -> None:
    origin = f"http://127.0.0.1:{remote.port}"
    (tmp_path / "prod").write_text(json.dumps({"origins": [origin], "token": "s3cret"}))
    (tmp_path / "prod").chmod(0o600)
    found = inspector(tmp_path)("m", request(remote, credential="prod"))

    assert remote.asked[0].headers["authorization"] == "Bearer s3cret"
    assert "s3cret" not in repr(found)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"url": "ftp://127.0.0.1"}, "https://"),
        ({"url": "http://user:pass@127.0.0.1"}, "user or password"),
        ({"url": "http://127.0.0.1/?token=a"}, "query"),
        ({"url": "http://127.0.0.1/v2"}, "without /v2"),
        ({"url": "http://127.0.0.1/v2/models/f"}, "without /v2"),
        ({"model": ".."}, "no model's name"),
        ({"model": "a\nb"}, "no model's name"),
        ({"version": "."}, "no version's name"),
        ({"credential": "none"}, "is not there"),
    ],
)
def test_what_cannot_be_a_remote_model_is_refused_before_anybody_is_asked(
    remote: FakeRemote, tmp_path: Path, fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(TollwayError, match=said) as refused:
        inspector(tmp_path)("m", request(remote, **fields))

    assert refused.value.code is Code.INVALID
    assert remote.asked == []


def test_a_private_address_is_refused_unless_the_operator_allows_it(
    remote: FakeRemote, tmp_path: Path
) -> None:
    with pytest.raises(TargetRefused, match="TOLLWAY_REMOTE_ALLOWED_NETWORKS"):
        inspector(tmp_path, allowed="")("m", request(remote))

    assert remote.connections == 0


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ([], "not the protocol's metadata"),
        ({"inputs": [{"name": "a"}]}, "not the protocol's metadata"),
        ({"inputs": [], "outputs": []}, "does not describe the model's inputs"),
        ({"inputs": [tensor("a", "FP32", [-1])]}, "does not describe the model's outputs"),
        ({"inputs": [tensor("a", "FP99", [-1])]}, "'FP99'"),
        ({"inputs": [tensor("a", "FP32", [-2])]}, "impossible shape"),
        ({"inputs": [tensor("a", "FP32", [1] * 65)]}, "impossible shape"),
        ({"inputs": [tensor("", "FP32", [1])]}, "without a usable name"),
        ({"inputs": [tensor("a", "FP32", [1])] * 2}, "two of one name"),
        ({"padding": "x" * (1 << 20)}, "larger than"),
    ],
)
def test_metadata_that_describes_no_model_is_refused(
    remote: FakeRemote, tmp_path: Path, metadata: Any, said: str
) -> None:
    remote.metadata = metadata
    with pytest.raises(TollwayError, match=said) as refused:
        inspector(tmp_path)("m", request(remote))

    assert refused.value.code is Code.INVALID_MODEL


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (http({"error": "inside"}, 404), "answered 404"),
        (http({"error": "inside"}, 401), "does it need a credential"),
        (http(b"", 302, location="http://127.0.0.1:1/"), "answered 302"),
        (CLOSE, "the connection broke"),
    ],
)
def test_a_server_that_does_not_answer_for_the_model_is_refused(
    tmp_path: Path, answer: bytes, said: str
) -> None:
    class Refusing(FakeRemote):
        def _answer(self, _asked: object) -> bytes:
            return answer

    with in_a_thread(Refusing()) as remote, pytest.raises(TollwayError, match=said) as refused:
        inspector(tmp_path)("m", request(remote))

    assert refused.value.code is Code.INVALID_MODEL
    assert "inside" not in refused.value.public


def test_tensors_are_stated_for_a_server_that_describes_none(
    remote: FakeRemote, tmp_path: Path
) -> None:
    stated: dict[str, Any] = {"inputs": (INPUT,), "outputs": (OUTPUT,)}
    remote.metadata = {"name": "f"}
    assert inspector(tmp_path)("m", request(remote, **stated)).inputs == (INPUT,)

    remote.metadata = {"inputs": [tensor("other", "FP32", [-1])], "outputs": []}
    with pytest.raises(TollwayError, match="it has other FP32"):
        inspector(tmp_path)("m", request(remote, **stated))


def publish(bench: Bench, remote: FakeRemote, **fields: Any) -> Any:
    bench.registry.models.put("flowers")
    bench.registry.publisher._inspect_remote = inspector(bench.folder)
    wish = VersionRequest(**{"remote": request(remote), **fields})
    return bench.registry.publisher.publish("flowers", wish, actor="ann")[0]


def test_a_remote_version_is_numbered_immutable_and_needs_no_blob(
    bench: Bench, remote: FakeRemote
) -> None:
    made = publish(bench, remote, description="by URL")

    assert made.number == 1
    assert made.manifest.platform == "open_inference_remote"
    assert isinstance(made.manifest.remote, Remote)
    assert (made.manifest.artifact, made.manifest.blobs()) == (None, [])
    assert bench.registry.versions.get("flowers", 1).manifest == made.manifest
    bench.serving["flowers", 1] = ServingStatus(state="ready")
    assert bench.to_state(made, "published").state == "published"


@pytest.mark.parametrize("fields", [{"remote": None}, {"golden": "blob"}, {"artifact": "blob"}])
def test_a_version_is_either_an_artifact_or_remote(
    small_bench: Bench, remote: FakeRemote, fields: dict[str, Any]
) -> None:
    blob = small_bench.upload(b"bytes")
    chosen = {name: blob for name, value in fields.items() if value}
    if "remote" in fields:
        small_bench.registry.models.put("flowers")
        with pytest.raises(TollwayError, match="either an 'artifact' or a 'remote'"):
            small_bench.registry.publisher.publish("flowers", VersionRequest(), actor="ann")
        return
    with pytest.raises(TollwayError) as refused:
        publish(small_bench, remote, **chosen)
    assert refused.value.code is Code.INVALID


def test_manifests_without_a_remote_keep_the_text_that_their_digest_is_of() -> None:
    manifest = Manifest(model="m", inputs=(INPUT,), outputs=(OUTPUT,))
    assert b"remote" not in canonical_json(manifest)
