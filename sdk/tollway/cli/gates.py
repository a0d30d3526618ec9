"""``tollway requirements``, ``gate``, ``approvals``, ``ask-approval``, ``approve``, ``refuse``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from tollway import errors
from tollway.cli.output import Json, note, print_fields, print_json, print_table, say
from tollway.client import Client
from tollway.gates import Approval, Gate, Requirements

ModelName = Annotated[str, typer.Argument(help="Name of the model.")]
Number = Annotated[int, typer.Argument(help="Number of the version.", min=1)]


def requirements(
    model: ModelName,
    number: Annotated[
        int | None, typer.Argument(help="This version of them; without: what holds now.", min=1)
    ] = None,
    set: Annotated[
        Path | None, typer.Option(help="Make the next version from this JSON file, whole.")
    ] = None,
    history: Annotated[bool, typer.Option("--history", help="List every version.")] = False,
    as_json: Json = False,
) -> None:
    """Show what a model has to fulfil, or make the next version of it."""
    with Client() as client:
        if history:
            _list(client.requirements_history(model), as_json)
            return
        if set is not None:
            found: Requirements | None = client.set_requirements(model, _read(set))
        else:
            found = client.requirements(model, number)
    if found is None:
        if as_json:
            print_json(None)
        else:
            say(f"model '{model}' has no requirements")
        return
    _show(found, as_json)


def gate(model: ModelName, version: Number, as_json: Json = False) -> None:
    """Show whether a version may go on: each criterion, and the sponsor's word.

    The exit code is 1 when it may not.
    """
    with Client() as client:
        found = client.gate(model, version)
    if as_json:
        print_json(found)
    else:
        _show_gate(found)
    if not found.passed:
        raise typer.Exit(1)


def approvals(
    decided: Annotated[
        bool, typer.Option("--decided", help="Those that were decided on, instead.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the versions that await their sponsor's decision."""
    with Client() as client:
        found = client.decided_approvals() if decided else client.awaiting_approval()
    if as_json:
        print_json(found)
        return
    columns = ("model", "version", "state", "approval", "sponsor", "asked by", "note")
    print_table(
        columns,
        [
            (
                one.model,
                one.version,
                one.state,
                one.approval.state,
                one.approval.sponsor or "",
                "" if one.asked is None else one.asked.by,
                "" if one.asked is None else one.asked.note,
            )
            for one in found
        ],
    )


def ask_approval(
    model: ModelName,
    version: Number,
    note: Annotated[str, typer.Option(help="What the sponsor should know.")] = "",
    as_json: Json = False,
) -> None:
    """Tell the model's sponsor that a version awaits their decision."""
    with Client() as client:
        found = client.ask_approval(model, version, note)
    if as_json:
        print_json(found)
    else:
        say(f"'{found.approval.sponsor}' was asked to approve {model} version {version}")


def approve(
    model: ModelName,
    version: Number,
    reason: Annotated[str, typer.Option(help="Why: stays with the decision.")] = "",
    as_json: Json = False,
) -> None:
    """Say go to a version, as its model's sponsor."""
    with Client() as client:
        found = client.approve_version(model, version, reason)
    _decided(found, "approved", as_json)


def refuse(
    model: ModelName,
    version: Number,
    reason: Annotated[str, typer.Option(help="Why: stays with the decision.")],
    as_json: Json = False,
) -> None:
    """Say no to a version, as its model's sponsor."""
    with Client() as client:
        found = client.refuse_version(model, version, reason)
    _decided(found, "refused", as_json)


def _read(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise errors.InvalidRequestError(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise errors.InvalidRequestError(f"{path} holds no JSON object with requirements")
    return found


def _list(found: list[Requirements], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    print_table(
        ("version", "sponsor", "criteria", "created", "by"),
        ((r.number, r.sponsor, r.criteria, r.created_at, r.created_by) for r in found),
    )


def _show(found: Requirements, as_json: bool) -> None:
    for warning in found.warnings:
        note(f"warning: {warning}")
    if as_json:
        print_json(found)
        return
    contract = found.contract or {}
    rules = contract.get("rules")
    print_fields(
        {
            "model": found.model,
            "version": found.number,
            "created": found.created_at,
            "by": found.created_by,
            "problem": found.problem or None,
            "owner": found.owner or None,
            "sponsor": found.sponsor,
            "criteria": found.criteria,
            "segments": [f"{name}: {text}" for name, text in found.segments.items()],
            "contract": contract.get("mode"),
            "rules": len(rules) if isinstance(rules, list) else 0,
            **{name: items for name, items in found.constraints.items() if items},
        }
    )


def _show_gate(found: Gate) -> None:
    print_table(
        ("criterion", "outcome", "value", "bound", "short by", "rows"),
        (
            (part.text, part.outcome, part.value, part.bound, part.short_by, part.rows)
            for one in found.criteria
            for part in one.parts
        ),
    )
    approval = found.approval
    say(f"approval: {approval.state}" + (f" ({approval.sponsor})" if approval.sponsor else ""))
    for missing in found.missing:
        say(f"missing: {missing}")
    say(f"{found.model} version {found.version} {'passes' if found.passed else 'does not pass'}")


def _decided(found: Approval, verb: str, as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        say(f"{found.model} version {found.version} is {verb} by '{found.actor}'")
