"""What criteria say of a version: met, failed by how much, or why it cannot be told."""

from typing import Any

import msgspec
import pytest

from protocol.evidence import ClassEvidence, Evidence, Measured, MeasuredLatency, SegmentEvidence
from protocol.manifest import Blob, Manifest, Parity, Tensor
from registry.criteria import parse_criterion
from registry.criteria_judging import Judge, JudgedPart
from registry.measures import LOOKED_IN, Evaluation, Subject

DIGEST = "sha256:" + "a" * 64
ROWS = "sha256:" + "1" * 64
MANIFEST = Manifest(
    model="iris",
    artifact=Blob(digest="sha256:" + "0" * 64, size=40_000_000),
    files=(Blob(digest="sha256:" + "2" * 64, size=2_000_000, path="w"),),
    inputs=(Tensor(name="x", datatype="FP32", shape=(-1, 4)),),
    outputs=(Tensor(name="y", datatype="FP32", shape=(-1,)),),
    parity=Parity(rows=150, max_abs_error=2e-6, tolerance=1e-5),
)


def evidence(number: int = 2, digest: str = DIGEST, **fields: Any) -> Evidence:
    given: dict[str, Any] = {
        "rows": 150,
        "rows_digest": ROWS,
        "main_metric": "accuracy",
        "metrics": {
            "accuracy": Measured(value=0.93, low=0.9, high=0.95),
            "recall": Measured(value=0.85),
            "log_loss": Measured(value=0.2),
            "novelty": Measured(value=1.0),
        },
        "segments": (
            SegmentEvidence(segment="age<30", rows=40, metrics={"recall": Measured(value=0.7)}),
            SegmentEvidence(segment="age>=90", rows=0, metrics={}),
        ),
        "classes": (ClassEvidence(label="yes", rows=9, metrics={"f1": Measured(value=0.5)}),),
        "latency": MeasuredLatency(requests=200, p50_ms=1.0, p99_ms=12.0),
    }
    return Evidence(model="iris", version=number, manifest_digest=digest, **(given | fields))


def subject(number: int, *given: Evidence, manifest: Manifest = MANIFEST) -> Subject:
    evaluations = tuple(Evaluation(one.canonical) for one in given)
    return Subject(number=number, digest=DIGEST, manifest=manifest, evidence=evaluations)


def judged(
    text: str, *given: Evidence, stable: Subject | None = None, manifest: Manifest = MANIFEST
) -> JudgedPart:
    one = subject(2, *(given or (evidence(),)), manifest=manifest)
    judge = Judge(one, stable, {"young": "age < 30.0"})
    found = judge.judge(parse_criterion(text))
    assert found.outcome == found.parts[0].outcome
    return found.parts[0]


@pytest.mark.parametrize(
    "text",
    [
        "accuracy >= 0.92",
        "accuracy.low >= 0.9",
        "accuracy.high - accuracy.low < 0.06",
        "recall[segment=age<30] > 0.6",
        "recall[segment=young] > 0.6",
        "recall[segment=young] / recall >= 0.8",
        "abs(recall[segment=young] - recall) <= 0.16",
        "rows[segment=age<30] >= 40",
        "rows >= 150",
        "f1[class=yes] == 0.5",
        "p99_ms <= 20",
        "p50_ms[rows=holdout] <= 1",
        "size_mb <= 42",
        "parity.label_mismatches == 0",
        "parity.max_abs_error < 1e-5",
        "-accuracy < 0",
        "beats(stable, accuracy, holdout)",
    ],
)
def test_what_the_evidence_says_is_met(text: str) -> None:
    assert judged(text).outcome == "met"


@pytest.mark.parametrize(
    ("text", "short_by", "detail"),
    [
        ("accuracy >= 0.95", 0.02, "accuracy is 0.93: short by 0.02"),
        ("recall[segment=young] >= recall", 0.15, "and recall is 0.85: short by 0.15"),
        ("p99_ms <= 10", 2.0, "p99_ms is 12: short by 2"),
        ("size_mb <= 40", 2.0, "size_mb is 42: short by 2"),
        ("accuracy > 0.93", 0.0, "short by 0"),
    ],
)
def test_a_failed_criterion_says_by_how_much(text: str, short_by: float, detail: str) -> None:
    found = judged(text)
    assert found.outcome == "failed"
    assert found.short_by == pytest.approx(short_by)
    assert found.detail.startswith(text)
    assert detail in found.detail


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("recal >= 0.9", "has no metric 'recal'; it has accuracy, log_loss, novelty, recall"),
        ("recall[segment=age>90] > 0", "no segment age>90; it has age<30, age>=90"),
        ("recall[segment=age>=90] > 0", "no row"),
        ("recall[segment=old] > 0", "define no segment 'old'"),
        ("f1[class=no] > 0", "no class 'no'; it has yes"),
        ("f1[class=yes, segment=young] > 0", "no classes apart within a segment"),
        ("recall.low > 0", "no interval of 'recall'"),
        ("accuracy[rows=test] > 0", "no evidence of rows 'test'"),
        ("p99_ms[segment=young] < 1", "no interval, segments or classes"),
        ("accuracy / (recall - recall) > 0", "is 0"),
        ("accuracy * 1e308 * 1e308 > 0", "beyond"),
        ("beats(stable, accuracy, test)", "no version is stable"),
    ],
)
def test_what_cannot_be_told_is_neither_met_nor_failed(text: str, reason: str) -> None:
    found = judged(text)
    assert reason in found.detail
    assert found.outcome == ("met" if text.startswith("beats") else "unknown")


