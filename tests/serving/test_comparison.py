"""Comparing a shadow's outputs with another version's answer."""

import json
import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import ModelProto

from protocol import sketch
from protocol.frames import NO_HEADER, Operation
from protocol.manifest import Task
from protocol.shadowing import MAX_PAIRS, Tally
from serving.answers import Answer, Answers, UnreadableError
from serving.call import Results
from serving.comparison import (
    Compared,
    Comparison,
    RequestMeans,
    count,
    count_request,
    label_text,
    means_of,
    sketch_of,
)
from serving.signature import Signature
from serving.tensors import Array
from tests.serving import models
from tests.serving.conftest import MakeRig
from tests.serving.models import manifest_of
from tests.serving.rig import one_input

FLOATS = st.one_of(st.floats(-1e6, 1e6), st.just(math.nan), st.just(math.inf))


def comparison(graph: ModelProto, task: Task, labels: tuple[str | int, ...] = ()) -> Comparison:
    manifest = msgspec.structs.replace(manifest_of(graph, task=task), labels=labels)
    return Comparison(Signature(manifest, 1))


def compare(
    answered: dict[str, Any], ours: list[Any], graph: ModelProto, task: Task, labels: Any = ()
) -> Compared | None:
    arrays: list[Array | None] = [np.asarray(one) for one in ours]
    answer: Answer = {name: np.asarray(value) for name, value in answered.items()}
    rows = len(ours[0])
    results = Results(arrays, 0, shared=False, rows=rows)
    return comparison(graph, task, labels).compare(answer, results, 0, rows, rows)


def tally_of(compared: Compared, inside: Array | None = None) -> Tally:
    tally = Tally()
    count(tally, compared, inside)
    return tally


@pytest.mark.parametrize("datatype", ["FP32", "FP64", "FP16", "INT64", "UINT8", "BOOL", "BYTES"])
@pytest.mark.parametrize("form", ["V1 rows", "V1 columns", "V2", "V2 binary"])
def test_an_answer_of_the_same_version_has_no_difference_in_any_form(
    rig: MakeRig, datatype: str, form: str
) -> None:
    made = rig(models.identity(datatype, (None, 3)))
    values: dict[str, list[Any]] = {
        "BYTES": ["a", "ü", "", "b", "c", "1"],
        "BOOL": [True, False, True, True, False, False],
    }
    data = values.get(datatype, [1, 2, 3, 4, 5, 250] if "INT" in datatype else
                      [0.1, 1e-7, None, 4.5, -3.25, 60000.0])  # fmt: skip
    operation = Operation.V1_PREDICT if form.startswith("V1") else Operation.V2_INFER
    nested = [data[:3], data[3:]]
    request: Any = one_input(data, [2, 3], datatype)
    if form == "V2 binary":
        request["parameters"] = {"binary_data_output": True}
    elif form != "V2":
        request = {"instances" if form == "V1 rows" else "inputs": nested}
    body = json.dumps(request).encode()
    status, answer, header = made.ask(body, operation)
    assert status == 200, answer
    call = made.v1.decode(body) if form.startswith("V1") else made.json.decode(body)
    made.batcher().run([call])
    assert call.results is not None
    read = Answers(made.signature).read(operation, answer, header)
    found = Comparison(made.signature).compare(read, call.results, call.start, call.stop, 2)
    assert found is not None
    tally = tally_of(found)
    assert tally.rows == 2
    assert (tally.flips, tally.largest, tally.missing) == (0, 0.0, 0)
    assert tally.equal == tally.measured
    assert tally.labelled + tally.measured == 2


