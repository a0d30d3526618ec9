"""Requirements of models: versions of an agreement, each of which never changes.

The present version decides what gates ask for, and gives the model's data contract and segments to
engines and reports.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from protocol.configuration import ColumnRule, ContractDoc
from protocol.errors import Code, TollwayError
from protocol.requirements import Requirements
from protocol.segments import WORD, parse_condition
from registry.access import Actor
from registry.clock import Clock
from registry.conditions import holds
from registry.contract_warnings import contract_warnings
from registry.criteria import Beats, parse_criterion
from registry.measures import Untold, smaller_is_better
from registry.models import model_not_found
from registry.store import audit
from registry.store import models as model_store
from registry.store import requirements as store
from registry.store import versions as version_store
from registry.store.database import Database
from registry.store.requirements import RequirementsRecord
from registry.store.sponsors import Sponsors

MAX_DOCUMENT_BYTES: Final = 256 << 10
"""Of one version in canonical JSON: its contract and segments travel to every gateway."""

MAX_COMPARED: Final = 100
"""Versions, the newest, that a contract is compared with for warnings."""


class RequirementsStanding(msgspec.Struct, frozen=True, kw_only=True):
    """What the audit log keeps of a version: ``digest`` stands for the whole of it."""

    model: str
    number: int
    digest: str
    sponsor: str | None
    criteria: tuple[str, ...]


def requirements_etag(record: RequirementsRecord) -> str:
    """Names one version of the requirements."""
    return f"r{record.number}-{record.digest.removeprefix('sha256:')[:16]}"


class RequirementsBook:
    """Reads requirements and writes the next version. Thread-safe; calls block."""

    def __init__(self, database: Database, clock: Clock, sponsors: Sponsors) -> None:
        self._database = database
        self._clock = clock
        self._sponsors = sponsors

    def present(self, model: str) -> RequirementsRecord:
        """The version that holds now. Raises ``MODEL_NOT_FOUND``, ``NOT_FOUND``."""
        with self._database.read() as connection:
            found = store.present(connection, model)
            if found is None and model_store.get(connection, model) is None:
                raise model_not_found(model)
        if found is None:
            raise TollwayError(Code.NOT_FOUND, f"model {model!r} has no requirements")
        return found

    def get(self, model: str, number: int) -> RequirementsRecord:
        """One version. Raises ``MODEL_NOT_FOUND``, ``NOT_FOUND``."""
        with self._database.read() as connection:
            found = store.get(connection, model, number)
            if found is None and model_store.get(connection, model) is None:
                raise model_not_found(model)
        if found is None:
            raise TollwayError(Code.NOT_FOUND, f"model {model!r} has no requirements {number}")
        return found

    def page(self, model: str, after: int, limit: int) -> list[RequirementsRecord]:
        """The versions, oldest first, from the one following ``after``."""
        with self._database.read() as connection:
            if model_store.get(connection, model) is None:
                raise model_not_found(model)
            return store.page(connection, model, after, limit)

    def warnings(self, record: RequirementsRecord) -> list[str]:
        """What of these requirements holds for no version that the model has now, in words."""
        contract = record.requirements.contract
        if contract is None:
            return []
        with self._database.read() as connection:
            versions = version_store.going_on(connection, record.model, MAX_COMPARED)
        return contract_warnings(contract, versions)

    def put(
        self, model: str, given: Requirements, *, by: Actor, expected: str | None
    ) -> tuple[RequirementsRecord, bool]:
        """Make ``given`` what holds from now on. Returns it, and whether it is a new version: what
        says the same as the present one is none.

        Raises ``INVALID`` for what cannot be understood, ``FORBIDDEN`` for whoever would name
        another sponsor and is neither the present one nor an admin, ``PRECONDITION_FAILED``.
        """
        checked = check(given)
        with self._database.write() as connection:
            if not model_store.lock(connection, model):
                raise model_not_found(model)
            present = store.present(connection, model)
            if not holds(expected, None if present is None else requirements_etag(present)):
                raise TollwayError(
                    Code.PRECONDITION_FAILED,
                    f"the requirements of model {model!r} are not those that the request expects; "
                    "read them again",
                )
            before = None if present is None else present.requirements
            if present is not None and before == checked:
                return present, False
            _check_sponsor(before, checked, by)
            now = self._clock()
            self._sponsors.named(connection, model, checked.sponsor, actor=by.name, at=now)
            number = 1 if present is None else present.number + 1
            made = store.insert(connection, model, number, checked, actor=by.name, at=now)
            model_store.announce(connection, model)
            audit.record(
                connection,
                "requirements.changed" if present else "requirements.created",
                "requirements",
                f"{model}/{number}",
                at_ms=now,
                before=None if present is None else _standing(present),
                after=_standing(made),
            )
        return made, True


def _standing(record: RequirementsRecord) -> RequirementsStanding:
    given = record.requirements
    return RequirementsStanding(
        model=record.model,
        number=record.number,
        digest=record.digest,
        sponsor=given.sponsor,
        criteria=given.criteria,
    )


def check(given: Requirements) -> Requirements:
    """``given`` with every expression in its canonical form. Raises ``INVALID`` where something
    cannot be understood, and says in which item."""
    segments: dict[str, str] = {}
    for name, text in given.segments.items():
        if not WORD.fullmatch(name) or name == "and":
            raise TollwayError(
                Code.INVALID,
                f"segments: the name {name[:80]!r} is not a word of letters, digits, '_', '.' and "
                "'-' that begins with a letter",
            )
        with _named(f"segments, {name}"):
            segments[name] = str(parse_condition(text))
    criteria = [_criterion(at, text, segments) for at, text in enumerate(given.criteria, 1)]
    if given.contract is not None:
        _check_contract(given.contract)
    checked = msgspec.structs.replace(
        given, criteria=tuple(dict.fromkeys(criteria)), segments=segments
    )
    size = len(checked.canonical())
    if size > MAX_DOCUMENT_BYTES:
        raise TollwayError(
            Code.TOO_LARGE,
            f"the requirements have {size} bytes in canonical JSON; at most {MAX_DOCUMENT_BYTES} "
            "are kept",
        )
    return checked


@contextmanager
def _named(what: str) -> Iterator[None]:
    """Say in errors of the block which item they are about."""
    try:
        yield
    except TollwayError as error:
        raise TollwayError(error.code, f"{what}: {error.public}") from None


def _criterion(at: int, text: str, segments: dict[str, str]) -> str:
    with _named(f"criteria, item {at}"):
        found = parse_criterion(text)
        for measure in found.measures():
            if isinstance(measure.segment, str) and measure.segment not in segments:
                has = ", ".join(sorted(segments)) or "none"
                raise TollwayError(
                    Code.INVALID,
                    f"{text!r} names the segment {measure.segment!r}, which is none of the "
                    f"segments defined here: {has}",
                )
        for part in found.parts:
            if isinstance(part, Beats):
                try:
                    smaller_is_better(part.measure)
                except Untold as untold:
                    raise TollwayError(Code.INVALID, str(untold)) from None
    return str(found)


def _check_contract(contract: ContractDoc) -> None:
    seen: set[str] = set()
    for rule in contract.rules:
        if rule.column in seen:
            raise _bad_rule(rule, "has two rules: make one of them")
        seen.add(rule.column)
        bounded = rule.minimum is not None or rule.maximum is not None
        if bounded and rule.categories is not None:
            raise _bad_rule(
                rule, "has a range and categories: numbers have the one, text the other"
            )
        if rule.minimum is not None and rule.maximum is not None and rule.minimum > rule.maximum:
            raise _bad_rule(rule, f"has no value between {rule.minimum:g} and {rule.maximum:g}")
        categories = rule.categories or ()
        if len(set(categories)) < len(categories):
            raise _bad_rule(rule, "names a category twice")


def _bad_rule(rule: ColumnRule, problem: str) -> TollwayError:
    return TollwayError(Code.INVALID, f"contract: column {rule.column[:80]!r} {problem}")


def _check_sponsor(before: Requirements | None, after: Requirements, by: Actor) -> None:
    """A publisher must not be able to take the sponsor's word away by naming another, or none."""
    present = None if before is None else before.sponsor
    if present is None or after.sponsor == present or by.role == "admin" or by.name == present:
        return
    raise TollwayError(
        Code.FORBIDDEN,
        f"the sponsor is {present!r}: only they, or an admin, may name another or none",
    )