def test_a_version_without_evidence_or_parity_says_so() -> None:
    bare = msgspec.structs.replace(MANIFEST, artifact=None, parity=None)
    foreign = evidence(digest="sha256:" + "b" * 64)
    assert "has no evidence" in judged("accuracy > 0", foreign).detail
    assert "no parity report" in judged("parity.rows > 0", manifest=bare).detail
    assert "remote server" in judged("size_mb < 1", manifest=bare).detail
    quick = evidence(latency=None)
    assert "no latency" in judged("p99_ms < 1", quick).detail


def test_the_newest_evaluation_that_has_the_metric_counts() -> None:
    newer = evidence(metrics={"accuracy": Measured(value=0.5)}, rows_name="later", latency=None)
    found = judged("accuracy > 0.9", evidence(), newer)
    assert (found.outcome, found.rows) == ("failed", ("later",))
    assert found.evidence == (newer.digest(),)
    assert judged("recall > 0.8", evidence(), newer).rows == ("holdout",)
    assert judged("accuracy[rows=holdout] > 0.9", evidence(), newer).outcome == "met"


def test_no_more_is_read_and_decoded_than_criteria_ask_for() -> None:
    read: list[str] = []

    def known(name: str, **fields: Any) -> Evaluation:
        document = evidence(rows_name=name, **fields).canonical()

        def reading() -> bytes:
            read.append(name)
            return document

        return Evaluation(reading)

    given = (known("oldest"), known("holdout"), known("newest"))
    one = Subject(number=2, digest=DIGEST, manifest=MANIFEST, evidence=given)
    theirs = (known("theirs, older", number=1), known("theirs", number=1))
    other = Subject(number=1, digest=DIGEST, manifest=MANIFEST, evidence=theirs)
    judge = Judge(one, other, {})
    assert judge.judge(parse_criterion("size_mb < 50")).outcome == "met"
    assert read == []
    for text in ("accuracy > 0", "accuracy[rows=holdout] > 0", "beats(stable, recall, holdout)"):
        judge.judge(parse_criterion(text))
    assert set(read) == {"newest", "holdout", "theirs"}
    assert max(read.count(name) for name in read) == 3  # its head, all of it, its digest
    before = len(read)
    judge.judge(parse_criterion("recall > 0"))
    assert len(read) == before


def test_a_metric_is_looked_for_in_no_more_evaluations_than_are_looked_in() -> None:
    bare = evidence(metrics={"accuracy": Measured(value=0.5)})
    few = [evidence()] + [bare] * (LOOKED_IN - 1)
    assert judged("recall > 0", *few).outcome == "met"
    assert judged("recall > 0", *few, bare).outcome == "unknown"


def stable(value: float, loss: float = 0.3, **fields: Any) -> Subject:
    metrics = {"accuracy": Measured(value=value), "log_loss": Measured(value=loss)}
    given = {"metrics": metrics | fields.pop("metrics", {}), **fields}
    return subject(1, evidence(1, **given))


@pytest.mark.parametrize(
    ("text", "other", "outcome"),
    [
        ("beats(stable, accuracy, holdout)", stable(0.92), "met"),
        ("beats(stable, accuracy, holdout)", stable(0.93), "failed"),
        ("beats(stable, accuracy, holdout, 0.02)", stable(0.92), "failed"),
        ("beats(stable, accuracy, holdout, -0.01)", stable(0.935), "met"),
        ("beats(stable, log_loss, holdout)", stable(0.1), "met"),
        ("beats(stable, log_loss, holdout)", stable(0.1, 0.1), "failed"),
        ("beats(stable, recall[segment=young], holdout)", stable(0.1), "failed"),
        ("beats(stable, size_mb, holdout)", stable(0.1), "failed"),
        ("beats(stable, novelty, holdout)", stable(0.1), "unknown"),
        ("beats(stable, recall, holdout)", stable(0.1), "unknown"),
        ("beats(stable, accuracy, test)", stable(0.1), "unknown"),
        (
            "beats(stable, accuracy, holdout)",
            stable(0.1, rows_digest="sha256:" + "9" * 64),
            "unknown",
        ),
    ],
)
def test_a_version_beats_the_stable_one_on_the_same_rows_only(
    text: str, other: Subject, outcome: str
) -> None:
    assert judged(text, stable=other).outcome == outcome


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("beats(stable, accuracy, holdout, 0.02)", 0.94),
        ("beats(stable, accuracy, holdout, -0.01)", 0.91),
        ("beats(stable, log_loss, holdout, 0.1)", 0.3),
    ],
)
def test_what_a_version_has_to_beat_includes_the_margin(text: str, bound: float) -> None:
    assert judged(text, stable=stable(0.92, 0.4)).bound == pytest.approx(bound)


def test_the_stable_version_need_not_beat_itself() -> None:
    one = subject(2, evidence())
    judge = Judge(one, one, {})
    assert judge.judge(parse_criterion("beats(stable, accuracy, holdout)")).outcome == "met"


def test_a_criterion_is_as_good_as_its_worst_part() -> None:
    judge = Judge(subject(2, evidence()), None, {})
    for text, outcome in [
        ("accuracy > 0.9 and recall > 0.8", "met"),
        ("accuracy > 0.9 and recal > 0.8", "unknown"),
        ("recal > 0.8 and accuracy > 0.99", "failed"),
    ]:
        assert judge.judge(parse_criterion(text)).outcome == outcome
