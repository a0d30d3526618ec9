"""Two answers are compared value by value, down to their bits."""

import base64
import json
import math
from collections import Counter
from collections.abc import Mapping

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tollway
from tollway.replay import Replay, Scored, compared
from tollway.tensors import HEADER_LENGTH, Array, encode_request


def v2(outputs: Mapping[str, Array]) -> tuple[bytes, int | None]:
    """An answer in binary: requests and answers describe their tensors alike."""
    headers, body = encode_request(outputs)
    document = json.loads(body[: int(headers[HEADER_LENGTH])])
    head = json.dumps({"outputs": document["inputs"]}).encode()
    return head + body[int(headers[HEADER_LENGTH]) :], len(head)


def replayed(
    before: tuple[bytes, int | None],
    after: tuple[bytes, int | None],
    *,
    v1: bool = False,
    shared: bool = False,
    same_artifact: bool = True,
    same_runtime: bool = True,
) -> Replay:
    return compared(
        id="a",
        model="risk",
        versions=(1, 1),
        v1=v1,
        before=before,
        after=Scored("b", *after),
        shared_run=shared,
        same_artifact=same_artifact,
        same_runtime=same_runtime,
    )


def scores(*values: float) -> dict[str, Array]:
    return {"p": np.array(values, np.float32).reshape(-1, 1)}


def as_v1(document: object) -> tuple[bytes, int | None]:
    return json.dumps(document).encode(), None


@given(st.lists(st.floats(width=32), min_size=1, max_size=20))
def test_what_is_the_same_is_equal_whatever_the_values(values: list[float]) -> None:
    found = replayed(v2(scores(*values)), v2(scores(*values)))
    assert found.equal
    assert found.same_text


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=9), st.data())
def test_every_bit_counts(values: list[float], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(values) - 1))
    bits = np.array(values, np.float32).view(np.uint32)
    bits[place] ^= np.uint32(1 << data.draw(st.integers(0, 31)))
    changed = bits.view(np.float32).reshape(-1, 1)
    found = replayed(v2(scores(*values)), v2({"p": changed}))
    assert not found.equal
    assert [one.index for one in found.outputs[0].first] == [(place, 0)]


def test_the_last_bits_of_a_shared_run_are_said_to_be_so() -> None:
    near = np.nextafter(np.float32(0.3), np.float32(1))
    before, after = v2(scores(0.3, 0.7)), v2(scores(float(near), 0.7))
    shared = replayed(before, after, shared=True)
    assert shared.only_rounding
    assert "shared a run with others" in shared.verdict
    alone = replayed(before, after)
    assert "shared" not in alone.verdict
    other = replayed(before, after, shared=True, same_runtime=False)
    assert "another runtime" in other.verdict
    assert not replayed(before, v2(scores(0.301, 0.7)), shared=True).only_rounding


def test_labels_that_flip_and_numbers_that_differ_are_counted_apart() -> None:
    before = {"label": np.array(["a", "b"], dtype=object), **scores(0.5, 0.25)}
    after = {"label": np.array(["a", "c"], dtype=object), **scores(0.5, 0.75)}
    found = replayed(v2(before), v2(after), same_artifact=False)
    label, score = found.outputs
    assert (label.flips, label.differing, label.first[0].after) == (1, 1, "c")
    assert (score.flips, score.max_abs, score.mean_abs) == (0, 0.5, 0.25)
    assert "another version" in found.verdict


def test_values_that_are_not_finite_are_compared_too() -> None:
    found = replayed(v2(scores(math.nan, math.inf)), v2(scores(math.nan, 1.0)))
    assert found.outputs[0].differing == 1
    assert found.outputs[0].max_abs == math.inf


def test_outputs_that_are_not_alike_are_not_compared() -> None:
    found = replayed(v2(scores(1.0)), v2(scores(1.0, 2.0)))
    assert found.outputs[0].problem == "has another shape"
    found = replayed(v2(scores(1.0)), v2({"q": np.zeros((1, 1), np.float32)}))
    assert [one.output for one in found.outputs] == ["p", "q"]
    assert not found.equal


