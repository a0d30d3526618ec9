"""Models as their publishers see them, a page at a time. But for gates, which are judged of the
newest version alone where it is not published yet, a page costs a fixed number of queries."""

from collections.abc import Collection
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.publishing import (
    MAX_REASONS,
    WAITING_STATES,
    CanaryShare,
    GateStanding,
    PublishedModel,
    PublishedVersion,
    PublishedVersionItem,
    Waiting,
)
from control.transition_resources import QualityItem
from protocol.configuration import FINAL_STATES, CanaryDoc, DeprecationDoc, ShadowDoc, VersionState
from protocol.evidence import Measured
from registry.clock import rfc3339
from registry.gates import STABLE, Gate, judge
from registry.status import ServingState, ServingStatusOf
from registry.store import requirements
from registry.store.database import Database
from registry.store.rollout_tables import rollouts
from registry.store.tables import aliases, evidence, models, versions
from registry.store.versions import VersionRecord, version_record

MAX_WORDS: Final = 8


class _Version(msgspec.Struct, frozen=True):
    number: int
    state: VersionState
    deprecation: DeprecationDoc | None

    def shown(self) -> PublishedVersion:
        return PublishedVersion(number=self.number, state=self.state)


class _Evaluation(msgspec.Struct, frozen=True):
    """What of an evaluation's document is told."""

    main_metric: str
    rows_name: str
    rows: int
    metrics: dict[str, Measured]


class Publishing:
    """Reads the models that somebody manages. Thread-safe; calls block."""

    def __init__(self, database: Database, serving: ServingStatusOf) -> None:
        self._database = database
        self._serving = serving

    def page(
        self, managed: Collection[str] | None, search: str, after: str, limit: int
    ) -> list[PublishedModel]:
        """At most ``limit`` of the models ``managed`` (None: all) in order of their names, from the
        one following ``after``. Every word of ``search`` is in the name, title, description or
        owner."""
        query = (
            sa.select(
                models.c.name,
                models.c.title,
                models.c.owner,
                models.c.created_at,
                models.c.updated_at,
            )
            .where(models.c.name > after)
            .order_by(models.c.name)
            .limit(limit)
        )
        if managed is not None:
            query = query.where(models.c.name.in_(sorted(managed)))
        for word in search.split()[:MAX_WORDS]:
            query = query.where(_holds(word))
        with self._database.read() as connection:
            rows = connection.execute(query).all()
            names = [row.name for row in rows]
            known = _versions(connection, names)
            stable = _stable(connection, names)
            beside = _beside(connection, names)
            newest = {name: found[-1] for name, found in known.items()}
            candidates = {
                name: one.number for name, one in newest.items() if one.state in WAITING_STATES
            }
            gates = {name: judge(connection, one) for name, one in _records(connection, candidates)}
        found = []
        for row in rows:
            mine = {one.number: one for one in known.get(row.name, [])}
            canary, shadows = beside.get(row.name, (None, []))
            latest, held = newest.get(row.name), mine.get(stable.get(row.name, 0))
            waiting = [_sunset(one) for one in mine.values() if _ends(one)]
            if latest is not None and row.name in gates:
                waiting.insert(0, self._waiting(latest, gates[row.name]))
            found.append(
                PublishedModel(
                    name=row.name,
                    title=row.title,
                    owner=row.owner,
                    created_at=rfc3339(row.created_at),
                    updated_at=rfc3339(row.updated_at),
                    versions=len(mine),
                    latest=None if latest is None else latest.shown(),
                    stable=None if held is None else held.shown(),
                    canary=canary,
                    shadows=shadows,
                    waiting=waiting,
                )
            )
        return found

    def versions(self, model: str, after: int, limit: int) -> list[PublishedVersionItem]:
        """At most ``limit`` of the model's versions, the newest first; with ``after``, those before
        it. The model is there: whoever asks manages it."""
        query = sa.select(versions).where(versions.c.model == model)
        query = query.order_by(versions.c.number.desc()).limit(limit)
        if after:
            query = query.where(versions.c.number < after)
        with self._database.read() as connection:
            records = [version_record(row) for row in connection.execute(query)]
            numbers = [record.number for record in records]
            labels = _labels(connection, model, numbers)
            evaluated = _evaluated(connection, model, numbers)
            counts = _counts(connection, model, numbers)
            agreed = requirements.present(connection, model) is not None
            gates = {
                record.number: judge(connection, record)
                for record in records
                if agreed and record.state not in FINAL_STATES
            }
        return [
            _item(
                record,
                aliases=labels.get(record.number, []),
                serving=self._serving(model, record.number).state,
                quality=evaluated.get(record.number),
                evaluations=counts.get(record.number, 0),
                gate=gates.get(record.number),
            )
            for record in records
        ]

    def _waiting(self, version: _Version, gate: Gate) -> Waiting:
        """What a version that is not published yet needs next."""
        number = version.number
        if version.state == "registered":
            status = self._serving(gate.model, number)
            if status.state == "failed":
                return Waiting(what="load", version=number, text=f"does not load: {status.error}")
            if status.state != "ready":
                return Waiting(what="load", version=number, text="no engine has loaded it yet")
        if not gate.criteria_met:
            missing = gate.missing[:MAX_REASONS]
            return Waiting(what="gate", version=number, text="; ".join(missing))
        if not gate.passed:
            return Waiting(what="approval", version=number, text=gate.missing[-1])
        return Waiting(what="publish", version=number, text="passes its gate")


