"""Commands about predictions that were made: receipts, captures, replays."""

from typing import Annotated

import typer

from tollway.cli.output import Json, print_fields, print_json, print_table, say
from tollway.cli.times import moment
from tollway.cli.versions import ModelName
from tollway.client import Client
from tollway.replay import Replay

PredictionId = Annotated[
    str, typer.Argument(help="The id in the header Tollway-Prediction-Id.", metavar="ID")
]


def receipt(id: PredictionId, as_json: Json = False) -> None:
    """Show what answered a prediction: version, artifact, runtime and configuration."""
    with Client() as client:
        found = client.receipt(id)
    if as_json:
        print_json(found)
        return
    runtime = found.runtime
    print_fields(
        {
            "answered by": found.answered_by,
            "model": found.model,
            "version": found.version,
            "manifest": found.manifest_digest,
            "artifact": found.artifact_digest,
            "runtime": None
            if runtime is None
            else f"{runtime.name} {runtime.version}, {runtime.provider}, {runtime.threads} threads",
            "processor": None if runtime is None else runtime.processor,
            "software": None if runtime is None else runtime.software,
            "configuration": found.configuration_revision,
            "since": found.begun_at,
            "gateway": found.gateway,
        }
    )


def capture(
    model: ModelName,
    percent: Annotated[
        float, typer.Option(min=0, max=100, help="Share of the predictions, in steps of 0.1.")
    ],
    days: Annotated[int | None, typer.Option(min=1, help="Days to keep each.")] = None,
    as_json: Json = False,
) -> None:
    """Capture the payload of a share of a model's predictions; 0 ends it."""
    with Client() as client:
        found = client.capture(model, percent, days=days)
    if as_json:
        print_json(found)
        return
    say(
        f"{found.capture_percent:g} % of the predictions of {model} are captured, and kept for "
        f"{found.capture_days} days"
    )


def captures(
    model: ModelName,
    application: Annotated[str | None, typer.Option(help="Only of this application.")] = None,
    version: Annotated[int | None, typer.Option(min=1, help="Only of this version.")] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="90d, 12h ago, or an ISO 8601 time.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="The same forms.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, newest first.")] = 100,
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove them for good (all, or an application's).")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the captured predictions of a model, or remove them."""
    if remove and (version is not None or start is not None or end is not None):
        raise typer.BadParameter("goes with --application only", param_hint="--remove")
    with Client() as client:
        if remove:
            removed = client.remove_captures(model, application=application)
            print_json({"removed": removed}) if as_json else say(f"{removed} captures removed")
            return
        found = client.captures(
            model,
            application=application,
            version=version,
            start=None if start is None else moment(start, "--from"),
            end=None if end is None else moment(end, "--to"),
            limit=limit,
        )
    if as_json:
        print_json(found)
        return
    print_table(
        ("id", "at", "version", "variant", "application", "rows", "bytes"),
        (
            (one.id, one.at, one.version, one.variant, one.application, one.rows, one.bytes)
            for one in found
        ),
    )


def replay(
    id: PredictionId,
    version: Annotated[
        int | None, typer.Option(min=1, help="Score on this version instead.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Score a captured prediction again and compare bit for bit. Exit code 1 when it differs."""
    with Client() as client:
        found = client.replay(id, version=version)
    if as_json:
        print_json(found)
    else:
        _show(found)
    if not found.equal:
        raise typer.Exit(1)


def _show(found: Replay) -> None:
    say(found.verdict)
    say(f"version {found.version} then, version {found.replayed_version} now")
    if found.equal:
        return
    print_table(
        ("output", "values", "differ", "labels", "largest", "mean"),
        (
            (one.output, one.values, one.differing, one.flips, one.max_abs, one.mean_abs)
            if not one.problem
            else (one.output, one.problem, None, None, None, None)
            for one in found.outputs
        ),
    )
    print_table(
        ("output", "index", "then", "now"),
        (
            (one.output, ",".join(map(str, value.index)), repr(value.before), repr(value.after))
            for one in found.outputs
            for value in one.first
        ),
    )
