"""Publishing: what becomes a version, what is refused, and what happens when two come at once."""

import hashlib
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from protocol.configuration import VersionDoc
from protocol.errors import Code, TollwayError
from protocol.manifest import Additive, Blob, Column, Tensor, canonical_json, sha256_digest
from registry import publish
from registry.fit import check_labels
from registry.publish import VersionRequest
from registry.store import changes
from registry.store.database import Database
from tests.registry import models_onnx
from tests.registry.conftest import Bench, Crowd, make_bench


def test_a_version_says_what_its_graph_says(bench: Bench) -> None:
    version = bench.publish()
    assert (version.number, version.state, version.loaded) == (1, "registered", True)
    assert version.manifest.inputs == (
        Tensor(name="input", datatype="FP32", shape=(-1, 3), symbols=("rows", None)),
    )
    assert version.manifest.outputs == (
        Tensor(name="prediction", datatype="FP32", shape=(-1, 1), symbols=("rows", None)),
    )
    assert version.manifest.opsets == {"ai.onnx": 17}
    assert version.manifest.ir_version == 8


def test_the_digest_is_that_of_the_canonical_manifest_and_survives_storage(bench: Bench) -> None:
    version = bench.publish()
    stored = bench.registry.versions.get("credit", 1)
    text = canonical_json(stored.manifest)
    assert stored.digest == version.digest == "sha256:" + hashlib.sha256(text).hexdigest()


