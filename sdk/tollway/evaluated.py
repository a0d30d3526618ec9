"""The client's methods about how well versions do."""

from collections.abc import Sequence
from typing import Unpack

from tollway.evaluation.csv_rows import File
from tollway.evaluation.evaluator import EvaluationOptions, Evaluator, Wish
from tollway.evaluation.evidence import Evidence
from tollway.evaluation.segments import Segments
from tollway.progress import Choice, reporter
from tollway.registry import check_name


class FileOptions(EvaluationOptions, total=False):
    """What :meth:`Evaluated.evaluate` takes beside the rows."""

    segments: Segments
    rows_name: str
    metrics: Sequence[str] | None
    importance: bool
    latency: bool
    progress: Choice


class Evaluated:
    """What :class:`tollway.Client` offers about evaluations."""

    _evaluator: Evaluator

    def evaluate(
        self,
        model: str,
        version: int,
        X: object,
        y: object,
        *,
        segments: Segments = None,
        rows_name: str = "holdout",
        metrics: Sequence[str] | None = None,
        importance: bool = True,
        latency: bool = True,
        progress: Choice = None,
        **options: Unpack[EvaluationOptions],
    ) -> Evidence:
        """Measure how well a version answers the rows ``X`` whose truth is ``y``, and keep the
        evidence with it.

        The answers come from the version's deployed engine, whether it has traffic or is only
        staged. Every metric has a 95 % confidence interval (percentile bootstrap). ``segments``
        are conditions (``age<30``), names of columns, each value of which is a segment, or a
        mapping of names to conditions or boolean masks. ``metrics`` None measures all that there
        are. ``importance`` shuffles each column and measures by how much the main metric gets
        worse; ``latency`` times requests of one row on the engine. ``options``: ``main_metric``,
        ``importance_repeats``, ``importance_rows``, ``latency_requests``, ``resamples``, ``seed``,
        ``batch_rows``, ``upload``; see :class:`EvaluationOptions`.

        Raises :class:`InvalidRequestError` for rows, metrics or segments that make no sense, also
        where the model's data contract refuses a row.
        """
        wish = Wish(
            model=check_name(model, "model"),
            version=version,
            X=X,
            y=y,
            segments=segments,
            rows_name=rows_name,
            metrics=metrics,
            importance=importance,
            latency=latency,
            **options,
        )
        return self._evaluator.evaluate(wish, reporter(progress))

    def evaluate_csv(
        self,
        model: str,
        version: int,
        file: File,
        *,
        target: str,
        max_rows: int | None = None,
        **options: Unpack[FileOptions],
    ) -> Evidence:
        """:meth:`evaluate` of the rows of a CSV file (a path, or an open binary file), whose truth
        is in the column ``target``.

        Values have the types of the model's columns, so that no data frame library is needed, and
        the file is UTF-8, separated by commas, semicolons or tabs. An empty value is a missing one.
        ``options``: those of :meth:`evaluate`. Raises :class:`InvalidRequestError` with the line
        of what cannot be read, and for more than ``max_rows`` rows.
        """
        check_name(model, "model")
        X, y = self._evaluator.read_csv(model, version, file, target, max_rows)
        return self.evaluate(model, version, X, y, **options)

    def evidence(self, model: str, version: int) -> list[Evidence]:
        """Every evaluation of a version, oldest first."""
        return self._evaluator.evidence(check_name(model, "model"), version)
