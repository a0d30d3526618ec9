"""What an evaluation asks of a server, and what it makes of the answers."""

import json
from typing import Any

import httpx
import numpy as np
import pytest

import tollway
from tests.sdk.fake_access import problem
from tests.sdk.fake_server import FakeServer
from tollway.evaluation.scoring import WARM_UP, engine_ms

ROWS = 40
X = np.random.default_rng(0).normal(size=(ROWS, 3))
Y = np.where(X[:, 0] > 0, "yes", "no")
MANIFEST: dict[str, Any] = {
    "task": "classification",
    "inputs": [{"name": "input", "datatype": "FP32", "shape": [-1, 3]}],
    "outputs": [
        {"name": "label", "datatype": "BYTES", "shape": [-1]},
        {"name": "probabilities", "datatype": "FP32", "shape": [-1, 2]},
    ],
    "labels": ["no", "yes"],
    "columns": [
        {"name": name, "type": "float", "input": "input", "index": index}
        for index, name in enumerate(("a", "b", "c"))
    ],
}


class Server(FakeServer):
    """Has one version, which knows the truth from the first column, and keeps evidence."""

    def __init__(self) -> None:
        super().__init__()
        self.add_version("m", MANIFEST, "validated")
        self.sizes: list[int] = []
        self.kept: list[dict[str, Any]] = []
        self.timing = "queue;dur=0.100, infer;dur=0.400, gateway;dur=9.0"
        self.infer = self._answer

    def _answer(
        self, _document: Any, arrays: dict[str, np.ndarray], _number: int
    ) -> dict[str, np.ndarray]:
        rows = arrays["input"]
        self.sizes.append(len(rows))
        sure = (1 / (1 + np.exp(-3 * rows[:, 0]))).astype(np.float32)
        label = np.where(rows[:, 0] > 0, "yes", "no").astype(object)
        return {"label": label, "probabilities": np.stack([1 - sure, sure], axis=1)}

    def _route(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/v1/models/m/versions/1/evidence":
            if request.method == "GET":
                return httpx.Response(200, json={"items": self.kept, "next": None})
            document = json.loads(request.content)
            kept = {"digest": "sha256:e", "created_at": "now", "created_by": "a"}
            self.kept.append({**kept, "evidence": document})
            return httpx.Response(201, json=self.kept[-1])
        answer = super()._route(request)
        if request.url.path.endswith("/infer"):
            answer.headers["Server-Timing"] = self.timing
        return answer


@pytest.fixture
def server() -> Server:
    return Server()


def test_rows_are_scored_in_pieces_by_the_version_in_the_path(
    client: tollway.Client, server: Server
) -> None:
    found = client.evaluate(
        "m", 1, X, Y, batch_rows=15, importance=False, latency=False, progress=False
    )

    assert server.sizes == [15, 15, 10]
    assert {r.url.path for r in server.requests if r.url.path.startswith("/v2/")} == {
        "/v2/models/m/versions/1/infer"
    }
    assert found["accuracy"] == 1.0
    assert found.metrics["roc_auc"] == tollway.Measured(value=1.0, low=1.0, high=1.0)
    assert found.manifest_digest == server.versions["m", 1]["digest"]
    assert found.positive == "yes"
    assert found.digest == "sha256:e"
    assert client.evidence("m", 1) == [found]


def test_a_column_that_the_model_does_not_use_has_no_importance_and_one_that_it_does_has(
    client: tollway.Client, server: Server
) -> None:
    found = client.evaluate(
        "m", 1, X, Y, latency=False, importance_repeats=3, importance_rows=20, progress=False
    )

    assert found.importance[0].column == "a"
    by_column = {one.column: one for one in found.importance}
    assert by_column["a"].mean > 0.2
    assert (by_column["b"].mean, by_column["c"].deviation) == (0.0, 0.0)
    assert server.sizes == [ROWS] + [20] * (1 + 3 * 3)
    assert found.resampling is not None
    assert (found.resampling.importance_repeats, found.resampling.importance_rows) == (3, 20)


def test_a_loss_that_grows_is_importance_too(client: tollway.Client) -> None:
    found = client.evaluate(
        "m", 1, X, Y, latency=False, main_metric="log_loss", importance_repeats=2, progress=False
    )
    assert found.importance[0].mean > 0.2


def test_latency_is_the_engines_own_where_it_tells_of_it(
    client: tollway.Client, server: Server
) -> None:
    found = client.evaluate(
        "m", 1, X, Y, importance=False, latency_requests=10, progress=False
    ).latency
    assert found is not None
    assert (found.measured, found.requests) == ("engine", 10)
    assert found.p50_ms == found.p99_ms == pytest.approx(0.5)
    assert server.sizes == [ROWS] + [1] * (WARM_UP + 10)
    server.timing = ""

    found = client.evaluate(
        "m", 1, X, Y, importance=False, latency_requests=10, progress=False
    ).latency

    assert found is not None
    assert found.measured == "answer"


def test_a_remote_version_has_no_engine_whose_time_there_would_be(
    client: tollway.Client, server: Server
) -> None:
    remote = {"url": "http://other", "model": "m", "binary": False}
    server.versions["m", 1]["manifest"] |= {"artifact": None, "remote": remote}
    found = client.evaluate(
        "m", 1, X, Y, importance=False, latency_requests=3, progress=False
    ).latency
    assert found is not None
    assert found.measured == "answer"


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("queue;dur=0.1, infer;dur=0.4, gateway;dur=3", 0.5),
        ("infer;dur=2.5", 2.5),
        ("queue;dur=0.000, infer;dur=0.000, gateway;dur=3", None),
        ("cdn-cache; desc=HIT", None),
        ("", None),
    ],
)
def test_the_engines_part_of_a_server_timing(header: str, wanted: float | None) -> None:
    assert engine_ms(header) == pytest.approx(wanted)


