"""Commands about how an installation is doing: gateways, workers, latency, refusals."""

from dataclasses import replace
from typing import Annotated

import typer

from tollway.cli.output import Json, print_json, print_table, say
from tollway.cli.times import moment
from tollway.client import Client

Start = Annotated[str | None, typer.Option("--from", help="90d, 12h ago, or an ISO 8601 time.")]
End = Annotated[str | None, typer.Option("--to", help="The same forms.")]
OfApplication = Annotated[str | None, typer.Option(help="Only of this application.")]
OfModel = Annotated[str | None, typer.Option(help="Only of this model.")]
Columns = Annotated[int, typer.Option(min=1, max=500, help="Spans of time, at most.")]


def latency(
    start: Start = None,
    end: End = None,
    application: OfApplication = None,
    model: OfModel = None,
    version: Annotated[int | None, typer.Option(min=1, help="Only of this version.")] = None,
    columns: Columns = 24,
    as_json: Json = False,
) -> None:
    """Show how long requests took, by time: medians, p99 and the time in queues and runs."""
    with Client() as client:
        found = client.operations.latency(
            start=None if start is None else moment(start, "--from"),
            end=None if end is None else moment(end, "--to"),
            application=application,
            model=model,
            version=version,
            columns=columns,
        )
    if as_json:
        print_json(found)
        return
    shown = ("time", "requests", "errors", "rows", "p50_ms", "p99_ms", "queue_ms", "compute_ms")
    print_table(
        shown, ([getattr(one, name) for name in shown] for one in found.items if one.requests)
    )


def refusals(
    start: Start = None,
    end: End = None,
    application: OfApplication = None,
    model: OfModel = None,
    columns: Columns = 24,
    by_time: Annotated[bool, typer.Option("--by-time", help="By time, not by caller.")] = False,
    as_json: Json = False,
) -> None:
    """Show who was refused by which limit: rate, quota, concurrency or size."""
    with Client() as client:
        found = client.operations.refusals(
            start=None if start is None else moment(start, "--from"),
            end=None if end is None else moment(end, "--to"),
            application=application,
            model=model,
            columns=columns,
        )
    if as_json:
        print_json(found)
    elif by_time:
        kinds = ("rate", "quota", "concurrency", "size")
        counted = ((one.time, *(getattr(one, kind) for kind in kinds)) for one in found.items)
        print_table(("time", *kinds), (line for line in counted if any(line[1:])))
    else:
        shown = ("application", "model", "plan", "limit", "requests", "last_at")
        print_table(shown, ([getattr(one, name) for name in shown] for one in found.callers))


def gateways(as_json: Json = False) -> None:
    """List the gateways that are alive, and how far behind the configuration they are."""
    with Client() as client:
        found = client.operations.gateways()
    if as_json:
        print_json(found)
        return
    shown = ("id", "version", "counters", "started_at", "seen_at", "lag", "requests_per_s",
             "in_flight")  # fmt: skip
    print_table(shown, ([getattr(one, name) for name in shown] for one in found))


def settings(
    changed: Annotated[
        bool, typer.Option("--changed", help="Only those that are not the default.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the settings of control and its version. The environment and a restart change them."""
    with Client() as client:
        found = client.operations.settings()
    shown = tuple(one for one in found.settings if not (changed and one.is_default))
    if as_json:
        print_json(replace(found, settings=shown))
        return
    say(f"tollway {found.version} on {found.database}")
    print_table(
        ("name", "value", "default", "about"),
        ((one.name, one.value or None, one.is_default, one.about) for one in shown),
    )


def workers(model: OfModel = None, as_json: Json = False) -> None:
    """List the workers that are alive with their engines: load, what waits, memory."""
    with Client() as client:
        found = client.operations.workers()
    if as_json:
        print_json(found)
        return
    figures = ("queued", "requests_per_s", "rows_per_s", "busy", "threads", "memory_bytes",
               "restarts", "batching")  # fmt: skip
    lines = [
        (worker.id, one.model, one.version, one.slot, one.state,
         *(None if one.figures is None else getattr(one.figures, name) for name in figures),
         one.error or None)
        for worker in found
        for one in worker.engines
        if model in (None, one.model)
    ]  # fmt: skip
    # A worker without an engine is alive as well.
    lines += [
        (worker.id, *(None,) * (5 + len(figures)))
        for worker in found
        if not worker.engines and model is None
    ]
    print_table(("worker", "model", "version", "slot", "state", *figures, "error"), lines)
