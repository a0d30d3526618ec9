"""The form by which a reader tries a model, made of its columns. Pure."""

from typing import Final, Literal

import msgspec

from control.catalogue_detail import CatalogueModel
from control.portal.catalogue import accepts, contract_of, example_text, manifest_of
from protocol.configuration import ColumnRule
from protocol.manifest import Column, Manifest
from protocol.model_openapi import asked_of
from protocol.model_schema import enforced, example_value, has_rows, speaks_json

MAX_FIELDS: Final = 100
"""Columns beyond which rows are written as JSON."""
MAX_OPTIONS: Final = 200
Control = Literal["number", "text", "choice", "boolean"]


class Field(msgspec.Struct, frozen=True):
    """The field of a column."""

    name: str
    kind: str
    """The column's type."""
    control: Control
    hint: str
    value: str
    options: tuple[str, ...]
    """Values to choose from, or to be offered."""
    nullable: bool
    whole: bool


class TryForm(msgspec.Struct, frozen=True):
    """How a version is tried."""

    model: str
    version: int
    named: bool
    """Whether the version is named in calls; else the model's own choice answers."""
    path: str
    """Where to POST, without the verb of ``predict``."""
    by_row: bool
    fields: tuple[Field, ...]
    """Empty: rows are written as JSON."""
    body: str
    """The example's body as JSON text."""
    explains: bool
    labels: tuple[str, ...]
    classes: tuple[str, ...]
    """Outputs that are the number of a class, whose name is its label."""
    task: str
    possible: bool
    """Whether its tensors have a form in JSON at all."""

    @property
    def data(self) -> dict[str, object]:
        """What the script needs to know."""
        return {
            "model": self.model,
            "path": self.path,
            "byRow": self.by_row,
            "explains": self.explains,
            "labels": self.labels,
            "classes": self.classes,
            "task": self.task,
            "columns": [{"name": one.name, "kind": one.kind} for one in self.fields],
        }


def try_form(model: CatalogueModel, version: int | None) -> TryForm:
    """The form of the version that is shown; ``version``: the one that calls are to name."""
    manifest = manifest_of(model)
    by_row = has_rows(manifest)
    prefix = "v1" if by_row else "v2"
    named = "" if version is None else f"/versions/{version}"
    rules = enforced(contract_of(model))
    columns = manifest.columns if by_row and len(manifest.columns) <= MAX_FIELDS else ()
    possible = speaks_json(manifest)
    return TryForm(
        model=model.name,
        version=model.shown.number,
        named=version is not None,
        path=f"/{prefix}/models/{model.name}{named}",
        by_row=by_row,
        fields=tuple(_field(column, rules.get(column.name)) for column in columns),
        body=_body(manifest, model) if possible else "",
        explains=by_row and model.explains,
        labels=tuple(str(label) for label in manifest.labels),
        classes=class_outputs(manifest),
        task=manifest.task,
        possible=possible,
    )


def class_outputs(manifest: Manifest) -> tuple[str, ...]:
    """The outputs that give a class by its place among the labels: whole numbers, where labels are
    names. Of several outputs of whole numbers those count that are called labels or classes."""
    named = manifest.labels and all(isinstance(label, str) for label in manifest.labels)
    if manifest.task != "classification" or not named:
        return ()
    whole = [one.name for one in manifest.outputs if one.datatype.startswith(("INT", "UINT"))]
    if len(whole) == 1:
        return tuple(whole)
    return tuple(name for name in whole if "label" in name.lower() or "class" in name.lower())


def _body(manifest: Manifest, model: CatalogueModel) -> str:
    body = asked_of(manifest, contract_of(model))
    return msgspec.json.format(msgspec.json.encode(body), indent=2).decode()


def _field(column: Column, rule: ColumnRule | None) -> Field:
    categories = column.categories if rule is None else rule.categories or column.categories
    strict = rule is not None and rule.categories is not None
    control: Control = "text" if column.type == "string" else "number"
    if column.type == "boolean":
        control = "boolean"
    elif strict and column.type == "string":
        control = "choice"
    nullable = (column.type == "float" or column.null is not None) and (rule is None or rule.nulls)
    said = accepts(column, rule)
    hint = f"{'must be ' if rule is not None else 'usually '}{said}" if said else ""
    return Field(
        name=column.name,
        kind=column.type,
        control=control,
        hint="" if control in {"choice", "boolean"} else hint,
        value=example_text(example_value(column, rule)),
        options=(categories or ())[:MAX_OPTIONS] if column.type == "string" else (),
        nullable=nullable,
        whole=column.type == "integer",
    )