def _holds(word: str) -> sa.ColumnElement[bool]:
    columns = (models.c.name, models.c.title, models.c.description, models.c.owner)
    return sa.or_(*(column.icontains(word, autoescape=True) for column in columns))


def _versions(connection: Connection, names: list[str]) -> dict[str, list[_Version]]:
    query = (
        sa.select(versions.c.model, versions.c.number, versions.c.state, versions.c.deprecation)
        .where(versions.c.model.in_(names))
        .order_by(versions.c.model, versions.c.number)
    )
    found: dict[str, list[_Version]] = {}
    for row in connection.execute(query):
        text = row.deprecation
        ending = None if text is None else msgspec.json.decode(text, type=DeprecationDoc)
        found.setdefault(row.model, []).append(_Version(row.number, row.state, ending))
    return found


def _stable(connection: Connection, names: list[str]) -> dict[str, int]:
    query = sa.select(aliases.c.model, aliases.c.version).where(
        aliases.c.model.in_(names), aliases.c.alias == STABLE
    )
    return {row.model: row.version for row in connection.execute(query)}


def _beside(
    connection: Connection, names: list[str]
) -> dict[str, tuple[CanaryShare | None, list[int]]]:
    """What answers, or scores requests, beside the stable version."""
    query = sa.select(rollouts.c.model, rollouts.c.canary, rollouts.c.shadows)
    found: dict[str, tuple[CanaryShare | None, list[int]]] = {}
    for row in connection.execute(query.where(rollouts.c.model.in_(names))):
        canary = None
        if row.canary is not None:
            given = msgspec.json.decode(row.canary, type=CanaryDoc)
            canary = CanaryShare(version=given.version, percent=given.permille / 10)
        shadows = msgspec.json.decode(row.shadows or "[]", type=list[ShadowDoc])
        found[row.model] = canary, [one.version for one in shadows]
    return found


def _records(connection: Connection, chosen: dict[str, int]) -> list[tuple[str, VersionRecord]]:
    pairs = [sa.tuple_(sa.literal(name), sa.literal(number)) for name, number in chosen.items()]
    query = sa.select(versions).where(sa.tuple_(versions.c.model, versions.c.number).in_(pairs))
    return [(row.model, version_record(row)) for row in connection.execute(query)] if pairs else []


def _item(
    record: VersionRecord,
    *,
    aliases: list[str],
    serving: ServingState,
    quality: QualityItem | None,
    evaluations: int,
    gate: Gate | None,
) -> PublishedVersionItem:
    manifest, ending = record.manifest, record.deprecation
    return PublishedVersionItem(
        number=record.number,
        state=record.state,
        digest=record.digest,
        description=manifest.description,
        task=manifest.task,
        created_at=rfc3339(record.created_at),
        created_by=record.created_by,
        aliases=aliases,
        loaded=record.loaded,
        serving=serving,
        bytes=sum(blob.size for _, blob in manifest.blobs()),
        remote=manifest.artifact is None,
        evaluations=evaluations,
        quality=quality,
        gate=None if gate is None else _standing(gate),
        sunset=None if ending is None or ending.sunset is None else rfc3339(ending.sunset * 1000),
    )


def _standing(gate: Gate) -> GateStanding:
    outcomes = [one.outcome for one in gate.criteria]
    return GateStanding(
        passed=gate.passed,
        criteria=len(outcomes),
        met=outcomes.count("met"),
        failed=outcomes.count("failed"),
        approval=gate.approval.state,
    )


def _labels(connection: Connection, model: str, numbers: list[int]) -> dict[int, list[str]]:
    query = sa.select(aliases.c.alias, aliases.c.version).where(
        aliases.c.model == model, aliases.c.version.in_(numbers)
    )
    found: dict[int, list[str]] = {}
    for row in connection.execute(query.order_by(aliases.c.alias)):
        found.setdefault(row.version, []).append(row.alias)
    return found


def _counts(connection: Connection, model: str, numbers: list[int]) -> dict[int, int]:
    query = (
        sa.select(evidence.c.number, sa.func.count().label("evaluations"))
        .where(evidence.c.model == model, evidence.c.number.in_(numbers))
        .group_by(evidence.c.number)
    )
    return {row.number: row.evaluations for row in connection.execute(query)}


def _evaluated(connection: Connection, model: str, numbers: list[int]) -> dict[int, QualityItem]:
    newest = (
        sa.select(sa.func.max(evidence.c.id))
        .where(evidence.c.model == model, evidence.c.number.in_(numbers))
        .group_by(evidence.c.number)
    )
    query = sa.select(evidence.c.number, evidence.c.document).where(evidence.c.id.in_(newest))
    found: dict[int, QualityItem] = {}
    for number, document in connection.execute(query):
        given = msgspec.json.decode(document, type=_Evaluation)
        measured = given.metrics.get(given.main_metric)
        if measured is not None:
            found[number] = QualityItem(
                metric=given.main_metric,
                value=measured.value,
                low=measured.low,
                high=measured.high,
                rows=given.rows,
                rows_name=given.rows_name,
            )
    return found


def _ends(version: _Version) -> bool:
    ending = version.deprecation
    return version.state == "deprecated" and ending is not None and ending.sunset is not None


def _sunset(version: _Version) -> Waiting:
    assert version.deprecation is not None
    assert version.deprecation.sunset is not None
    successor = version.deprecation.successor
    return Waiting(
        what="sunset",
        version=version.number,
        text="is deprecated" + ("" if successor is None else f" for version {successor}"),
        due=rfc3339(version.deprecation.sunset * 1000),
    )
