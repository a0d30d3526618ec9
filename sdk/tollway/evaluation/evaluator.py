"""One evaluation from beginning to end: rows in, evidence out."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypedDict

import msgspec
import numpy as np
import numpy.typing as npt

from tollway import errors
from tollway.conversion.columns import Columns
from tollway.evaluation.bootstrap import affordable
from tollway.evaluation.csv_rows import File, read_csv
from tollway.evaluation.evidence import (
    Evidence,
    Importance,
    Measured,
    MeasuredLatency,
    Resampling,
    SegmentEvidence,
)
from tollway.evaluation.importance import measure, places
from tollway.evaluation.rows import Table, truth_column
from tollway.evaluation.scoring import Answers, Feeds, Scorer, rows_in
from tollway.evaluation.segments import Segments, masks
from tollway.evaluation.truth import LOWER_IS_BETTER, MOST_CURVES, Judge, check_task, judge
from tollway.progress import Reporter
from tollway.registry import Registry, listing
from tollway.resources import Version
from tollway.signatures import Signature, Signatures
from tollway.transport import Transport
from tollway.version import __version__

Array = npt.NDArray[Any]
MOST_SEGMENTS = 1000
"""That evidence can hold."""


class EvaluationOptions(TypedDict, total=False):
    """What of an evaluation has a sensible default."""

    main_metric: str | None
    """Which importance is about; by default that of the estimator's own ``score``."""
    importance_repeats: int
    """Shuffles of each column; 5."""
    importance_rows: int
    """Rows that importance is measured on, drawn from all; 1,000."""
    latency_requests: int
    """One-row requests; 200."""
    resamples: int
    """For the intervals; 1,000, fewer of very many rows."""
    seed: int
    """Of everything that is drawn; 0."""
    batch_rows: int
    """Rows in one request; 500."""
    upload: bool
    """Whether the evidence is kept with the version; True."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to be evaluated, and how."""

    model: str
    version: int
    X: object
    y: object
    segments: Segments
    rows_name: str
    metrics: Sequence[str] | None
    importance: bool
    latency: bool
    main_metric: str | None = None
    importance_repeats: int = 5
    importance_rows: int = 1000
    latency_requests: int = 200
    resamples: int = 1000
    seed: int = 0
    batch_rows: int = 500
    upload: bool = True

    def __post_init__(self) -> None:
        for name in ("importance_repeats", "importance_rows", "latency_requests", "batch_rows"):
            if getattr(self, name) < 1:
                raise errors.InvalidRequestError(f"{name} is {getattr(self, name)}; at least 1")
        if self.resamples < 0 or self.seed < 0:
            raise errors.InvalidRequestError("resamples and seed are not negative")


class _Kept(msgspec.Struct):
    """Evidence as the server gives it."""

    digest: str
    evidence: Evidence
    created_at: str = ""
    created_by: str = ""


class Evaluator:
    """Evaluates versions, and reads what was found of them."""

    def __init__(self, transport: Transport, registry: Registry, signatures: Signatures) -> None:
        self._transport = transport
        self._registry = registry
        self._signatures = signatures

    def evaluate(self, wish: Wish, show: Reporter) -> Evidence:
        """Measure, and keep the evidence with the version."""
        version = self._registry.version(wish.model, wish.version)
        signature = self._signatures.get(wish.model, wish.version)
        with show:
            found = _Evaluation(wish, version, signature, self._transport, show).run()
            if not wish.upload:
                return found
            show.step("keeping the evidence with the version")
            response = self._transport.request("POST", _path(wish.model, wish.version),
                                               json=_document(found))  # fmt: skip
            return _evidence(self._transport.read(response, _Kept))

    def read_csv(
        self, model: str, version: int, file: File, target: str, max_rows: int | None
    ) -> tuple[Columns, Array]:
        """Rows and truth of a file, in the types that the version's columns have."""
        return read_csv(file, self._signatures.get(model, version), target, max_rows)

    def evidence(self, model: str, version: int) -> list[Evidence]:
        """Every evaluation of the version, oldest first."""
        found = listing(self._transport, _path(model, version), _Kept)
        return [_evidence(kept) for kept in found]


