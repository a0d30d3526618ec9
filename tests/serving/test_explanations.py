"""Explanations by an engine: what is answered, what is refused, and that predictions go first."""

import asyncio
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import Ridge

from protocol.frames import TRACED, EngineStats, FrameDecoder, Kind, Operation
from protocol.manifest import Additive
from serving import explanations
from serving.background import BackgroundError
from serving.engine import Engine
from tests.serving import models
from tests.serving.explaining import (
    asked,
    contributions,
    engine_of,
    engine_of_graph,
    explained,
    matrix_background,
    matrix_columns,
    refused,
)
from tests.serving.rig import infer_frame, one_input
from tests.serving.test_engine import connected, frame_bytes

IRIS, KINDS = load_iris(return_X_y=True)
ROWS, VALUES = load_diabetes(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])
GENERATOR = np.random.default_rng(0)


@pytest.fixture(scope="module")
def forest(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """A classifier of three named classes over four columns."""
    model = RandomForestClassifier(8, random_state=0).fit(IRIS, NAMES[KINDS])
    return engine_of(model, IRIS, tmp_path_factory.mktemp("forest"))


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """A regressor over ten columns: too many to ask about every coalition."""
    model = RandomForestRegressor(8, max_depth=6, random_state=0).fit(ROWS, VALUES)
    return engine_of(model, ROWS, tmp_path_factory.mktemp("wide"))


def test_classes_have_an_explanation_each_and_each_adds_up(forest: Engine) -> None:
    answer = explained(forest, {"instances": IRIS[[0, 60, 120]].tolist()})
    assert answer["classes"] == NAMES.tolist()
    assert (answer["output"], answer["space"]) == ("probabilities", "probability")
    assert (answer["method"], answer["background_rows"]) == ("enumeration", 40)
    for row in answer["explanations"]:
        assert row["additivity_error"] < 1e-6
        for kind in NAMES:
            total = row["base_value"][kind] + sum(row["contributions"][kind].values())
            assert total == pytest.approx(row["prediction"][kind], abs=1e-6)
        assert sum(row["prediction"].values()) == pytest.approx(1, abs=1e-5)


def test_the_predicted_class_alone_may_be_asked_for_or_any_by_name(forest: Engine) -> None:
    rows = IRIS[[0, 60, 120]].tolist()
    whole = explained(forest, {"instances": rows})
    likely = explained(forest, {"instances": rows, "parameters": {"classes": "predicted"}})
    kinds = [list(row["prediction"]) for row in likely["explanations"]]
    assert kinds == [["setosa"], ["versicolor"], ["virginica"]]
    named = {"classes": ["virginica", "setosa"]}
    chosen = explained(forest, {"instances": rows, "parameters": named})["explanations"][1]
    assert list(chosen["contributions"]) == ["virginica", "setosa"]
    expected = whole["explanations"][1]["contributions"]["virginica"]
    assert chosen["contributions"]["virginica"] == expected


def test_estimates_add_up_and_are_the_same_for_the_same_request(wide: Engine) -> None:
    request = {"instances": ROWS[:2].tolist(), "parameters": {"permutations": 3}}
    first, second = explained(wide, request), explained(wide, request)
    assert first["explanations"] == second["explanations"]
    assert (first["method"], first["permutations"], first["seed"]) == ("permutation", 3, 0)
    for row in first["explanations"]:
        total = row["base_value"] + sum(row["contributions"].values())
        assert total == pytest.approx(row["prediction"], rel=1e-6)
    other = explained(wide, {**request, "parameters": {"permutations": 3, "seed": 1}})
    assert other["explanations"] != first["explanations"]


def test_rows_as_objects_lists_and_columns_are_explained_alike(forest: Engine) -> None:
    names = list(explained(forest, {"instances": IRIS[:1].tolist()})["explanations"][0]
                 ["contributions"]["setosa"])  # fmt: skip
    objects = [dict(zip(names, row, strict=True)) for row in IRIS[:2].tolist()]
    columns = {name: IRIS[:2, place].tolist() for place, name in enumerate(names)}
    by_list = explained(forest, {"instances": IRIS[:2].tolist()})["explanations"]
    assert explained(forest, {"instances": objects})["explanations"] == by_list
    assert explained(forest, {"inputs": columns})["explanations"] == by_list


def test_the_prediction_is_the_one_that_predictions_give(wide: Engine) -> None:
    connection, _, replies = connected(wide)
    body = json.dumps({"instances": ROWS[:1].tolist()}).encode()

    async def predicted() -> Any:
        frame = infer_frame(1, body, flags=Operation.V1_PREDICT)
        connection.data_received(frame_bytes(frame))
        while not (found := replies()):  # noqa: ASYNC110 -- the engine's turns
            await asyncio.sleep(0)
        return json.loads(found[0].body)["predictions"][0]

    assert explained(wide, body)["explanations"][0]["prediction"] == asyncio.run(predicted())


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"permutations": 0}, "'parameters': Expected `int` >= 1 - at `$.permutations`"),
        ({"permutation": 3}, "unknown field `permutation`"),
        ({"classes": ["rose"]}, "class 'rose' is none of the model's: 'setosa', 'versicolor'"),
        ({"classes": []}, "'classes' is empty"),
        ({"classes": "some"}, "'parameters': "),
        ({"output": "label"}, "output 'label' holds no numbers"),
        ({"output": "odds"}, "odds"),
        ({"method": "guess"}, "'parameters': "),
        ({"seed": 1 << 60}, "'parameters': "),
        (["x"], "'parameters': Expected `object`"),
    ],
)
def test_parameters_that_mean_nothing_are_refused(
    forest: Engine, parameters: object, message: str
) -> None:
    status, error = refused(forest, {"instances": IRIS[:1].tolist(), "parameters": parameters})
    assert status == 400
    assert message in error


