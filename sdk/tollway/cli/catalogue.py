"""Commands about the catalogue: which models may be called, how well they do and how fast."""

from typing import Annotated

import typer

from tollway.catalogue import CatalogueModel, Latency, Quality, Release, Sort, Span
from tollway.cli.output import Json, print_fields, print_json, print_table, say
from tollway.cli.versions import ModelName
from tollway.client import Client

catalogue = typer.Typer(help="The models that may be called.", rich_markup_mode=None)
_ENTRY = ("model", "title", "version", "state", "task", "predicts", "quality", "p50 ms", "p99 ms",
          "requests", "owner")  # fmt: skip


@catalogue.callback(invoke_without_command=True)
def catalogue_default(context: typer.Context, as_json: Json = False) -> None:
    """The models that may be called. Lists all of them when no command is given."""
    if context.invoked_subcommand is None:
        search([], as_json=as_json)


@catalogue.command("search")
def search(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            help="All of them are in the name, title, description, owner, classes or columns."
        ),
    ] = None,
    task: Annotated[str | None, typer.Option(help="Such as `classification`.")] = None,
    state: Annotated[str | None, typer.Option(help="`published` or `deprecated`.")] = None,
    owner: Annotated[str | None, typer.Option(help="Only of the owner with this title.")] = None,
    serving: Annotated[str | None, typer.Option(help="Such as `ready`.")] = None,
    evaluated: Annotated[
        bool | None, typer.Option(help="Only those with an evaluation, or without.")
    ] = None,
    p99_ms: Annotated[
        float | None, typer.Option(help="Only those at least this fast in the last 7 days.")
    ] = None,
    sort: Annotated[Sort, typer.Option(help="By name, or best first.")] = "name",
    as_json: Json = False,
) -> None:
    """List the models that may be called, with how well and how fast they answer."""
    with Client() as client:
        found = client.catalogue.search(
            " ".join(words or []),
            task=task,
            state=state,
            owner=owner,
            serving=serving,
            evaluated=evaluated,
            p99_ms=p99_ms,
            sort=sort,
        )
    if as_json:
        print_json(found)
        return
    print_table(
        _ENTRY,
        (
            (
                one.name,
                one.title or None,
                one.version,
                one.state,
                one.task,
                one.predicts,
                _quality(one.quality),
                *_latency(one.latency),
                one.owner,
            )
            for one in found
        ),
    )


@catalogue.command("show")
def show(
    model: ModelName,
    version: Annotated[
        int | None, typer.Option(min=1, help="This version, in place of the one that answers.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show all that the catalogue says of a model: what it takes and gives, and its versions."""
    with Client() as client:
        found = client.catalogue.model(model, version=version)
    if as_json:
        print_json(found)
        return
    _show(found)


@catalogue.command("latency")
def model_latency(
    model: ModelName,
    span: Annotated[
        Span, typer.Option(help="The last of these: by minute, by hour, or by day.")
    ] = "day",
    as_json: Json = False,
) -> None:
    """Show how fast a model answered everybody lately."""
    with Client() as client:
        found = client.catalogue.latency(model, span)
    if as_json:
        print_json(found)
        return
    columns = ("time", "requests", "errors", "p50_ms", "p99_ms")
    print_table(columns, ([getattr(one, name) for name in columns] for one in found.points))


def _show(found: CatalogueModel) -> None:
    p50, p99, requests = _latency(found.latency)
    print_fields(
        {
            "model": found.name,
            "title": found.title or None,
            "description": found.description or None,
            "owner": found.owner,
            "task": found.task,
            "predicts": found.predicts,
            "explains": found.explains,
            "stable": found.stable,
            "shown": found.shown.number,
            "state": found.shown.state,
            "sunset": found.sunset,
            "serving": found.serving,
            "quality": _quality(found.shown.quality),
            "p50 ms": p50,
            "p99 ms": p99,
            "requests": requests,
            "digest": found.digest,
        }
    )
    columns = found.manifest.get("columns") or []
    if columns:
        say("")
        print_table(
            ("column", "type", "smallest", "largest", "categories"),
            (
                (one["name"], one["type"], one.get("minimum"), one.get("maximum"),
                 one.get("categories"))
                for one in columns
            ),
        )  # fmt: skip
    if found.evaluation is not None:
        say("")
        print_table(
            ("metric", "value", "low", "high"),
            ((name, m.value, m.low, m.high) for name, m in found.evaluation.metrics.items()),
        )
    say("")
    print_table(
        ("version", "state", "stable", "created", "quality", "sunset", "changes"),
        (_release(one) for one in found.releases),
    )


def _release(one: Release) -> tuple[object, ...]:
    sunset = None if one.deprecation is None else one.deprecation.sunset
    return (
        one.number,
        one.state,
        one.stable,
        one.created_at,
        _quality(one.quality),
        sunset,
        "; ".join(one.changes) or None,
    )


def _quality(quality: Quality | None) -> str | None:
    return None if quality is None else f"{quality.metric} {quality.value:.6g}"


def _latency(latency: Latency | None) -> tuple[float | None, float | None, int]:
    if latency is None:
        return None, None, 0
    return latency.p50_ms, latency.p99_ms, latency.requests