class _Evaluation:
    """One run."""

    def __init__(
        self,
        wish: Wish,
        version: Version,
        signature: Signature,
        transport: Transport,
        show: Reporter,
    ) -> None:
        from tollway.conversion import encode_inputs  # noqa: PLC0415 -- a light import

        self._wish = wish
        self._version = version
        self._signature = signature
        self._show = show
        self._scorer = Scorer(transport, signature, wish.batch_rows)
        check_task(signature.task)
        self._table = Table(wish.X, [str(column["name"]) for column in signature.columns])
        self._truth = truth_column(wish.y)
        # Before minutes go into answers: all that can be wrong with what was given.
        with errors.regarding("segments"):
            self._masks = masks(wish.segments, self._table)
            if len(self._masks) > MOST_SEGMENTS:
                raise errors.InvalidRequestError(
                    f"{len(self._masks)} segments, of which evidence holds {MOST_SEGMENTS}"
                )
        try:
            self._feeds: Feeds = encode_inputs(signature.inputs, signature.columns, wish.X)
        except (ValueError, TypeError) as error:
            raise errors.InvalidRequestError(
                f"the rows do not fit model '{wish.model}' version {wish.version}: {error}"
            ).regarding("rows") from error
        self._rows = rows_in(self._feeds)
        if not self._rows or self._rows != len(self._truth):
            raise errors.InvalidRequestError(
                f"X has {self._rows} rows and y {len(self._truth)}: each row has one truth"
            )

    def run(self) -> Evidence:
        """Everything that was asked for."""
        wish = self._wish
        with errors.regarding("rows"):
            answers = self._score(f"scoring {self._rows:,} rows", self._feeds, self._rows)
        labels = self._signature.labels
        with errors.regarding("target"):
            judging = judge(self._signature.task, self._truth, labels, answers, wish.metrics)
        main = wish.main_metric or (
            judging.main if judging.main in judging.names else judging.names[0]
        )
        if main not in judging.names:
            raise errors.InvalidRequestError(f"main_metric {main!r} is not measured").regarding(
                "metrics"
            )
        self._show.step("measuring, with intervals")
        everything = np.arange(self._rows)
        resamples = affordable(self._rows * self._cost(answers), wish.resamples)
        metrics = judging.measure(answers, everything, resamples, [wish.seed])
        if main not in metrics:
            raise errors.InvalidRequestError(f"{main} is not defined on these rows")
        sample = self._sample()
        return Evidence(
            model=wish.model,
            version=wish.version,
            manifest_digest=self._version.digest,
            rows_name=wish.rows_name,
            rows=self._rows,
            rows_digest=self._table.digest(self._truth),
            main_metric=main,
            metrics=metrics,
            segments=self._segments(judging, answers, resamples),
            classes=judging.classes(answers, resamples, wish.seed),
            positive=judging.positive,
            importance=self._importance(main, sample) if wish.importance else (),
            latency=self._latency() if wish.latency else None,
            resampling=Resampling(
                resamples=resamples,
                seed=wish.seed,
                importance_repeats=wish.importance_repeats if wish.importance else 0,
                importance_rows=len(sample) if wish.importance else 0,
            ),
            libraries={"tollway": __version__, "numpy": np.__version__},
        )

    @staticmethod
    def _cost(answers: Answers) -> int:
        """What a resampled row costs: of many classes each has a curve of its own."""
        classes = 1 if answers.probabilities is None else answers.probabilities.shape[1]
        return 1 + classes // 5 if classes <= MOST_CURVES else 1

    def _segments(
        self, judging: Judge, answers: Answers, resamples: int
    ) -> tuple[SegmentEvidence, ...]:
        wish, found = self._wish, []
        for number, (name, mask) in enumerate(self._masks.items()):
            rows = np.flatnonzero(mask)
            metrics: dict[str, Measured] = {}
            if len(rows):
                metrics = judging.measure(answers, rows, resamples, [wish.seed, number])
            found.append(SegmentEvidence(segment=name, rows=len(rows), metrics=metrics))
        return tuple(found)

    def _sample(self) -> Array:
        """The rows that importance is measured on."""
        rng = np.random.default_rng([self._wish.seed, 1])
        count = min(self._wish.importance_rows, self._rows)
        return np.sort(rng.permutation(self._rows)[:count])

    def _importance(self, main: str, sample: Array) -> tuple[Importance, ...]:
        wish = self._wish
        feeds = {name: array[sample] for name, array in self._feeds.items()}
        columns = places([dict(column) for column in self._signature.columns], feeds)
        total = len(sample) * (1 + len(columns) * wish.importance_repeats)
        self._show.step(f"shuffling {len(columns)} columns")
        self._show.counting(total)
        scored = _Count(self._show)
        truth, everything = self._truth[sample], np.arange(len(sample))
        sign = 1.0 if main in LOWER_IS_BETTER else -1.0

        def loss(tensors: Mapping[str, Array]) -> float:
            answers = self._scorer.score(tensors, scored)
            judging = judge(self._signature.task, truth, self._signature.labels, answers, [main])
            found = judging.measure(answers, everything, 0, [wish.seed]).get(main)
            if found is None:
                raise errors.InvalidRequestError(
                    f"{main} is not defined on the {len(sample)} rows that importance is measured"
                    " on: allow more (importance_rows), or leave importance out"
                )
            return sign * found.value

        rng = np.random.default_rng([wish.seed, 2])
        return measure(feeds, columns, wish.importance_repeats, loss, rng)

    def _latency(self) -> MeasuredLatency:
        requests = self._wish.latency_requests
        self._show.step(f"timing {requests} requests of one row")
        rng = np.random.default_rng([self._wish.seed, 3])
        # Of a remote version the header has what the gateway saw of that server.
        has_engine = self._version.manifest.remote is None
        return self._scorer.latency(self._feeds, requests, rng, has_engine=has_engine)

    def _score(self, message: str, feeds: Feeds, rows: int) -> Answers:
        self._show.step(message)
        self._show.counting(rows)
        return self._scorer.score(feeds, _Count(self._show))


class _Count:
    """Adds up what has been done, for a bar."""

    def __init__(self, show: Reporter) -> None:
        self._show = show
        self._done = 0

    def __call__(self, rows: int) -> None:
        self._done += rows
        self._show.counted(self._done)


def _path(model: str, version: int) -> str:
    return f"/api/v1/models/{model}/versions/{int(version)}/evidence"


def _document(found: Evidence) -> dict[str, object]:
    document = asdict(found)
    for name in ("digest", "created_at", "created_by"):
        del document[name]
    return document


def _evidence(kept: _Kept) -> Evidence:
    return replace(
        kept.evidence,
        digest=kept.digest,
        created_at=kept.created_at,
        created_by=kept.created_by,
    )