def test_a_publisher_does_not_wait_for_ever_for_others_inspections(
    small_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_bench.publish()
    publisher = small_bench.registry.publisher
    monkeypatch.setattr(publish, "INSPECTION_WAIT_S", 0.01)
    with ExitStack() as others:
        for _ in range(publish.CONCURRENT_INSPECTIONS):
            others.enter_context(publisher._turn())
        with pytest.raises(TollwayError) as busy:
            small_bench.publish()
    assert busy.value.code is Code.UNAVAILABLE
    assert small_bench.publish().number == 2


def test_a_version_travels_on_the_change_stream(bench: Bench) -> None:
    version = bench.publish()
    with bench.registry.database.read() as connection:
        page = changes.read(connection, "", 0)
    newest = [change for change in page.changes if change.kind == "version"][-1]
    assert newest.key == "credit/1"
    assert newest.doc is not None
    doc = msgspec.json.decode(newest.doc, type=VersionDoc)
    assert (doc.digest, doc.state, doc.loaded) == (version.digest, "registered", True)


def test_two_publishers_at_once_get_two_numbers(bench: Bench, crowd: Crowd) -> None:
    artifact = bench.upload(models_onnx.linear().SerializeToString())
    bench.registry.models.put("credit")
    publisher = bench.registry.publisher

    def publish(index: int) -> object:
        request = VersionRequest(artifact=artifact, description=f"by {index}")
        return publisher.publish("credit", request, actor=f"p{index}")[0].number

    assert sorted(crowd(6, publish)) == [1, 2, 3, 4, 5, 6]


def test_numbers_are_each_model_s_own(bench: Bench) -> None:
    assert [bench.publish(model).number for model in ("a", "b", "a", "b")] == [1, 1, 2, 2]


def test_a_repeated_request_gives_the_version_that_the_first_one_made(
    bench: Bench, crowd: Crowd
) -> None:
    request = VersionRequest(artifact=bench.upload(models_onnx.linear().SerializeToString()))
    bench.registry.models.put("credit")

    def publish(_: int) -> object:
        found, created = bench.registry.publisher.publish(
            "credit", request, actor="ann", idempotency_key="k1"
        )
        return found.number, created

    results = crowd(4, publish)
    assert {number for number, _ in results} == {1}
    assert [created for _, created in results].count(True) == 1
    other = msgspec.structs.replace(request, description="another")
    with pytest.raises(TollwayError) as refused:
        bench.registry.publisher.publish("credit", other, actor="ann", idempotency_key="k1")
    assert refused.value.code is Code.CONFLICT
    again, created = bench.registry.publisher.publish(
        "credit", other, actor="bob", idempotency_key="k1"
    )
    assert (again.number, created) == (2, True)


def refusal(bench: Bench, request: VersionRequest, model: str = "credit") -> TollwayError:
    bench.registry.models.put("credit")
    with pytest.raises(TollwayError) as refused:
        bench.registry.publisher.publish(model, request, actor="ann")
    if model == "credit":
        assert bench.registry.versions.page("credit", 0, 10) == []
    bundles = bench.settings.staging_dir / "bundles"
    assert list(bundles.iterdir()) == []
    return refused.value


def test_what_is_not_onnx_is_refused(small_bench: Bench) -> None:
    for data in (b"", b"not a model at all", b"\x08\x08" * 10):
        error = refusal(small_bench, VersionRequest(artifact=small_bench.upload(data)))
        assert error.code is Code.INVALID_MODEL
        assert "not an ONNX model" in error.public


def test_a_model_that_the_checker_refuses_is_refused_with_its_reason(small_bench: Bench) -> None:
    model = models_onnx.linear()
    model.graph.node[0].input[1] = "nowhere"
    artifact = small_bench.upload(model.SerializeToString())
    error = refusal(small_bench, VersionRequest(artifact=artifact))
    assert error.code is Code.INVALID_MODEL
    assert "nowhere" in error.public
    assert str(small_bench.folder) not in error.public


def test_a_blob_that_was_never_uploaded_is_refused(small_bench: Bench) -> None:
    digest = sha256_digest(b"nowhere")
    error = refusal(small_bench, VersionRequest(artifact=Blob(digest=digest, size=7)))
    assert error.code is Code.INVALID
    assert "has not been uploaded" in error.public


def test_a_size_that_is_not_the_blob_s_is_refused(small_bench: Bench) -> None:
    artifact = small_bench.upload(b"1234")
    wrong = msgspec.structs.replace(artifact, size=5)
    assert refusal(small_bench, VersionRequest(artifact=wrong)).code is Code.INVALID


def test_a_version_larger_than_the_limit_is_refused(
    sqlite_database: Database, tmp_path: Path
) -> None:
    bench = make_bench(sqlite_database, tmp_path, max_artifact_bytes=300)
    artifact = bench.upload(models_onnx.linear().SerializeToString())
    more = msgspec.structs.replace(bench.upload(b"x" * 200), path="weights.bin")
    error = refusal(bench, VersionRequest(artifact=artifact, files=(more,)))
    assert error.code is Code.TOO_LARGE
    with pytest.raises(TollwayError) as refused:
        bench.upload(b"y" * 301)
    assert refused.value.code is Code.TOO_LARGE


@pytest.mark.parametrize("name", ["Credit", "-a", "a_b", "", "a" * 64, "a\n", "ä"])
def test_a_name_outside_the_rule_is_refused(small_bench: Bench, name: str) -> None:
    artifact = small_bench.upload(b"1234")
    assert refusal(small_bench, VersionRequest(artifact=artifact), name).code is Code.INVALID
    with pytest.raises(TollwayError) as refused:
        small_bench.registry.models.put(name)
    assert refused.value.code is Code.INVALID


def test_a_model_that_was_never_made_is_refused(small_bench: Bench) -> None:
    request = VersionRequest(artifact=small_bench.upload(b"1234"))
    assert refusal(small_bench, request, "unknown").code is Code.MODEL_NOT_FOUND


def out(name: str, *shape: int, datatype: str = "FP32") -> Tensor:
    return Tensor(name=name, datatype=datatype, shape=shape)


@pytest.mark.parametrize(
    ("outputs", "labels"),
    [
        ([out("label", -1, datatype="INT64"), out("probabilities", -1, 3)], 2),
        ([out("output_probability", -1, 3)], 4),
        ([out("y", -1, 3)], 2),
        ([out("probability", -1, 1)], 3),
        ([out("scores_a", -1, 2), out("scores_b", -1, 3)], 5),
    ],
)
def test_labels_that_are_not_as_many_as_the_classes_are_refused(
    outputs: list[Tensor], labels: int
) -> None:
    with pytest.raises(TollwayError, match=rf"^labels: there are {labels}, and output ") as caught:
        check_labels(["a"] * labels, outputs)
    assert caught.value.code is Code.INVALID


@pytest.mark.parametrize(
    ("outputs", "labels"),
    [
        ([out("label", -1, datatype="INT64"), out("probabilities", -1, 3)], 3),
        ([out("label", -1, datatype="INT64"), out("probabilities", -1, 3)], 0),
        ([out("label", -1, datatype="INT64"), out("probabilities", -1, -1)], 2),
        ([out("label", -1, datatype="INT64"), out("embedding", -1, 64)], 2),
        ([out("prediction", -1, 1)], 3),
        ([out("probability", -1, 1)], 2),
        ([out("scores_a", -1, 2), out("scores_b", -1, 3)], 3),
        ([out("probabilities", -1)], 2),
    ],
)
def test_labels_are_taken_where_they_fit_and_where_the_graph_tells_nothing(
    outputs: list[Tensor], labels: int
) -> None:
    check_labels(["a"] * labels, outputs)


def test_a_version_has_a_label_for_each_class_of_its_graph(small_bench: Bench) -> None:
    graph = models_onnx.linear()
    for names in (graph.graph.node[0].output, graph.graph.output):
        if isinstance(names[0], str):
            names[0] = "probabilities"
        else:
            names[0].name = "probabilities"
    artifact = small_bench.upload(graph.SerializeToString())
    wrong = VersionRequest(artifact=artifact, labels=("a", "b", "c"))
    assert "has one column, which is of two classes" in refusal(small_bench, wrong).public
    right = VersionRequest(artifact=artifact, labels=("a", "b"))
    made, _ = small_bench.registry.publisher.publish("credit", right, actor="p")
    assert made.manifest.labels == ("a", "b")


def test_columns_must_have_a_place_in_the_graph(small_bench: Bench) -> None:
    artifact = small_bench.upload(models_onnx.linear().SerializeToString())
    age = Column(name="age", type="float", input="input", index=0)
    bad = {
        "not have": msgspec.structs.replace(age, input="nope"),
        "index 3": msgspec.structs.replace(age, index=3),
    }
    for reason, column in bad.items():
        error = refusal(small_bench, VersionRequest(artifact=artifact, columns=(column,)))
        assert error.code is Code.INVALID
        assert reason in error.public
    twice = (age, msgspec.structs.replace(age, name="other"))
    assert "twice" in refusal(small_bench, VersionRequest(artifact=artifact, columns=twice)).public


def test_background_rows_and_what_the_graph_is_found_to_be_are_in_the_manifest(
    small_bench: Bench,
) -> None:
    artifact = small_bench.upload(models_onnx.linear().SerializeToString())
    rows = small_bench.upload(
        b'{"request": {"inputs": [{"name": "input", "shape": [1, 3], "datatype": "FP32", '
        b'"data": [1, 2, 3]}]}}'
    )
    columns = tuple(
        Column(name=name, type="float", input="input", index=index)
        for index, name in enumerate("abc")
    )
    small_bench.registry.models.put("credit")
    request = VersionRequest(artifact=artifact, background=rows, columns=columns)
    version, _ = small_bench.registry.publisher.publish("credit", request, actor="ann")
    assert version.manifest.background == rows
    assert version.manifest.additive == (Additive(output="prediction"),)
    assert ("background", rows) in version.manifest.blobs()
    assert small_bench.registry.collector.collect().marked == 0


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        (b"{}", "abc", "the background blob is not {request} with a V2 request"),
        (b'{"request": {"inputs": [{"name": "other"}]}}', "abc", "the background rows' inputs"),
        (b'{"request": {"inputs": [{"name": "input"}]}}', "", "input 'input' has no columns"),
    ],
)
def test_background_rows_must_fit_the_graph_and_its_columns(
    small_bench: Bench, rows: bytes, columns: str, message: str
) -> None:
    small_bench.registry.models.put("credit")
    request = VersionRequest(
        artifact=small_bench.upload(models_onnx.linear().SerializeToString()),
        background=small_bench.upload(rows),
        columns=tuple(
            Column(name=name, type="float", input="input", index=index)
            for index, name in enumerate(columns)
        ),
    )
    error = refusal(small_bench, request)
    assert error.code is Code.INVALID
    assert message in error.public


