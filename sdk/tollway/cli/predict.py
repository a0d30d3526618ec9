"""``tollway predict``."""

import math
from typing import Annotated

import typer

from tollway.cli.output import Json, print_json, say
from tollway.cli.rows import read_rows
from tollway.client import Client


def predict(
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    rows: Annotated[
        str, typer.Argument(metavar="FILE", help="JSON or CSV rows; - reads stdin.")
    ] = "-",
    proba: Annotated[
        bool, typer.Option("--proba", help="Probabilities in place of labels.")
    ] = False,
    version: Annotated[
        int | None, typer.Option(help="A version, in place of the one with the traffic.", min=1)
    ] = None,
    as_json: Json = False,
) -> None:
    """Predict rows: one answer per line, or a JSON list."""
    with Client() as client:
        X = read_rows(rows, client.columns(model, version=version))
        call = client.predict_proba if proba else client.predict
        answers = [_plain(value) for value in call(model, X, version=version).tolist()]
    if as_json:
        print_json(answers)
        return
    for answer in answers:
        cells = answer if isinstance(answer, list) else [answer]
        say("\t".join("" if cell is None else str(cell) for cell in cells))


def _plain(value: object) -> object:
    """As JSON has it: no NaN, no infinities."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.decode() if isinstance(value, bytes) else value
