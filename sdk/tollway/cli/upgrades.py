"""The command about what another version would change for an application."""

from typing import Annotated

import typer

from tollway.cli.disagreement import values_of
from tollway.cli.endings import answers_of
from tollway.cli.output import Json, print_fields, print_json, print_table, say
from tollway.cli.versions import ModelName
from tollway.client import Client


def upgrade(
    application: Annotated[str, typer.Argument(help="Name of the application.")],
    model: ModelName,
    number: Annotated[int, typer.Argument(help="The version that answers it.", min=1)],
    following: Annotated[int, typer.Argument(help="The one that would.", min=1)],
    as_json: Json = False,
) -> None:
    """Show what another version would change for an application's own recent requests."""
    with Client() as client:
        found = client.upgrade(application, model, number, following)
    if as_json:
        print_json(found)
        return
    print_fields(
        {
            "from": f"{found.model} {found.from_version}",
            "to": f"{found.model} {found.to_version} ({found.to_state})",
            "sunset": found.sunset,
            "other answers": answers_of(found.answers),
            "captured": f"{found.captured} requests to replay",
        }
    )
    if found.examples:
        say("")
        print_table(
            ("prediction", "row", "now", "then", "inputs"),
            (
                (one.prediction_id, one.row, values_of(one.answered), values_of(one.shadow),
                 values_of(one.inputs))
                for one in found.examples
            ),
        )  # fmt: skip
