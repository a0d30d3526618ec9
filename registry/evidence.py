"""Evidence of versions: evaluations, added once and never changed.

Evidence belongs to a version by the digest of its manifest, and is known by its own digest: the
same evaluation sent twice is there once.
"""

from typing import Final

import msgspec

from protocol.errors import Code, TollwayError
from protocol.evidence import Evidence
from registry.clock import Clock
from registry.store import audit
from registry.store import evidence as store
from registry.store import models as model_store
from registry.store import versions as version_store
from registry.store.database import Database
from registry.store.evidence import EvidenceRecord
from registry.versions import Versions, version_not_found

MAX_DOCUMENT_BYTES: Final = 512 << 10
"""Of one evaluation in canonical JSON."""
MAX_EVALUATIONS: Final = 200
"""Of one version: a gate and an approval read all of them."""


class EvidenceStanding(msgspec.Struct, frozen=True, kw_only=True):
    """What the audit log keeps of an evaluation: ``digest`` stands for the whole of it."""

    model: str
    version: int
    digest: str
    manifest_digest: str
    rows_name: str
    rows: int
    rows_digest: str
    main_metric: str
    value: float | None
    """Of the main metric, over all rows."""


class Evidences:
    """Adds and reads evidence. Thread-safe; calls block."""

    def __init__(self, database: Database, versions: Versions, clock: Clock) -> None:
        self._database = database
        self._versions = versions
        self._clock = clock

    def add(self, given: Evidence, *, actor: str) -> tuple[EvidenceRecord, bool]:
        """Keep an evaluation of the version that it names. Returns it, and whether it is new.

        Raises ``MODEL_NOT_FOUND`` or ``VERSION_NOT_FOUND``; ``CONFLICT`` when it was made of
        another manifest than the version's, or when the version has :data:`MAX_EVALUATIONS`;
        ``TOO_LARGE``.
        """
        model, number = given.model, given.version
        size = len(given.canonical())
        if size > MAX_DOCUMENT_BYTES:
            raise TollwayError(
                Code.TOO_LARGE,
                f"the evidence has {size} bytes in canonical JSON; at most {MAX_DOCUMENT_BYTES} "
                "are kept: leave out segments or columns",
            )
        self._versions.get(model, number)
        with self._database.write() as connection:
            # The model's lock orders this against gates and approvals, which read all evidence.
            model_store.lock(connection, model)
            version = version_store.get(connection, model, number, lock=True)
            if version is None:
                raise version_not_found(model, number)
            if version.digest != given.manifest_digest:
                raise TollwayError(
                    Code.CONFLICT,
                    f"the evidence is of a manifest with digest {given.manifest_digest}, version "
                    f"{number} of model {model!r} has {version.digest}: evaluate this version",
                )
            present = store.get(connection, model, number, given.digest())
            if present is not None:
                return present, False
            if store.count(connection, model, number) >= MAX_EVALUATIONS:
                raise TollwayError(
                    Code.CONFLICT,
                    f"version {number} of model {model!r} has {MAX_EVALUATIONS} evaluations, "
                    "which is the most that are kept; register a new version",
                )
            added = store.insert(connection, given, actor=actor, at=self._clock())
            audit.record(
                connection,
                "evidence.added",
                "evidence",
                f"{model}/{number}/{added.digest}",
                at_ms=added.created_at,
                after=_standing(added),
            )
        return added, True

    def get(self, model: str, number: int, digest: str) -> EvidenceRecord:
        """One evaluation. Raises ``MODEL_NOT_FOUND``, ``VERSION_NOT_FOUND`` or ``NOT_FOUND``."""
        self._versions.get(model, number)
        with self._database.read() as connection:
            found = store.get(connection, model, number, digest)
        if found is None:
            raise TollwayError(
                Code.NOT_FOUND, f"version {number} of model {model!r} has no evidence {digest}"
            )
        return found

    def page(
        self, model: str, number: int, after: int, limit: int, *, newest_first: bool = False
    ) -> list[EvidenceRecord]:
        """The version's evaluations, oldest first, from the one following ``after``; or newest
        first."""
        self._versions.get(model, number)
        with self._database.read() as connection:
            return store.page(connection, model, number, after, limit, newest_first=newest_first)

    def digest(self, model: str, number: int) -> str:
        """What stands for all of the version's evidence now."""
        self._versions.get(model, number)
        with self._database.read() as connection:
            return store.digest_of(connection, model, number)


def _standing(record: EvidenceRecord) -> EvidenceStanding:
    given = record.evidence
    main = given.metrics.get(given.main_metric)
    return EvidenceStanding(
        model=given.model,
        version=given.version,
        digest=record.digest,
        manifest_digest=given.manifest_digest,
        rows_name=given.rows_name,
        rows=given.rows,
        rows_digest=given.rows_digest,
        main_metric=given.main_metric,
        value=None if main is None else main.value,
    )