def test_what_predict_refuses_explain_refuses_in_the_same_words(forest: Engine) -> None:
    status, error = refused(forest, {"instances": [[1, 2, 3]]})
    assert (status, "4" in error) == (400, True)
    assert refused(forest, {"rows": []})[0] == 400
    assert refused(forest, b"{")[0] == 400


def test_one_value_has_no_classes(wide: Engine) -> None:
    request = {"instances": ROWS[:1].tolist(), "parameters": {"classes": ["x"]}}
    assert "there are no classes" in refused(wide, request)[1]


def test_rows_evaluations_and_answers_are_bounded_before_anything_runs(tmp_path: Path) -> None:
    model = RandomForestRegressor(8, max_depth=3, random_state=0).fit(ROWS, VALUES)
    limits = {"explain_max_rows": 5, "explain_max_evaluations": 20_000}
    engine = engine_of(model, ROWS, tmp_path, **limits)
    six = {"instances": ROWS[:6].tolist()}
    assert refused(engine, six) == (
        413,
        "the request has 6 rows, and 5 can be explained in one: split it",
    )
    assert "and 2 can be explained" in refused(engine, six, c=2)[1]
    status, error = refused(engine, {"instances": ROWS[:5].tolist()})
    needed = 40 + 5 * (2 * 10 * 9 * 40 + 2)
    assert status == 413
    assert f"needs {needed} rows of the model, and may need 20000" in error
    stats = json.loads(engine.stats())
    assert stats["explanations"]["rows_run"] == stats["inference_count"] == 0
    few = {"instances": ROWS[:1].tolist(), "parameters": {"permutations": 1}}
    assert explained(engine, few)["evaluations"] == 40 + 2 * 9 * 40 + 2


def test_a_deadline_that_cannot_be_kept_is_refused_before_anything_runs(wide: Engine) -> None:
    request = {"instances": ROWS[:50].tolist(), "parameters": {"permutations": 20}}
    before = json.loads(wide.stats())["explanations"]["rows_run"]
    status, error = refused(wide, request, left_ms=3)
    assert status == 503
    assert "and its deadline leaves 3 ms: send fewer rows, ask for fewer permutations" in error
    assert json.loads(wide.stats())["explanations"]["rows_run"] == before


async def test_a_deadline_that_passes_ends_the_explanation(
    wide: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explanations.Explanations, "_check_deadline", lambda *_: None)
    request = {"instances": ROWS[:50].tolist(), "parameters": {"permutations": 20}}
    answer = await asked(wide, request, left_ms=20)
    assert answer.status == 504
    assert wide.idle


async def test_a_client_that_goes_away_ends_its_explanation(wide: Engine) -> None:
    connection, _, replies = connected(wide)
    body = json.dumps({"instances": ROWS[:50].tolist()}).encode()
    connection.data_received(frame_bytes(infer_frame(1, body, flags=Operation.V1_EXPLAIN)))
    await asyncio.sleep(0)
    assert not wide.idle
    before = json.loads(wide.stats())["explanations"]["answered"]
    connection.data_received(frame_bytes(infer_frame(1, b"")._replace(kind=Kind.CANCEL)))
    async with asyncio.timeout(20):
        while not wide.idle:  # noqa: ASYNC110 -- the engine's turns
            await asyncio.sleep(0)
    assert replies() == []
    assert json.loads(wide.stats())["explanations"]["answered"] == before


