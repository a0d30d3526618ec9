"""The command about alerts."""

from tollway.cli.output import Json, print_json, print_table
from tollway.client import Client


def alerts(as_json: Json = False) -> None:
    """List what somebody should look at: found by workers and gateways, or canaries rolled back."""
    with Client() as client:
        found = client.alerts()
    if as_json:
        print_json(found)
        return
    print_table(
        ("alert", "model", "version", "found by", "slot", "since", "message"),
        (
            (a.kind, a.model, a.version, a.worker or a.gateway, a.slot, a.since, a.message)
            for a in found
        ),
    )
