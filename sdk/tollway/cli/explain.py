"""``tollway explain``."""

import sys
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer

from tollway.cli.output import Json, print_json, print_table, say
from tollway.cli.rows import read_rows
from tollway.client import Client
from tollway.explanation import Explanation

BAR = 24
"""Characters of the longest bar, on either side."""


def explain(
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    rows: Annotated[
        str, typer.Argument(metavar="FILE", help="JSON or CSV rows; - reads stdin.")
    ] = "-",
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--class", help="A class to explain, in place of the predicted one; may be repeated."
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all-classes", help="Explain every class.")] = False,
    output: Annotated[
        str | None, typer.Option(help="The output to explain, where there are several.")
    ] = None,
    exact_as_is: Annotated[
        bool,
        typer.Option("--as-is", help="Explain probabilities as they are, not their log-odds."),
    ] = False,
    permutations: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Permutations: more estimate better.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Another choice of them.")] = None,
    top: Annotated[int, typer.Option(min=1, help="Columns that are shown of each row.")] = 10,
    version: Annotated[
        int | None, typer.Option(help="A version, in place of the one with the traffic.", min=1)
    ] = None,
    as_json: Json = False,
) -> None:
    """Explain rows: what each column contributes to the answer, the largest first."""
    if kind and every:
        raise typer.BadParameter("give --class or --all-classes, not both", param_hint="--class")
    with Client() as client:
        X = read_rows(rows, client.columns(model, version=version))
        found = client.explain(
            model,
            X,
            version=version,
            classes=kind or ("all" if every else "predicted"),
            output=output,
            method="permutation" if exact_as_is else "auto",
            permutations=permutations,
            seed=seed,
        )
    if as_json:
        print_json(_document(found))
    elif sys.stdout.isatty():
        _draw(found, top)
    else:
        columns = ("row", "class", "column", "contribution")
        print_table(columns, _lines(found, top))


Part = tuple[int, object, npt.NDArray[np.float64], float, float]
"""Row, class, contributions, base value, prediction."""


def _parts(found: Explanation) -> list[Part]:
    """Everything that was explained."""
    parts: list[Part] = []
    for row in range(len(found)):
        if found.contributions.ndim == 2:  # noqa: PLR2004 -- row and column
            kind = None if found.classes is None else found.classes[row]
            parts.append(
                (row, kind, found.contributions[row], found.base_values[row],
                 found.predictions[row])
            )  # fmt: skip
            continue
        parts += [
            (row, kind, found.contributions[row, at], found.base_values[row, at],
             found.predictions[row, at])
            for at, kind in enumerate(found.classes or [])
        ]  # fmt: skip
    return parts


def _document(found: Explanation) -> dict[str, object]:
    return {
        "explanations": [
            {
                "row": row,
                **({} if kind is None else {"class": kind}),
                "prediction": float(prediction),
                "base_value": float(base),
                "contributions": dict(zip(found.columns, values.tolist(), strict=True)),
                "additivity_error": float(found.additivity_errors[row]),
            }
            for row, kind, values, base, prediction in _parts(found)
        ],
        "output": found.output,
        "space": found.space,
        "method": found.method,
        "evaluations": found.evaluations,
        "version": found.version,
    }


def _lines(found: Explanation, top: int) -> list[tuple[object, ...]]:
    return [
        (row, kind, found.columns[place], values[place].item())
        for row, kind, values, _, _ in _parts(found)
        for place in _largest(values, top)
    ]


def _largest(values: npt.NDArray[np.float64], top: int) -> list[int]:
    order: list[int] = np.argsort(-np.abs(values), kind="stable")[:top].tolist()
    return order


def _draw(found: Explanation, top: int) -> None:
    from rich.console import Console  # noqa: PLC0415 -- for terminals only
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console()
    say(f"{found.output} of version {found.version}, in {found.space}, by {found.method}")
    for row, kind, values, base, prediction in _parts(found):
        of = "" if kind is None else f", class {kind}"
        table = Table(
            title=Text(f"row {row}{of}: {prediction:.6g} = {base:.6g} and these"),
            title_justify="left",
            show_header=False,
        )
        table.add_column(justify="left")
        table.add_column(justify="right")
        table.add_column()
        longest = float(np.abs(values).max()) or 1.0
        for place in _largest(values, top):
            value = float(values[place])
            # Text, because names must not be read as markup.
            table.add_row(
                Text(found.columns[place]), Text(f"{value:+.4g}"), Text(*_bar(value / longest))
            )
        if len(values) > top:
            rest = float(values.sum() - values[_largest(values, top)].sum())
            table.add_row(Text(f"{len(values) - top} others"), Text(f"{rest:+.4g}"), Text(""))
        console.print(table)


def _bar(share: float) -> tuple[str, str]:
    """A bar to the right for what adds, to the left for what takes away; and its colour."""
    length = round(abs(share) * BAR)
    if share < 0:
        return " " * (BAR - length) + "█" * length + "│", "blue"
    return " " * BAR + "│" + "█" * length, "red"