@given(
    st.integers(1, 6).flatmap(
        lambda rows: st.tuples(
            hnp.arrays(np.float64, (rows, 3), elements=FLOATS),
            hnp.arrays(np.float64, (rows, 3), elements=FLOATS),
        )
    )
)
def test_numbers_differ_by_row_as_a_loop_over_them_says(pair: tuple[Array, Array]) -> None:
    answered, ours = pair
    found = compare({"y": answered}, [ours], models.identity("FP64"), "regression")
    assert found is not None
    assert found.flips is None
    tally = tally_of(found)
    expected = []
    missing = 0
    for before, after in zip(answered.tolist(), ours.tolist(), strict=True):
        pairs = list(zip(before, after, strict=True))
        if any(math.isfinite(one) != math.isfinite(other) for one, other in pairs):
            missing += 1
        else:
            expected.append([b - a if math.isfinite(a) else 0.0 for a, b in pairs])
    assert (tally.measured, tally.missing) == (len(expected), missing)
    assert tally.largest == max((max(map(abs, row)) for row in expected), default=0.0)
    shifts = [sum(row) / 3 for row in expected]
    assert math.isclose(tally.shift, sum(shifts), rel_tol=1e-9, abs_tol=1e-6)
    assert math.isclose(tally.shift_squares, sum(s * s for s in shifts), rel_tol=1e-9, abs_tol=1e-6)
    assert sum(tally.differences.values()) == tally.measured


@given(hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(0, 1e12)))
def test_the_sketch_of_many_values_is_that_of_each(values: Array) -> None:
    one_by_one: sketch.Sketch = {}
    for value in values.tolist():
        sketch.merge(one_by_one, {sketch.bucket(value): 1})
    at_once = sketch_of(values)
    for share in (0.0, 0.5, 0.9, 1.0):
        one, other = sketch.quantile(one_by_one, share), sketch.quantile(at_once, share)
        assert one is not None
        assert other is not None
        # Two logarithms may differ in their last bit, at a bucket's edge.
        assert math.isclose(one, other, rel_tol=3 * sketch.RELATIVE_ERROR)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=30))
def test_flips_and_their_pairs_are_the_rows_whose_class_is_another(
    rows: list[tuple[int, int]],
) -> None:
    answered = [one for one, _ in rows]
    ours = np.array([other for _, other in rows])
    graph = models.classifier()
    found = compare({"label": answered}, [ours, np.zeros((len(rows), 3))], graph, "classification")
    assert found is not None
    tally = tally_of(found)
    flips = [(one, other) for one, other in rows if one != other]
    assert (tally.labelled, tally.flips) == (len(rows), len(flips))
    pairs = {(a, b): n for a, b, n in tally.frequent_pairs()}
    assert pairs == {(str(a), str(b)): flips.count((a, b)) for a, b in flips}


def test_a_classifier_asked_for_its_probabilities_alone_flips_by_them() -> None:
    graph = models.classifier()
    found = compare(
        {"probabilities": [[0.2, 0.7, 0.1], [0.5, 0.3, 0.2]]},
        [np.array([0, 0]), np.array([[0.6, 0.3, 0.1], [0.5, 0.3, 0.2]])],
        graph,
        "classification",
        ("red", "green", "blue"),
    )
    assert found is not None
    assert found.flips == {0: ("green", "red")}


def test_the_score_of_more_classes_is_the_answered_one_s_probability() -> None:
    found = compare(
        {"label": [1], "probabilities": [[0.2, 0.7, 0.1]]},
        [np.array([1]), np.array([[0.3, 0.5, 0.2]])],
        models.classifier(),
        "classification",
        (0, 1, 2),
    )
    assert found is not None
    assert found.shifts is not None
    assert found.shifts.tolist() == pytest.approx([-0.2])
    assert found.differences is not None
    assert found.differences.tolist() == pytest.approx([0.2])


def test_outputs_of_other_classes_are_compared_as_far_as_they_are_alike() -> None:
    graph = models.classifier()
    ours = [np.array([1]), np.array([[0.3, 0.5, 0.2]])]
    found = compare({"label": ["1"], "probabilities": [[0.2, 0.8]]}, ours, graph, "classification")
    assert found == Compared(1, {}, None, None)
    assert compare({"score": [1.0]}, ours, graph, "classification") is None


SHIFTS = st.floats(-10, 10) | st.just(math.nan)
ROWS_OF_REQUESTS = st.lists(
    st.lists(st.tuples(st.booleans(), SHIFTS), max_size=6), min_size=1, max_size=8
)
"""Of each request its rows: whether they flip, and their shifts."""


