"""What the commands about rollouts say of guarded canaries."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from tollway.cli.output import print_fields, print_json, print_table, say
from tollway.client import Client
from tollway.guarded import CanaryDecision, CanaryStep, Guard, GuardedCanary
from tollway.rollouts import Rollout

if TYPE_CHECKING:
    from rich.table import Table

WATCH_S = 1.0
"""Time between two looks of ``--watch``."""


def steps_from(text: str | None, min_requests: int, min_seconds: int) -> list[CanaryStep] | None:
    """Steps from ``1,5,25``."""
    if text is None:
        return None
    try:
        shares = [float(part.strip().removesuffix("%")) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(
            "give percentages, such as 1,5,25,100", param_hint="--steps"
        ) from None
    return [
        CanaryStep(percent=share, min_requests=min_requests, min_duration_s=min_seconds)
        for share in shares
    ]


def guard_from(limits: dict[str, float | None], *, guarded: bool) -> Guard | bool:
    """The guard that is asked for; ``limits``: those that were given."""
    given = {name: limit for name, limit in limits.items() if limit is not None}
    return Guard(**given) if given else guarded  # type: ignore[arg-type]


def fields_of(found: GuardedCanary) -> dict[str, object]:
    """The canary, a field per line."""
    fields: dict[str, object] = {
        "guarded": f"version {found.version} beside {found.stable}: {found.state}",
        "reason": found.reason or None,
        "step": f"{found.step} of {len(found.steps)} ({found.percent:g} %)",
        "canary": _counted(found.canary.requests, found.canary.errors),
        "stable's": _counted(found.stable_counts.requests, found.stable_counts.errors),
        "evidence": f"{found.e_value:.3g} of {found.threshold:.4g}",
    }
    for test in found.tests:
        fields[test.test] = f"e-value {test.e_value:.3g} of {test.threshold:.4g}" + _measured(
            test.canary, test.stable, test.allowed
        )
    return fields


def show_decisions(found: list[CanaryDecision], *, as_json: bool) -> None:
    """The history of decisions."""
    if as_json:
        print_json(found)
        return
    print_table(
        ("at", "version", "decision", "percent", "by", "e-value", "reason"),
        (
            (d.at, d.version, d.action, d.percent, d.actor, d.evidence.get("e_value"), d.reason)
            for d in found
        ),
    )


def show(found: GuardedCanary, *, as_json: bool) -> None:
    """A guarded canary."""
    if as_json:
        print_json(found)
    else:
        print_fields(fields_of(found))


def watch(
    client: Client, model: str, *, as_json: bool, sleep: Callable[[float], None] = time.sleep
) -> Rollout:
    """Show the guarded canary until it is over: live on a terminal, else a line (``as_json``: an
    object) for each change."""
    from rich.console import Console  # noqa: PLC0415 -- not for every command
    from rich.live import Live  # noqa: PLC0415

    console = Console()
    if as_json or not console.is_terminal:
        return _follow(client, model, sleep, as_json=as_json)
    with Live(console=console, auto_refresh=False) as live:
        while True:
            found = client.rollout(model)
            if found.guarded is None:
                return found
            live.update(_table(found.guarded), refresh=True)
            if found.guarded.over:
                return found
            sleep(WATCH_S)


def _follow(
    client: Client, model: str, sleep: Callable[[float], None], *, as_json: bool
) -> Rollout:
    shown: GuardedCanary | None = None
    while True:
        found = client.rollout(model)
        one = found.guarded
        if one is not None and one != shown:
            if as_json:
                print_json(one)
            else:
                say(
                    f"version {one.version} {one.state} at {one.percent:g} %: "
                    f"{one.canary.requests} requests, {one.canary.errors} failed, "
                    f"evidence {one.e_value:.3g} of {one.threshold:.4g}; {one.reason}"
                )
            shown = one
        if one is None or one.over:
            return found
        sleep(WATCH_S)


def _table(found: GuardedCanary) -> "Table":
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(show_header=False, box=None)
    for name, value in fields_of(found).items():
        table.add_row(Text(name, style="bold"), Text(str(value or "-")))
    return table


def _counted(requests: int, errors: int) -> str:
    return f"{requests} requests, {errors} failed"


def _measured(canary: float | None, stable: float | None, allowed: float) -> str:
    if canary is None:
        return ""
    beside = "" if stable is None else f" beside {stable:.4g}"
    return f" (measured {canary:.4g}{beside}, allowed {allowed:.4g})"
