"""What the pages of the catalogue show, worked out of what the API says. Pure."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final
from urllib.parse import urlencode

import msgspec

from control.catalogue_detail import CatalogueModel
from control.plans import Plan
from control.portal.plain_words import criterion_sentence, figure
from control.resources import Key, Subscription
from protocol.configuration import ColumnRule, ContractDoc, DeprecationDoc
from protocol.manifest import Column, Manifest
from protocol.model_openapi import samples_of
from protocol.model_samples import Language
from protocol.model_schema import enforced, example_value, has_rows
from registry.requirements_inputs import ContractOutput

MAX_COLUMNS: Final = 200
"""Columns that a model's page lists."""
MAX_CATEGORIES: Final = 8
_LANGUAGES: Final[dict[Language, str]] = {
    "curl": "curl", "python": "Python", "javascript": "JavaScript",
}  # fmt: skip
_TYPES: Final = {
    "float": "number", "integer": "whole number", "boolean": "true or false", "string": "text",
}  # fmt: skip
_SHAPED: Final = {"BYTES": "text", "BOOL": "true or false"}


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """What the front page is asked for, as its address says it."""

    q: str = ""
    task: str = ""
    state: str = ""
    owner: str = ""
    ready: str = ""
    evaluated: str = ""
    p99: str = ""
    sort: str = ""
    view: str = ""
    after: str = ""

    @property
    def any(self) -> bool:
        """Whether anything is left out of what is shown."""
        return any(
            (self.q, self.task, self.state, self.owner, self.ready, self.evaluated, self.p99)
        )

    def query(self) -> dict[str, str | int | bool | None]:
        """The same for the API."""
        return {
            "search": self.q or None,
            "task": self.task or None,
            "state": self.state or None,
            "owner": self.owner or None,
            "serving": "ready" if self.ready else None,
            "evaluated": True if self.evaluated else None,
            "p99_ms": self.p99 or None,
            "sort": self.sort or None,
            "after": self.after or None,
        }

    def url(self, **changed: str) -> str:
        """The front page with other filters, from its first page on."""
        asked: dict[str, str] = {**msgspec.structs.asdict(self), "after": "", **changed}
        given = {name: value for name, value in asked.items() if value}
        return "/portal" + (f"?{urlencode(given)}" if given else "")

    def page(self, after: str) -> str:
        """The page behind ``after``, with the same filters."""
        return self.url(after=after)


class InputShown(msgspec.Struct, frozen=True):
    """An input column, or an input tensor of a model without columns."""

    name: str
    kind: str
    accepts: str
    """What it may hold, in words."""
    refused: bool
    """Whether anything else is refused."""
    example: str
    missing: str
    importance: float | None
    """Share of the most important column's, 0 to 1."""


class OutputShown(msgspec.Struct, frozen=True):
    """An output."""

    name: str
    kind: str
    shape: str
    classes: tuple[str, ...]


class Sample(msgspec.Struct, frozen=True):
    """A program that calls the model."""

    language: Language
    label: str
    text: str


class OwnKey(msgspec.Struct, frozen=True):
    """A key of the reader's own that may call the model."""

    prefix: str
    label: str
    application: str


class Standing(msgspec.Struct, frozen=True):
    """How the reader stands to the model: their subscriptions, and a key for the samples."""

    subscriptions: tuple[Subscription, ...] = ()
    key: OwnKey | None = None

    @property
    def active(self) -> bool:
        """Whether an application of theirs may call."""
        return any(one.state == "active" for one in self.subscriptions)


def manifest_of(model: CatalogueModel) -> Manifest:
    """The manifest of the version that is shown."""
    return msgspec.convert(model.manifest, Manifest)


def contract_of(model: CatalogueModel) -> ContractDoc | None:
    """The model's data contract."""
    stated = model.requirements
    return None if stated is None or stated.contract is None else _contract(stated.contract)


def deprecation_of(model: CatalogueModel) -> DeprecationDoc | None:
    """How the version that is shown ends."""
    ending = model.shown.deprecation
    if ending is None:
        return None
    return DeprecationDoc(
        since=int(datetime.fromisoformat(ending.since).timestamp()),
        successor=ending.successor,
        note=ending.note,
    )


def _contract(given: ContractOutput) -> ContractDoc:
    rules = tuple(msgspec.convert(rule.model_dump(), ColumnRule) for rule in given.rules)
    return ContractDoc(mode=given.mode, rules=rules)


def inputs_shown(model: CatalogueModel) -> list[InputShown]:
    """The inputs in their order, at most 200."""
    manifest, contract = manifest_of(model), contract_of(model)
    rules = {} if contract is None else {rule.column: rule for rule in contract.rules}
    strict = enforced(contract)
    if not manifest.columns:
        return [
            InputShown(
                name=tensor.name,
                kind=_SHAPED.get(tensor.datatype, "number"),
                accepts=_shape(tensor.shape),
                refused=True,
                example="",
                missing="may be left out" if tensor.optional else "needed",
                importance=None,
            )
            for tensor in manifest.inputs
        ]
    weights = _weights(model)
    return [
        InputShown(
            name=column.name,
            kind=_TYPES[column.type],
            accepts=accepts(column, rules.get(column.name)),
            refused=column.name in strict,
            example=example_text(example_value(column, strict.get(column.name))),
            missing=_missing(column, strict.get(column.name)),
            importance=weights.get(column.name),
        )
        for column in manifest.columns[:MAX_COLUMNS]
    ]