def test_rows_that_take_the_server_too_long_are_sent_in_halves(
    client: tollway.Client, server: Server
) -> None:
    for _ in range(5):  # a time limit is tried again before it counts
        server.fail("POST", ".*/infer", lambda _: httpx.Response(504, json={"error": "late"}))

    found = client.evaluate("m", 1, X, Y, importance=False, latency=False, progress=False)

    assert server.sizes == [20, 20]
    assert found["accuracy"] == 1.0


def test_a_row_outside_of_a_data_contract_is_named_in_the_terms_of_all_rows(
    client: tollway.Client, server: Server
) -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        return httpx.Response(422, json={"error": "row 3, column 'a': 9 is above the maximum 5"})

    server.fail("POST", ".*/infer", refuse)
    with pytest.raises(tollway.InvalidRequestError, match=r"of rows 0 to 14.*row 3, column 'a'"):
        client.evaluate("m", 1, X, Y, batch_rows=15, progress=False)
    assert server.kept == []


def test_a_refusal_of_the_evidence_is_the_callers_to_see(
    client: tollway.Client, server: Server
) -> None:
    server.fail("POST", ".*/evidence", lambda _: problem(409, "conflict", "another manifest"))
    with pytest.raises(tollway.ConflictError, match="another manifest"):
        client.evaluate("m", 1, X, Y, importance=False, latency=False, progress=False)


def test_nothing_is_kept_that_is_not_to_be(client: tollway.Client, server: Server) -> None:
    found = client.evaluate(
        "m", 1, X, Y, importance=False, latency=False, upload=False, metrics=["f1"], progress=False
    )
    assert (list(found.metrics), found.main_metric, found.digest) == (["f1"], "f1", "")
    assert server.kept == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"y": Y[:-1]}, "X has 40 rows and y 39"),
        ({"y": np.where(Y == "yes", 1, 0)}, "no truth is one of the model's classes"),
        ({"y": [None, *Y[1:]]}, r"y\[0\] is missing"),
        ({"metrics": ["rmse"]}, "there is no metric 'rmse' of this model"),
        ({"metrics": []}, "metrics is empty"),
        ({"main_metric": "auc"}, "main_metric 'auc' is not measured"),
        ({"batch_rows": 0}, "batch_rows is 0"),
        ({"X": X[:, :2]}, "the rows do not fit model 'm' version 1"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_is_wrong(
    client: tollway.Client, change: dict[str, Any], words: str
) -> None:
    given: dict[str, Any] = {"X": X, "y": Y, "importance": False, "latency": False, **change}
    with pytest.raises(tollway.InvalidRequestError, match=words):
        client.evaluate("m", 1, given.pop("X"), given.pop("y"), progress=False, **given)


def test_a_truth_that_a_file_gave_as_numbers_is_compared_with_classes_that_are_text(
    client: tollway.Client, server: Server
) -> None:
    server.versions["m", 1]["manifest"]["labels"] = ["0", "1"]
    server.infer = lambda *given: {
        **(answer := server._answer(*given)),
        "label": np.where(answer["label"] == "yes", "1", "0").astype(object),
    }
    found = client.evaluate(
        "m", 1, X, (Y == "yes").astype(int), importance=False, latency=False, progress=False
    )
    assert (found["accuracy"], found.positive) == (1.0, "1")


def test_models_without_a_truth_are_not_evaluated(client: tollway.Client, server: Server) -> None:
    server.versions["m", 1]["manifest"]["task"] = "clustering"
    with pytest.raises(tollway.InvalidRequestError, match="classifiers and regressors"):
        client.evaluate("m", 1, X, np.zeros(ROWS), progress=False)
