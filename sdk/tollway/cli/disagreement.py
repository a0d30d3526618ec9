"""The command about what a shadow version would have answered otherwise."""

from typing import Annotated

import typer

from tollway.cli.output import Json, print_json, print_table, say
from tollway.cli.times import moment
from tollway.cli.versions import ModelName, Number
from tollway.client import Client
from tollway.disagreement import DisagreementItem, DisagreementReport, Mirrored

_DIMENSIONS = ("application", "segment")
_SHOWN_EXAMPLES = 5


def disagreement(
    model: ModelName,
    number: Number,
    start: Annotated[
        str | None, typer.Option("--from", help="90d, 12h ago, or an ISO 8601 time.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="The same forms.")] = None,
    by: Annotated[str, typer.Option(help="`application`, `segment`, or both by a comma.")] = "",
    examples: Annotated[
        int, typer.Option(min=0, max=100, help="At most so many example rows.")
    ] = _SHOWN_EXAMPLES,
    as_json: Json = False,
) -> None:
    """Show what a shadow version would have answered otherwise."""
    groups = [part.strip() for part in by.split(",") if part.strip()]
    for group in groups:
        if group not in _DIMENSIONS:
            raise typer.BadParameter(
                f"{group!r} is none of {', '.join(_DIMENSIONS)}", param_hint="--by"
            )
    begin = None if start is None else moment(start, "--from")
    until = None if end is None else moment(end, "--to")
    with Client() as client:
        found = client.disagreement(
            model, number, start=begin, end=until, by=groups, examples=examples
        )
    if as_json:
        print_json(found)
    elif not found.items:
        say(f"nothing was compared with version {number} of {model} since {found.start}")
        _show_mirrored(found.mirrored)
    else:
        _show(found, groups)
        _show_mirrored(found.mirrored)


def _show_mirrored(mirrored: Mirrored) -> None:
    if mirrored.scored or mirrored.shed:
        shed = ", ".join(f"{count} {reason}" for reason, count in mirrored.shed.items())
        say(f"{mirrored.scored} requests were scored; left out: {shed or 'none'}")


def _show(found: DisagreementReport, groups: list[str]) -> None:
    heads = ("against", *groups)

    def head(item: DisagreementItem) -> tuple[object, ...]:
        return (item.against, *(_group(item, group) for group in groups))

    figures = ("mean_shift", "p50", "p90", "p99", "largest")
    print_table(
        (*heads, "requests", "failed", "rows", "flips", "flip %", *figures),
        (
            (
                *head(item),
                item.requests,
                sum(item.failures.values()),
                item.rows,
                item.flips if item.classified else None,
                None if item.flip_share is None else 100 * item.flip_share,
                *(getattr(item, figure) for figure in figures),
            )
            for item in found.items
        ),
    )
    failures = [
        (*head(i), reason, count) for i in found.items for reason, count in i.failures.items()
    ]
    if failures:
        print_table((*heads, "failure", "requests"), failures)
    pairs = [
        (*head(i), pair.answered, pair.shadow, pair.rows) for i in found.items for pair in i.pairs
    ]
    if pairs:
        print_table((*heads, "answered", "shadow", "rows"), pairs)
    if found.examples:
        print_table(
            ("prediction", "row", "answered", "shadow", "inputs"),
            (
                (
                    e.prediction_id,
                    e.row,
                    values_of(e.answered),
                    values_of(e.shadow),
                    values_of(e.inputs),
                )
                for e in found.examples
            ),
        )


def _group(item: DisagreementItem, group: str) -> str:
    """A dimension's value; in words where it stands for no name."""
    if group == "segment":
        return item.segment or "(all rows)"
    return item.application or "(management)"


def values_of(values: dict[str, object]) -> str:
    """Inputs or outputs of a row in one cell."""
    return ", ".join(f"{name}={value}" for name, value in values.items())