@given(ROWS_OF_REQUESTS)
def test_each_request_counts_once_with_the_mean_of_its_rows(
    requests: list[list[tuple[bool, float]]],
) -> None:
    rows = [row for request in requests for row in request]
    shifts = np.array([shift for _, shift in rows], np.float64)
    flips = {row: ("a", "b") for row, (flipped, _) in enumerate(rows) if flipped}
    found = means_of(Compared(len(rows), flips, np.abs(shifts), shifts), list(map(len, requests)))
    assert len(found) == len(requests)
    for request, means in zip(requests, found, strict=True):
        known = [shift for _, shift in request if not math.isnan(shift)]
        flipped = [flip for flip, _ in request]
        assert means.flip_share == (sum(flipped) / len(flipped) if flipped else None)
        if known:
            assert means.shift == pytest.approx(sum(known) / len(known), abs=1e-9)
        else:
            assert means.shift is None


def test_a_request_of_many_rows_is_one_observation() -> None:
    tally = Tally()
    rows = 1001
    shifts = np.full(rows, 0.5)
    flips = dict.fromkeys(range(1000), ("a", "b"))
    for means in means_of(Compared(rows, flips, shifts, shifts), [1000, 1]):
        count_request(tally, means)
    count_request(tally, RequestMeans(None, None))
    assert (tally.requests, tally.labelled_requests, tally.measured_requests) == (3, 2, 2)
    assert (tally.flip_shares, tally.request_shifts, tally.request_shift_squares) == (1, 1, 0.5)


@given(st.data())
def test_segments_that_part_the_rows_add_up_to_the_whole(data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, 12))
    draw = hnp.arrays(np.float64, (rows, 1), elements=FLOATS)
    found = compare(
        {"prediction": data.draw(draw)}, [data.draw(draw)], models.linear(), "regression"
    )
    assert found is not None
    inside = data.draw(hnp.arrays(np.bool_, rows))
    whole, parts = tally_of(found), tally_of(found, inside)
    parts.add(tally_of(found, ~inside))
    assert math.isclose(parts.shift, whole.shift, rel_tol=1e-9, abs_tol=1e-6)
    assert math.isclose(parts.shift_squares, whole.shift_squares, rel_tol=1e-9, abs_tol=1e-6)
    for tally in (whole, parts):
        tally.shift = tally.shift_squares = 0.0
    assert sum(parts.differences.values()) == sum(whole.differences.values())
    whole.differences, parts.differences = {}, {}
    assert parts == whole


def test_pairs_of_classes_stay_few_and_keep_the_frequent_ones() -> None:
    tally = Tally()
    for number in range(20 * MAX_PAIRS):
        tally.flip("common", "other")
        tally.flip(f"rare {number}", "other")
    pairs = tally.frequent_pairs()
    assert len(pairs) <= 2 * MAX_PAIRS
    assert pairs[0] == ("common", "other", 20 * MAX_PAIRS)


@pytest.mark.parametrize("value", [1, 1.0, "1", b"1", np.int64(1)])
def test_a_class_has_one_name_whatever_its_type(value: object) -> None:
    assert label_text(value) == "1"


@given(st.binary(max_size=80), st.sampled_from([NO_HEADER, 0, 5]), st.sampled_from([0, 1]))
def test_any_bytes_are_an_answer_or_unreadable(body: bytes, header: int, operation: int) -> None:
    answers = Answers(Signature(manifest_of(models.linear()), 1))
    try:
        answers.read(operation, body, header)
    except UnreadableError:
        return


@pytest.mark.parametrize(
    "answer",
    [
        b'{"outputs":[{"name":"y","datatype":"FP32","shape":[9],"data":[1]}]}',
        b'{"outputs":[{"name":"y","datatype":"FP33","shape":[1],"data":[1]}]}',
        b'{"outputs":[{"name":"y","datatype":"FP32","shape":[1]}]}',
        b'{"outputs":[{"name":"y","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":8}}]}',
        b'{"outputs":[{"name":"y","datatype":"INT64","shape":[1],"data":[99999999999999999999]}]}',
        b'{"outputs":[{"name":"y","datatype":"FP32","shape":[-5],"data":[[1],[2,3]]}]}',
    ],
)
def test_outputs_that_are_not_what_they_say_are_unreadable(answer: bytes) -> None:
    with pytest.raises(UnreadableError):
        Answers(Signature(manifest_of(models.linear()), 1)).read(0, answer, NO_HEADER)
