"""The form of requirements, to and from what the API takes. Pure."""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from control.portal.api import ApiRefusal
from control.portal.forms import Form
from registry.requirements_inputs import ContractOutput, RequirementsOutput

SPARE_RULES: Final = 3
MAX_RULES: Final = 300
"""Of a contract that the form can hold; the API takes more."""
_PLACES: Final = ("problem", "owner", "sponsor", "criteria", "constraints", "segments", "contract")
_ABOUT: Final = re.compile(rf"(?:body\.)?({'|'.join(_PLACES)})\b")


LABELS: Final = {
    "problem": "What is to be solved",
    "owner": "Owner",
    "sponsor": "Sponsor",
    "criteria": "Criteria",
    "segments": "Segments",
    "technical": "Technical constraints",
    "regulatory": "Regulatory constraints",
    "resource": "Constraints of resources",
    "mode": "Rows that break a rule",
    "rules": "Rules",
}


class RuleRow(msgspec.Struct, frozen=True, kw_only=True):
    """A rule of the contract as texts of a form."""

    column: str = ""
    minimum: str = ""
    maximum: str = ""
    categories: str = ""
    nulls: bool = True


class RequirementsForm(msgspec.Struct, frozen=True, kw_only=True):
    """The fields as they are shown."""

    problem: str = ""
    owner: str = ""
    sponsor: str = ""
    criteria: str = ""
    technical: str = ""
    regulatory: str = ""
    resource: str = ""
    segments: str = ""
    mode: str = ""
    rules: list[RuleRow] = []


def from_api(given: RequirementsOutput | None) -> RequirementsForm:
    """What holds now; empty fields where there is nothing yet."""
    if given is None:
        return RequirementsForm(rules=[RuleRow()] * SPARE_RULES)
    return RequirementsForm(
        problem=given.problem,
        owner=given.owner,
        sponsor=given.sponsor or "",
        criteria="\n".join(given.criteria),
        technical="\n".join(given.constraints.technical),
        regulatory="\n".join(given.constraints.regulatory),
        resource="\n".join(given.constraints.resource),
        segments="\n".join(f"{name}: {text}" for name, text in given.segments.items()),
        mode="" if given.contract is None else given.contract.mode,
        rules=_rows(given.contract) + [RuleRow()] * SPARE_RULES,
    )


def from_form(form: Form) -> RequirementsForm:
    """What was typed, to be shown again."""
    texts = {
        name: form.text(name) for name in RequirementsForm.__struct_fields__ if name != "rules"
    }
    rules = [
        RuleRow(
            column=form.text(f"rule.{index}.column"),
            minimum=form.text(f"rule.{index}.minimum"),
            maximum=form.text(f"rule.{index}.maximum"),
            categories=form.text(f"rule.{index}.categories"),
            nulls=form.flag(f"rule.{index}.nulls"),
        )
        for index in range(_count(form))
    ]
    return RequirementsForm(rules=rules, **texts)


def texts(form: RequirementsForm) -> dict[str, str]:
    """The fields as texts, to be held against others; a rule of the contract a line."""
    rules = [
        f"{row.column}: {row.minimum or 'any'} to {row.maximum or 'any'}"
        + (f", one of {row.categories}" if row.categories else "")
        + (", may be missing" if row.nulls else "")
        for row in form.rules
        if row.column
    ]
    named = {name: getattr(form, name) for name in LABELS if name != "rules"}
    return {**named, "rules": "\n".join(rules)}


def merged(
    typed: RequirementsForm, present: RequirementsForm, values: Mapping[str, str]
) -> RequirementsForm:
    """``typed`` with the texts of ``values``, and the present rules where these are theirs."""
    named = {name: text for name, text in values.items() if name != "rules"}
    theirs = values["rules"] == texts(present)["rules"]
    rules = present.rules if theirs else typed.rules
    return RequirementsForm(rules=rules, **named)


def to_api(form: Form) -> dict[str, object]:
    """The body of the request. What cannot be understood goes as it is, so that the API says so."""
    typed = from_form(form)
    body: dict[str, object] = {
        "problem": typed.problem,
        "owner": typed.owner,
        "sponsor": typed.sponsor or None,
        "criteria": _lines(typed.criteria),
        "constraints": {
            "technical": _lines(typed.technical),
            "regulatory": _lines(typed.regulatory),
            "resource": _lines(typed.resource),
        },
        "segments": dict(_segment(line) for line in _lines(typed.segments)),
    }
    if typed.mode:
        rules = [
            {
                "column": row.column,
                "minimum": form.number(f"rule.{index}.minimum"),
                "maximum": form.number(f"rule.{index}.maximum"),
                "categories": [part.strip() for part in row.categories.split(",") if part.strip()]
                or None,
                "nulls": row.nulls,
            }
            for index, row in enumerate(typed.rules)
            if row.column
        ]
        body["contract"] = {"mode": typed.mode, "rules": rules}
    return body


def errors(refusal: ApiRefusal | None) -> dict[str, str]:
    """Part of the form -> what was refused of it, with its caret under the character; ``""``: what
    belongs to no part."""
    if refusal is None:
        return {}
    said = [(one.field, f"{one.field}: {one.message}") for one in refusal.problem.errors]
    found: dict[str, str] = {}
    for about, text in said or [(refusal.problem.detail, refusal.problem.detail)]:
        match = _ABOUT.match(about)
        part = "" if match is None else match[1]
        found[part] = f"{found[part]}\n{text}" if part in found else text
    return found


def _rows(contract: ContractOutput | None) -> list[RuleRow]:
    if contract is None:
        return []
    return [
        RuleRow(
            column=rule.column,
            minimum="" if rule.minimum is None else f"{rule.minimum:.15g}",
            maximum="" if rule.maximum is None else f"{rule.maximum:.15g}",
            categories=", ".join(rule.categories or []),
            nulls=rule.nulls,
        )
        for rule in contract.rules
    ]


def _count(form: Form) -> int:
    given = form.number("rules")
    return min(given, MAX_RULES) if isinstance(given, int) and given > 0 else 0


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _segment(line: str) -> tuple[str, str]:
    name, _, text = line.partition(":")
    return name.strip(), text.strip()
