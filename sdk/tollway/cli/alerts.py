"""The command about alerts."""

from tollway.cli.output import Json, print_json, print_table
from tollway.client import Client


def alerts(as_json: Json = False) -> None:
    """List what workers found of versions, and somebody should look at."""
    with Client() as client:
        found = client.alerts()
    if as_json:
        print_json(found)
        return
    print_table(
        ("alert", "model", "version", "worker", "slot", "since", "message"),
        ((a.kind, a.model, a.version, a.worker, a.slot, a.since, a.message) for a in found),
    )