@pytest.mark.parametrize(
    ("before", "after", "place", "output"),
    [
        ({"predictions": [0.5, 0.25]}, {"predictions": [0.5, 0.5]}, (1,), "predictions"),
        ({"outputs": [[1.0], [2.0]]}, {"outputs": [[1.0], [2.5]]}, (1, 0), "outputs"),
        (
            {"predictions": [{"label": "a", "probabilities": [0.1, 0.9]}]},
            {"predictions": [{"label": "a", "probabilities": [0.1, 0.8]}]},
            (0, 1),
            "probabilities",
        ),
        ({"predictions": [0.0]}, {"predictions": [-0.0]}, (0,), "predictions"),
        ({"predictions": [None]}, {"predictions": [1.0]}, (0,), "predictions"),
    ],
)
def test_answers_of_v1_are_compared_by_output(
    before: object, after: object, place: tuple[int, ...], output: str
) -> None:
    assert replayed(as_v1(before), as_v1(before), v1=True).equal
    found = replayed(as_v1(before), as_v1(after), v1=True)
    (differing,) = [one for one in found.outputs if one.differing]
    assert (differing.output, differing.first[0].index) == (output, place)


@pytest.mark.parametrize("id", ["", "../models", "A-1-1", "0" * 65])
def test_what_is_no_prediction_id_is_not_asked_for(id: str) -> None:
    def refuse(_request: httpx.Request) -> httpx.Response:
        raise AssertionError("nothing may be sent")

    transport = httpx.MockTransport(refuse)
    with (
        tollway.Client("http://127.0.0.1:1", "t", transport=transport) as client,
        pytest.raises(tollway.InvalidRequestError, match="not a prediction id"),
    ):
        client.receipt(id)


def test_of_many_replays_each_takes_its_payload_and_a_score_and_no_other_request() -> None:
    asked: Counter[str] = Counter()
    body = base64.b64encode(b'{"predictions": [1.0]}').decode()
    captures = [captured(f"{'a' * 16}-1-{number:x}") for number in range(12)]

    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path.endswith("/transition-report"):
            return httpx.Response(200, json=REPORT)
        if path.endswith("/captures"):
            return httpx.Response(200, json={"items": captures, "next": None})
        if path.endswith(":predict"):
            asked["score"] += 1
            id = f"{'b' * 16}-2-{asked['score']:x}"
            content = b'{"predictions": [1.0]}'
            return httpx.Response(200, content=content, headers={"Tollway-Prediction-Id": id})
        if path.endswith("/capture"):
            asked["payload"] += 1
            return httpx.Response(200, json=captures[0] | {"request": body, "answer": body})
        if path.startswith("/api/v1/predictions/"):
            asked["epoch"] += 1
            return httpx.Response(200, json=RECEIPT | {"id": path.rpartition("/")[2]})
        asked["version"] += 1
        return httpx.Response(200, json=VERSION)

    transport = httpx.MockTransport(answer)
    with tollway.Client("http://127.0.0.1:1", "t", transport=transport) as client:
        (caller,) = client.transition_report("risk", 1, replay=12).callers

    assert (caller.answers.basis, caller.answers.compared, caller.answers.different) == (
        "replay", 12, 0,
    )  # fmt: skip
    assert asked == {"score": 12, "payload": 12, "epoch": 2, "version": 1}


def captured(id: str) -> dict[str, object]:
    """A capture as it is listed."""
    return {
        "id": id, "at": "2027-01-15T08:00:00Z", "model": "risk", "version": 1, "variant": "stable",
        "application": "shop", "path": "v1_predict", "rows": 1, "bytes": 10, "shared_run": False,
    }  # fmt: skip


REPORT = {
    "model": "risk", "version": 1, "state": "deprecated", "generated_at": "2027-01-15T08:00:00Z",
    "days": 30, "successor": 2, "requests": 12, "applications": 1,
    "callers": [
        {
            "application": "shop", "requests": 12, "errors": 0, "rows": 12, "trend": "new",
            "first_call_at": "2027-01-15T08:00:00Z", "last_call_at": "2027-01-15T08:00:00Z",
            "last_week": 12, "week_before": 0, "answers": {"basis": "unknown"},
        }
    ],
}  # fmt: skip
RECEIPT = {
    "answered_by": "engine", "model": "risk", "version": 1, "manifest_digest": "sha256:00",
    "artifact_digest": None, "runtime": None, "configuration_revision": 1,
    "begun_at": "2027-01-15T08:00:00Z", "gateway": None,
}  # fmt: skip
VERSION = {
    "model": "risk", "number": 2, "digest": "sha256:00", "state": "published", "loaded": True,
    "manifest": {"model": "risk", "inputs": [], "outputs": []},
}  # fmt: skip
