"""Commands about plans."""

import re
from typing import Annotated

import typer

from tollway.cli.access import NONE
from tollway.cli.output import Json, print_fields, print_json, print_table, say
from tollway.cli.times import seconds
from tollway.client import Client
from tollway.resources import Plan

plans = typer.Typer(help="Plans: what subscriptions allow.", rich_markup_mode=None)

PlanName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the plan.")]
_RATE = re.compile(r"([^=]+)=(\d+)/(\d+[smhd])(?::(\d+))?")
_QUOTA = re.compile(r"(\d+)(?: (requests|rows|compute_ms))?/(day|month)")
_PRICE = re.compile(r"(\d+(?:\.\d+)?) ?([A-Za-z]{3})")


@plans.callback(invoke_without_command=True)
def plans_default(context: typer.Context, as_json: Json = False) -> None:
    """Plans: what subscriptions allow. Lists them when no command is given."""
    if context.invoked_subcommand is None:
        list_plans(as_json)


@plans.command("list")
def list_plans(as_json: Json = False) -> None:
    """List the plans."""
    with Client() as client:
        found = client.plans()
    if as_json:
        print_json(found)
        return
    columns = ("plan", "rates", "quota", "concurrency", "price per thousand", "approval", "title")
    print_table(columns, (_line(plan) for plan in found))


@plans.command("show")
def show_plan(name: PlanName, as_json: Json = False) -> None:
    """Show a plan in full."""
    with Client() as client:
        plan = client.plan(name)
    if as_json:
        print_json(plan)
        return
    _, rates, quota, concurrency, price, approval, title = _line(plan)
    print_fields(
        {
            "plan": plan.name,
            "title": title,
            "description": plan.description or None,
            "rates": rates,
            "quota": quota,
            "concurrency": concurrency,
            "max body bytes": plan.max_body_bytes,
            "max rows": plan.max_rows,
            "deadline ms": plan.deadline_ms,
            "scopes": "all" if plan.scopes is None else plan.scopes,
            "fail mode": plan.fail_mode,
            "price per thousand": price,
            "approval": approval,
        }
    )


@plans.command("set")
def set_plan(
    name: PlanName,
    title: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    rate: Annotated[
        list[str] | None,
        typer.Option(help="NAME=REQUESTS/WINDOW[:BURST], as in minute=600/60s:50; repeatable."),
    ] = None,
    quota: Annotated[
        str | None, typer.Option(help="LIMIT[ UNIT]/PERIOD, as in '10000 rows/month'.")
    ] = None,
    concurrency: Annotated[str | None, typer.Option(help="Requests under way at once.")] = None,
    max_body_bytes: Annotated[str | None, typer.Option(help="Largest body.")] = None,
    max_rows: Annotated[str | None, typer.Option(help="Rows in one request.")] = None,
    deadline_ms: Annotated[
        str | None, typer.Option(help="Longest that a request may take, in milliseconds.")
    ] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="What keys may be used for; repeatable.")
    ] = None,
    fail_mode: Annotated[
        str | None, typer.Option(help="`open` or `closed` while counters cannot be reached.")
    ] = None,
    price: Annotated[
        str | None, typer.Option(help="Of a thousand requests, as in '0.50 EUR'.")
    ] = None,
    approval: Annotated[str | None, typer.Option(help="`automatic` or `publisher`.")] = None,
    as_json: Json = False,
) -> None:
    """Make a plan, or change it. What is not given stays; `none` lifts a limit."""
    wish: dict[str, object] = {
        "title": title,
        "description": description,
        "rates": None if rate is None else [] if rate == [NONE] else [_rate(one) for one in rate],
        "quota": None if quota is None else _quota(quota),
        "concurrency": _number(concurrency, "--concurrency"),
        "max_body_bytes": _number(max_body_bytes, "--max-body-bytes"),
        "max_rows": _number(max_rows, "--max-rows"),
        "deadline_ms": _number(deadline_ms, "--deadline-ms"),
        "scopes": _LIFTED if scope == [NONE] else scope,
        "fail_mode": fail_mode,
        "price_per_thousand": None if price is None else _price(price),
        "approval": approval,
    }
    changes = {
        field: None if value is _LIFTED else value
        for field, value in wish.items()
        if value is not None
    }
    with Client() as client:
        plan = client.set_plan(name, changes)
    if as_json:
        print_json(plan)
    else:
        say(f"plan {plan.name} is set")


@plans.command("delete")
def delete_plan(name: PlanName, as_json: Json = False) -> None:
    """Delete a plan that no subscription uses."""
    with Client() as client:
        client.delete_plan(name)
    if as_json:
        print_json({"name": name, "deleted": True})
    else:
        say(f"plan {name} is deleted")


_LIFTED = object()
"""Stands for a limit that is to be lifted."""


def _line(plan: Plan) -> tuple[object, ...]:
    quota, price = plan.quota, plan.price_per_thousand
    return (
        plan.name,
        [
            f"{r.name}={r.requests}/{r.window_s}s" + (f":{r.burst}" if r.burst else "")
            for r in plan.rates
        ],
        None if quota is None else f"{quota.limit} {quota.unit}/{quota.period}",
        plan.concurrency,
        None if price is None else f"{price.amount} {price.currency}",
        plan.approval,
        plan.title or None,
    )


def _rate(text: str) -> dict[str, object]:
    match = _RATE.fullmatch(text)
    if match is None:
        raise typer.BadParameter(
            f"{text!r} is not NAME=REQUESTS/WINDOW[:BURST], as in minute=600/60s:50",
            param_hint="--rate",
        )
    return {
        "name": match[1],
        "requests": int(match[2]),
        "window_s": seconds(match[3], "--rate"),
        "burst": None if match[4] is None else int(match[4]),
    }


def _quota(text: str) -> object:
    if text == NONE:
        return _LIFTED
    match = _QUOTA.fullmatch(text)
    if match is None:
        raise typer.BadParameter(
            f"{text!r} is not LIMIT[ UNIT]/PERIOD, as in '10000 rows/month'",
            param_hint="--quota",
        )
    return {"limit": int(match[1]), "unit": match[2] or "requests", "period": match[3]}


def _price(text: str) -> object:
    if text == NONE:
        return _LIFTED
    match = _PRICE.fullmatch(text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is not like '0.50 EUR'", param_hint="--price")
    return {"amount": match[1], "currency": match[2].upper()}


def _number(text: str | None, option: str) -> object:
    if text is None:
        return None
    if text == NONE:
        return _LIFTED
    if not (text.isascii() and text.isdecimal()):
        raise typer.BadParameter(f"{text!r} is neither a number nor `none`", param_hint=option)
    return int(text)