async def test_predictions_go_before_an_explanation_between_its_runs(wide: Engine) -> None:
    connection, _, replies = connected(wide)
    body = json.dumps({"instances": ROWS[:20].tolist()}).encode()
    connection.data_received(frame_bytes(infer_frame(1, body, flags=Operation.V1_EXPLAIN)))
    row = json.dumps(one_input(ROWS[0].tolist(), [1, 10], name="input")).encode()
    seen: list[int] = []
    async with asyncio.timeout(60):
        for id in range(2, 12):
            runs = json.loads(wide.stats())["explanations"]["rows_run"]
            connection.data_received(frame_bytes(infer_frame(id, row)))
            while not (found := [frame.id for frame in replies()]):  # noqa: ASYNC110 -- the engine's turns
                await asyncio.sleep(0)
            seen += found
            # One run was under way at most, and one more is begun in the turn of the answer.
            after = json.loads(wide.stats())["explanations"]["rows_run"]
            assert after - runs <= 3 * explanations.MAX_RUN_ROWS
    assert seen == list(range(2, 12))
    connection.data_received(frame_bytes(infer_frame(1, b"")._replace(kind=Kind.CANCEL)))


async def test_where_the_time_went_is_told_and_counted(forest: Engine) -> None:
    before = json.loads(forest.stats())
    body = json.dumps({"instances": IRIS[:2].tolist()}).encode()
    connection, transport, _ = connected(forest)
    flags = Operation.V1_EXPLAIN | TRACED
    connection.data_received(frame_bytes(infer_frame(4, body, flags=flags)))
    async with asyncio.timeout(30):
        while not forest.idle:  # noqa: ASYNC110 -- the engine's turns
            await asyncio.sleep(0)

    frames = [f for f in FrameDecoder().feed(b"".join(transport.writes)) if f.id == 4]
    trace, answer = frames
    assert trace.kind == Kind.TRACE
    told = json.loads(trace.body)
    assert (answer.kind, answer.status, answer.c) == (Kind.REPLY, 200, 2)
    assert answer.b == told["run_us"] > 0
    stats = json.loads(forest.stats(), object_hook=None)
    assert stats["success_count"] == before["success_count"]
    assert stats["execution_count"] == before["execution_count"]
    counted, then = stats["explanations"], before["explanations"]
    assert counted["rows"] - then["rows"] == 2
    assert counted["rows_run"] - then["rows_run"] == json.loads(answer.body)["evaluations"]
    assert EngineStats().explanations.answered == 0


def test_a_model_that_answers_by_chance_is_not_explained(tmp_path: Path) -> None:
    noise = helper.make_node("RandomUniformLike", ["input"], ["noise"])
    graph = models.model(
        [noise, helper.make_node("Add", ["noise", "input"], ["sum"]),
         helper.make_node("Identity", ["sum"], ["prediction"])],
        [models.tensor("input", "FP32", (None, 1))],
        [models.tensor("prediction", "FP32", (None, 1))],
    )  # fmt: skip
    engine = engine_of_graph(
        graph, matrix_background(np.zeros((5, 1))), tmp_path, columns=matrix_columns("a")
    )
    status, error = refused(engine, {"instances": [[0.5]]})
    assert status == 422
    assert "the model does not answer the same row in the same way" in error


def test_a_sum_that_is_none_is_found_out_and_estimated_instead(tmp_path: Path) -> None:
    graph = models.model(
        [
            helper.make_node("ReduceProd", ["input"], ["prediction"], axes=[1], keepdims=1),
        ],
        [models.tensor("input", "FP32", (None, 2))],
        [models.tensor("prediction", "FP32", (None, 1))],
    )
    rows = GENERATOR.normal(size=(10, 2))
    engine = engine_of_graph(
        graph,
        matrix_background(rows),
        tmp_path,
        additive=(Additive(output="prediction"),),
        columns=matrix_columns("a", "b"),
    )
    answer = explained(engine, {"instances": [[2.0, 3.0]]})
    assert answer["method"] == "enumeration"
    a, b = (rows[:, column].mean() for column in (0, 1))
    base = (rows[:, 0] * rows[:, 1]).mean()
    expected = [(2 * b - base + 6 - 3 * a) / 2, (3 * a - base + 6 - 2 * b) / 2]
    assert contributions(answer)[0] == pytest.approx(expected, rel=1e-5)


