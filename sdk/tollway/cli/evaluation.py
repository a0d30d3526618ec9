"""``tollway evaluate`` and ``tollway evidence``."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tollway import errors
from tollway.cli.output import Json, print_fields, print_json, print_table, say
from tollway.cli.rows import read_frame
from tollway.client import Client
from tollway.evaluated import FileOptions
from tollway.evaluation.evidence import Evidence, Measured
from tollway.progress import Choice, JsonLines

BAR_CHARACTERS = 30
MOST_SHOWN = 20
"""Columns whose importance is shown; --json has all."""

_OF_SEGMENTS = ("precision", "recall", "f1", "roc_auc")
"""What is shown of segments first."""

ModelName = Annotated[str, typer.Argument(help="Name of the model.")]
Number = Annotated[int, typer.Argument(help="Number of the version.", min=1)]


STDIN = Path("-")


class Progress(StrEnum):
    """How an evaluation says how far it is."""

    AUTO = "auto"
    JSON = "json"
    NONE = "none"


def evaluate(
    model: ModelName,
    version: Number,
    data: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            allow_dash=True,
            help="Rows with their truth: .csv or .parquet; - reads CSV from stdin.",
        ),
    ],
    target: Annotated[str, typer.Option(help="Column that holds the truth.")],
    segments: Annotated[
        list[str] | None,
        typer.Option(help="Condition (`age<30`) or column, whose values are segments; repeatable."),
    ] = None,
    rows_name: Annotated[
        str, typer.Option(help="What the rows are called in criteria.")
    ] = "holdout",
    metric: Annotated[
        list[str] | None, typer.Option(help="Only this metric; repeatable. All by default.")
    ] = None,
    main_metric: Annotated[
        str | None, typer.Option(help="The metric that importance is about.")
    ] = None,
    importance: Annotated[bool, typer.Option(help="Shuffle columns to see what counts.")] = True,
    latency: Annotated[bool, typer.Option(help="Time requests of one row.")] = True,
    resamples: Annotated[int, typer.Option(min=0, help="For the intervals; 0: none.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of everything that is drawn.")] = 0,
    batch_rows: Annotated[int, typer.Option(min=1, help="Rows in one request.")] = 500,
    upload: Annotated[bool, typer.Option(help="Keep the evidence with the version.")] = True,
    max_rows: Annotated[
        int | None, typer.Option(min=1, help="Refuse a CSV file that has more rows.")
    ] = None,
    progress: Annotated[
        Progress,
        typer.Option(help="On stderr: a bar on a terminal, lines of JSON for programs, nothing."),
    ] = Progress.AUTO,
    as_json: Json = False,
) -> None:
    """Measure how well a version does on rows whose truth is known, and keep the evidence.

    The answers come from the version's deployed engine; a staged version has one too.
    """
    if main_metric is not None and metric and main_metric not in metric:
        raise typer.BadParameter(f"{main_metric} is not among --metric", param_hint="--main-metric")
    options: FileOptions = {
        "segments": segments,
        "rows_name": rows_name,
        "metrics": metric or None,
        "importance": importance,
        "latency": latency,
        "resamples": resamples,
        "seed": seed,
        "batch_rows": batch_rows,
        "main_metric": main_metric,
        "upload": upload,
    }
    with _told(progress) as shown, Client() as client:
        options["progress"] = shown
        if data == STDIN or data.suffix == ".csv":
            rows = sys.stdin.buffer if data == STDIN else data
            found = client.evaluate_csv(
                model, version, rows, target=target, max_rows=max_rows, **options
            )
        else:
            X, y = read_frame(data, target, None if data.suffix == ".npy" else data)
            found = client.evaluate(model, version, X, y, **options)
        if isinstance(shown, JsonLines):
            shown.say("kept" if found.digest else "measured", digest=found.digest)
    if as_json:
        print_json(found)
    else:
        _show(found)


@contextmanager
def _told(progress: Progress) -> Iterator[Choice]:
    """How progress is shown; lines of JSON end with what went wrong, if anything did."""
    if progress is not Progress.JSON:
        yield None if progress is Progress.AUTO else False
        return
    lines = JsonLines(sys.stderr)
    try:
        yield lines
    except MemoryError as error:
        lines.say("error", kind="MemoryError", message="the rows need more memory than there is")
        raise typer.Exit(1) from error
    except errors.TollwayError as error:
        about = error.about if isinstance(error, errors.InvalidRequestError) else ""
        lines.say(
            "error",
            kind=type(error).__name__,
            message=error.message,
            about=about,
            status=error.status,
            code=error.code,
        )
        raise typer.Exit(1) from error


def evidence(
    model: ModelName,
    version: Number,
    rows_name: Annotated[str | None, typer.Option(help="Only of the rows of this name.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every evaluation, not the newest.")] = False,
    as_json: Json = False,
) -> None:
    """Show what evaluations found of a version: metrics with intervals, segments, importance.

    Without --all it is the newest of each name of rows.
    """
    with Client() as client:
        found = client.evidence(model, version)
    kept = [one for one in found if rows_name in (None, one.rows_name)]
    if not all_:
        kept = list({one.rows_name: one for one in kept}.values())
    if as_json:
        print_json(kept)
        return
    if not kept:
        raise errors.NotFoundError(
            f"version {version} of model '{model}' has no evidence"
            + ("" if rows_name is None else f" of rows called '{rows_name}'")
            + ": `tollway evaluate` makes some",
            hinted=False,
        )
    for place, one in enumerate(kept):
        if place:
            say("")
        _show(one)


def _show(found: Evidence) -> None:
    """All of one evaluation, for people."""
    fields: dict[str, object] = {
        "model": found.model,
        "version": found.version,
        "rows": f"{found.rows_name}, {found.rows:,}",
        "rows digest": found.rows_digest,
        "evidence": found.digest or "not kept",
    }
    if found.positive is not None:
        fields["positive class"] = found.positive
    if found.latency is not None:
        where = "in the engine" if found.latency.measured == "engine" else "until the answer"
        fields["one row"] = (
            f"p50 {found.latency.p50_ms:.3g} ms, p99 {found.latency.p99_ms:.3g} ms {where}"
        )
    print_fields(fields)
    say("")
    print_table(
        ("metric", "value", "95 % interval"),
        ((name, one.value, _interval(one)) for name, one in found.metrics.items()),
    )
    if found.classes:
        say("")
        print_table(
            ("class", "rows", "precision", "recall", "f1"),
            (
                (one.label, one.rows, *_values(one.metrics, ("precision", "recall", "f1")))
                for one in found.classes
            ),
        )
    if found.segments:
        named = dict.fromkeys((found.main_metric, *_OF_SEGMENTS, *found.metrics))
        shown = [name for name in named if name in found.metrics][:5]
        say("")
        print_table(
            ("segment", "rows", *shown, f"95 % interval of {shown[0]}"),
            (
                (
                    one.segment,
                    one.rows,
                    *_values(one.metrics, shown),
                    _interval(one.metrics[shown[0]]) if shown[0] in one.metrics else None,
                )
                for one in found.segments
            ),
        )
    if found.importance:
        say("")
        _show_importance(found)


def _show_importance(found: Evidence) -> None:
    most = found.importance[0].mean
    print_table(
        ("column", f"{found.main_metric} gets worse by", "+/-", ""),
        (
            (one.column, one.mean, one.deviation, _bar(one.mean, most))
            for one in found.importance[:MOST_SHOWN]
        ),
    )
    if len(found.importance) > MOST_SHOWN:
        say(f"{len(found.importance) - MOST_SHOWN} more columns: --json has them")


def _values(metrics: dict[str, Measured], names: Iterable[str]) -> list[float | None]:
    return [metrics[name].value if name in metrics else None for name in names]


def _interval(one: Measured) -> str | None:
    if one.low is None or one.high is None:
        return None
    return f"{one.low:.4g} to {one.high:.4g}"


def _bar(value: float, most: float) -> str:
    """A bar, to an eighth of a character."""
    if most <= 0 or value <= 0:
        return ""
    eighths = round(value / most * BAR_CHARACTERS * 8)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()