def _weights(model: CatalogueModel) -> dict[str, float]:
    if model.evaluation is None or not model.evaluation.importance:
        return {}
    most = max(one.mean for one in model.evaluation.importance)
    if most <= 0:
        return {}
    return {one.column: max(one.mean, 0) / most for one in model.evaluation.importance}


def accepts(column: Column, rule: ColumnRule | None) -> str:
    """What a column holds, by the contract where it says so, else as training rows had it."""
    low, high, categories = column.minimum, column.maximum, column.categories
    if rule is not None:
        low = rule.minimum if rule.minimum is not None else low
        high = rule.maximum if rule.maximum is not None else high
        categories = rule.categories if rule.categories is not None else categories
    if categories:
        more = len(categories) - MAX_CATEGORIES
        return ", ".join(categories[:MAX_CATEGORIES]) + (f" and {more} more" if more > 0 else "")
    if low is not None and high is not None:
        return f"{figure(low)} to {figure(high)}"
    if low is not None:
        return f"from {figure(low)}"
    return f"up to {figure(high)}" if high is not None else ""


def _missing(column: Column, rule: ColumnRule | None) -> str:
    if (rule is not None and not rule.nulls) or (column.type != "float" and column.null is None):
        return "needed"
    return (
        f"may be missing ({column.null_share:.1%} were)" if column.null_share else "may be missing"
    )


def example_text(value: object) -> str:
    """An example value as it is typed into a field."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def outputs_shown(model: CatalogueModel) -> list[OutputShown]:
    """The outputs, with a classifier's classes beside what lists or names them."""
    manifest = manifest_of(model)
    labels = tuple(str(label) for label in manifest.labels)
    return [
        OutputShown(
            name=tensor.name,
            kind=_SHAPED.get(tensor.datatype, "number"),
            shape=_shape(tensor.shape),
            classes=labels,
        )
        for tensor in manifest.outputs
    ]


def _shape(shape: tuple[int, ...]) -> str:
    inner = [str(size) if size >= 0 else "any number" for size in shape[1:]]
    if not inner or inner == ["1"]:
        return "one a row"
    return " \N{MULTIPLICATION SIGN} ".join(inner) + " a row"


def criteria_shown(model: CatalogueModel) -> list[tuple[str, str]]:
    """(sentence, criterion) of what versions have to show."""
    stated = model.requirements
    if stated is None:
        return []
    return [(criterion_sentence(text, stated.segments), text) for text in stated.criteria]


def samples_shown(
    model: CatalogueModel, url: str, *, named: bool, key: OwnKey | None
) -> list[Sample]:
    """Programs that call the version; their key is the reader's own prefix."""
    number = model.shown.number
    found = samples_of(
        manifest_of(model), number=number, url=url, named=named, contract=contract_of(model)
    )
    return [
        Sample(language, _LANGUAGES[language], _with_key(language, text, key))
        for language, text in found.items()
    ]


def _with_key(language: Language, text: str, key: OwnKey | None) -> str:
    """Say first where the key goes. The label is somebody's text, so it stays out."""
    shown = f"{key.prefix}..." if key is not None else "YOUR_KEY"
    if language == "curl":
        return f"export TOLLWAY_KEY='{shown}'\n\n{text}"
    sign = "#" if language == "python" else "//"
    return f"{sign} TOLLWAY_KEY in the environment: {shown}\n{text}"


def standing_of(
    model: str, subscriptions: Iterable[Subscription], keys: Iterable[Key], now: str
) -> Standing:
    """How a reader with these subscriptions and keys stands to the model."""
    to_this = tuple(one for one in subscriptions if one.model == model)
    calling = {one.application for one in to_this if one.state == "active"}
    usable = [
        key
        for key in keys
        if key.application in calling
        and key.revoked_at is None
        and (key.expires_at is None or key.expires_at > now)
        and (key.models is None or model in key.models)
    ]
    newest = max(usable, key=lambda key: key.created_at, default=None)
    own = None if newest is None else OwnKey(newest.prefix, newest.label, newest.application)
    return Standing(to_this, own)


def limits_words(plan: Plan) -> list[str]:
    """What a plan allows, a line each."""
    found = [f"{rate.requests:,} requests {per_window(rate.window_s)}" for rate in plan.rates]
    if plan.quota is not None:
        unit = plan.quota.unit.replace("compute_ms", "ms of compute")
        found.append(f"{plan.quota.limit:,} {unit} a {plan.quota.period}")
    if plan.concurrency is not None:
        found.append(f"{plan.concurrency:,} at once")
    if plan.max_rows is not None:
        found.append(f"{plan.max_rows:,} rows in a request")
    return found or ["no limits"]


def per_window(seconds: int) -> str:
    """``a second``, ``a minute``, ``in 10 seconds``."""
    named = {1: "a second", 60: "a minute", 3600: "an hour", 86_400: "a day"}
    return named.get(seconds, f"in {seconds:,} seconds")


def callable_by_row(model: CatalogueModel) -> bool:
    """Whether V1 takes it by row: then there is a form to try it."""
    return has_rows(manifest_of(model))