def test_labels_alone_cannot_be_explained(tmp_path: Path) -> None:
    graph = models.model(
        [helper.make_node("ArgMax", ["input"], ["label"], axis=1, keepdims=0)],
        [models.tensor("input", "FP32", (None, 2))],
        [models.tensor("label", "INT64", (None,))],
    )
    engine = engine_of_graph(
        graph, matrix_background([[1, 2]]), tmp_path, columns=matrix_columns("a", "b")
    )
    status, error = refused(engine, {"instances": [[1, 2]]})
    assert (status, "gives labels alone" in error) == (422, True)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{}", "not readable"),
        (matrix_background([[1.0]]), "are refused"),
        (matrix_background([[1.0, 2.0]] * 1001), "1001 background rows: 1 to 1000"),
    ],
)
def test_background_rows_that_do_not_fit_keep_the_engine_from_starting(
    tmp_path: Path, data: bytes, message: str
) -> None:
    with pytest.raises(BackgroundError, match=message):
        engine_of_graph(models.linear(2), data, tmp_path, columns=matrix_columns("a", "b"))


def test_columns_that_are_no_whole_input_keep_the_engine_from_starting(tmp_path: Path) -> None:
    with pytest.raises(BackgroundError, match="are not all 2 of its elements"):
        engine_of_graph(
            models.linear(2), matrix_background([[1, 2]]), tmp_path, columns=matrix_columns("a")
        )


def test_no_more_than_so_many_wait(wide: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explanations, "MAX_WAITING", 2)

    async def statuses() -> list[int]:
        connection, _, replies = connected(wide)
        body = json.dumps({"instances": ROWS[:1].tolist()}).encode()
        for id in range(1, 4):
            connection.data_received(frame_bytes(infer_frame(id, body, flags=Operation.V1_EXPLAIN)))
        found = []
        async with asyncio.timeout(60):
            while len(found) < 3:
                await asyncio.sleep(0)
                found += replies()
        return [frame.status for frame in sorted(found, key=lambda frame: frame.id)]

    assert asyncio.run(statuses()) == [200, 200, 503]


def test_a_ridge_needs_few_runs(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        engine = engine_of(Ridge().fit(ROWS, VALUES), ROWS, tmp_path)
    first = explained(engine, {"instances": ROWS[:1].tolist()})
    assert (first["method"], first["space"]) == ("additive", "output")
    assert first["evaluations"] == 40 * 11 + 11
    assert explained(engine, {"instances": ROWS[:3].tolist()})["evaluations"] == 3 * 11


def test_long_runs_are_in_a_thread_and_answer_the_same(
    wide: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = {"instances": ROWS[:2].tolist(), "parameters": {"permutations": 1}}
    expected = explained(wide, request)["explanations"]
    monkeypatch.setattr("serving.engine.INLINE_S", 0.0)
    assert explained(wide, request)["explanations"] == expected


def test_a_model_whose_rows_depend_on_each_other_is_asked_a_row_at_a_time(tmp_path: Path) -> None:
    graph = models.model(
        [
            helper.make_node("ReduceMax", ["input"], ["most"], axes=[0], keepdims=1),
            helper.make_node("Div", ["input", "most"], ["shares"]),
            helper.make_node("ReduceSum", ["shares"], ["prediction"], keepdims=1),
        ],
        [models.tensor("input", "FP32", (None, 2))],
        [models.tensor("prediction", "FP32", (None, 1))],
    )
    engine = engine_of_graph(
        graph,
        matrix_background(GENERATOR.uniform(1, 2, (6, 2))),
        tmp_path,
        additive=(Additive(output="prediction"),),
        columns=matrix_columns("a", "b"),
    )
    answer = explained(engine, {"instances": [[1.0, 3.0], [2.0, 1.0]]})
    assert answer["method"] == "enumeration", "what was found of single rows is not believed"
    assert [row["prediction"] for row in answer["explanations"]] == [2.0, 2.0]
    assert not contributions(answer).any()


async def test_an_engine_that_drains_answers_what_it_explains(forest: Engine) -> None:
    connection, transport, _ = connected(forest)
    body = json.dumps({"instances": IRIS[:2].tolist()}).encode()
    connection.data_received(frame_bytes(infer_frame(7, body, flags=Operation.V1_EXPLAIN)))
    connection.drain()
    async with asyncio.timeout(30):
        while not forest.idle:  # noqa: ASYNC110 -- the engine's turns
            await asyncio.sleep(0)
    kinds = [(frame.kind, frame.id) for frame in FrameDecoder().feed(b"".join(transport.writes))]
    assert kinds[-1] == (Kind.REPLY, 7)
    assert Kind.DRAIN in [kind for kind, _ in kinds]