def test_golden_rows_must_name_the_graph_s_tensors(small_bench: Bench) -> None:
    artifact = small_bench.upload(models_onnx.linear().SerializeToString())

    def golden(inputs: list[str], outputs: list[str]) -> Blob:
        rows = {
            "request": {"inputs": [{"name": name} for name in inputs]},
            "response": {"outputs": [{"name": name} for name in outputs]},
        }
        return small_bench.upload(msgspec.json.encode(rows))

    for bad in (
        small_bench.upload(b"{"),
        golden(["other"], ["prediction"]),
        golden([], ["prediction"]),
        golden(["input"], ["other"]),
        golden(["input"], []),
    ):
        error = refusal(small_bench, VersionRequest(artifact=artifact, golden=bad))
        assert error.code is Code.INVALID
        assert "golden" in error.public
    good = VersionRequest(artifact=artifact, golden=golden(["input"], ["prediction"]))
    version, _ = small_bench.registry.publisher.publish("credit", good, actor="ann")
    assert version.manifest.golden == good.golden


def test_what_canonical_json_cannot_hold_is_refused(small_bench: Bench) -> None:
    artifact = small_bench.upload(models_onnx.linear().SerializeToString())
    for request in (
        VersionRequest(artifact=artifact, labels=(2**60,)),
        VersionRequest(artifact=artifact, metrics={"auc": float("nan")}),
    ):
        assert refusal(small_bench, request).code is Code.INVALID


def test_the_manifest_cannot_be_changed_by_registering_it_again(bench: Bench) -> None:
    first, second = bench.publish(), bench.publish()
    assert first.digest == second.digest
    assert bench.registry.versions.get("credit", 1).manifest == second.manifest
