"""Commands about what was used, and what it costs."""

import sys
from typing import Annotated

import typer

from tollway.cli.output import Json, print_json, print_table, say
from tollway.cli.times import moment
from tollway.client import Client

_DIMENSIONS = ("application", "key", "model", "version", "variant", "status")
_MEASURES = ("requests", "rows", "errors", "p50_ms", "p99_ms")
_LINES = ("month", "model", "plan", "requests", "failed_requests", "price_per_thousand", "amount")
Csv = Annotated[bool, typer.Option("--csv", help="Answer with CSV on stdout, whole.")]


def usage(
    start: Annotated[
        str | None, typer.Option("--from", help="90d, 12h ago, or an ISO 8601 time.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="The same forms.")] = None,
    by: Annotated[
        str, typer.Option(help=f"Any of {', '.join(_DIMENSIONS)}; comma-separated.")
    ] = "application,model,version,status",
    step: Annotated[
        str | None, typer.Option(help="`minute`, `hour` or `day`: one line per step.")
    ] = None,
    application: Annotated[str | None, typer.Option(help="Only of this application.")] = None,
    model: Annotated[str | None, typer.Option(help="Only of this model.")] = None,
    key: Annotated[str | None, typer.Option(help="Only of the key with this id.")] = None,
    status: Annotated[int | None, typer.Option(help="Only answers of this status.")] = None,
    as_csv: Csv = False,
    as_json: Json = False,
) -> None:
    """Show requests, rows, errors and times."""
    groups = [part.strip() for part in by.split(",") if part.strip()]
    for group in groups:
        if group not in _DIMENSIONS:
            raise typer.BadParameter(
                f"{group!r} is none of {', '.join(_DIMENSIONS)}", param_hint="--by"
            )
    if step not in (None, "minute", "hour", "day"):
        raise typer.BadParameter(f"{step!r} is none of minute, hour, day", param_hint="--step")
    begin = None if start is None else moment(start, "--from")
    until = None if end is None else moment(end, "--to")
    only = {"application": application, "model": model, "key": key, "status": status}
    with Client() as client:
        if as_csv:
            text = client.billing.usage_csv(start=begin, end=until, by=groups, step=step, only=only)
            sys.stdout.write(text)
            return
        found = client.billing.usage(start=begin, end=until, by=groups, step=step, only=only)
    if as_json:
        print_json(found)
        return
    shown = (*(("time",) if step else ()), *groups, *_MEASURES)
    print_table(shown, ([getattr(row, name) for name in shown] for row in found))


def statements(
    application: Annotated[str, typer.Argument(help="Name of the application.")],
    month: Annotated[
        str | None, typer.Argument(help="The month, as 2027-01; without it they are listed.")
    ] = None,
    as_csv: Csv = False,
    as_json: Json = False,
) -> None:
    """Show what an application has to pay for a month, or list the months with a statement."""
    if month is None:
        _list_statements(application, as_csv, as_json)
        return
    with Client() as client:
        if as_csv:
            sys.stdout.write(client.billing.statement_csv(application, month))
            return
        found = client.billing.statement(application, month)
    if as_json:
        print_json(found)
        return
    say(f"statement {found.id} ({found.state})")
    lines = [*found.lines, *found.late]
    print_table(_LINES, ([getattr(line, name) for name in _LINES] for line in lines))
    for total in found.totals:
        say(f"total {total.amount} {total.currency}")


def _list_statements(application: str, as_csv: bool, as_json: bool) -> None:
    if as_csv:
        raise typer.BadParameter("--csv gives the lines of one month: name it", param_hint="MONTH")
    with Client() as client:
        months = client.billing.statements(application)
    if as_json:
        print_json(months)
    else:
        print_table(("month",), ([month] for month in months))


def quotas(
    application: Annotated[str | None, typer.Option(help="Only of this application.")] = None,
    as_json: Json = False,
) -> None:
    """Show what is left of quotas in the present day or month."""
    with Client() as client:
        found = client.billing.quotas(application)
    if as_json:
        print_json(found)
        return
    columns = ("application", "model", "plan", "unit", "period", "limit", "used", "left")
    print_table(columns, ([getattr(one, name) for name in columns] for one in found))
