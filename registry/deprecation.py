"""Deprecating versions: since when, until when, in favour of which, with which warnings.

A deprecated version cannot be published again (see ``protocol.configuration.LEGAL``): its sunset
and its brown-outs can be moved and taken back, the deprecation itself cannot.
"""

import msgspec

from protocol.configuration import CALLABLE_STATES, DeprecationDoc
from protocol.errors import Code, TollwayError
from registry.clock import Clock
from registry.conditions import holds
from registry.deprecation_rules import checked
from registry.lifecycle import check_legal, holders, record_change, take_step
from registry.status import HeldBy
from registry.store import models as model_store
from registry.store import transitions
from registry.store import versions as store
from registry.store.database import Database, Transaction
from registry.store.versions import VersionRecord
from registry.versions import version_etag, version_not_found


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How far the end of a version has come. Times are UNIX milliseconds."""

    version: VersionRecord
    deprecation: DeprecationDoc
    held_by: list[str]
    """What sends calls to it: it cannot be retired before that is moved."""
    retired_at: int | None
    artifact_kept_until: int | None
    """When the artifact of a retired version may be deleted."""


class Deprecations:
    """Reads and writes deprecations. Thread-safe; calls block."""

    def __init__(
        self, database: Database, clock: Clock, retention_s: float, held_by: HeldBy
    ) -> None:
        """``retention_s``: how long artifacts outlive the retirement of their version."""
        self._database = database
        self._clock = clock
        self._held_by = held_by
        self._retention_ms = int(retention_s * 1000)

    def get(self, model: str, number: int, *, callable_only: bool = False) -> Ending:
        """How the version ends. Raises ``VERSION_NOT_FOUND``, and ``NOT_FOUND`` for one that is not
        deprecated. With ``callable_only`` there are no others than those that may be called."""
        with self._database.read() as connection:
            version = store.get(connection, model, number)
            if version is None or (callable_only and version.state not in CALLABLE_STATES):
                raise version_not_found(model, number)
            if version.deprecation is None:
                raise TollwayError(
                    Code.NOT_FOUND, f"version {number} of {model!r} is not deprecated"
                )
            retired_at = None
            if version.state == "retired":
                retired_at = transitions.reached_at(connection, model, number, "retired")
            return Ending(
                version=version,
                deprecation=version.deprecation,
                held_by=holders(connection, version, self._held_by, ends_at=self._clock()),
                retired_at=retired_at,
                artifact_kept_until=retired_at and retired_at + self._retention_ms,
            )

    def put(
        self,
        model: str,
        number: int,
        wish: DeprecationDoc,
        *,
        actor: str,
        since_given: bool = True,
        reason: str = "",
        expected: str | None = None,
    ) -> VersionRecord:
        """Deprecate a published version, or write the deprecation of a deprecated one anew.

        Without ``since_given`` it begins when it began, or now. ``expected`` is a condition on the
        version. Raises ``INVALID``, ``PRECONDITION_FAILED``, ``ILLEGAL_TRANSITION`` for a version
        in any other state, and ``CONFLICT`` for a successor that is no published version.
        """
        with self._database.write() as connection:
            # The model's lock orders this against alias moves and retirements.
            model_store.lock(connection, model)
            version = store.get(connection, model, number, lock=True)
            if version is None:
                raise version_not_found(model, number)
            if not holds(expected, version_etag(version)):
                raise TollwayError(
                    Code.PRECONDITION_FAILED,
                    f"version {number} is not in the state that the request expects; read it again",
                )
            if version.state != "deprecated":
                check_legal(version.state, "deprecated")
            now = self._clock()
            present = version.deprecation
            if not since_given:
                wish = _beginning(wish, present, now // 1000)
            wish = checked(wish, present, number, now // 1000)
            if present is not None and wish == present:
                return version
            if wish.successor is not None and (
                present is None or wish.successor != present.successor
            ):
                _check_successor(connection, model, wish.successor)
            if version.state != "deprecated":
                return take_step(
                    connection,
                    version,
                    "deprecated",
                    actor=actor,
                    reason=reason or wish.note,
                    now=now,
                    deprecation=wish,
                )
            changed = store.set_state(
                connection,
                version,
                state=version.state,
                loaded=version.loaded,
                deprecation=wish,
            )
            record_change(connection, "version.deprecation_changed", version, changed, now, reason)
            return changed


def _beginning(wish: DeprecationDoc, present: DeprecationDoc | None, now_s: int) -> DeprecationDoc:
    return msgspec.structs.replace(wish, since=now_s if present is None else present.since)


def _check_successor(connection: Transaction, model: str, number: int) -> None:
    found = store.get(connection, model, number)
    if found is None:
        raise version_not_found(model, number)
    if found.state != "published":
        raise TollwayError(
            Code.CONFLICT,
            f"version {number} is {found.state}: a successor must be a published version",
        )


def check_takes_pins(version: VersionRecord) -> None:
    """Raise ``CONFLICT`` for a version that is on its way out: applications that are not pinned to
    it yet are not to become so."""
    if version.state == "published":
        return
    deprecation = version.deprecation
    successor = None if deprecation is None else deprecation.successor
    instead = "" if successor is None else f"; pin its successor, version {successor}"
    raise TollwayError(
        Code.CONFLICT,
        f"version {version.number} of {version.model!r} is {version.state} and takes no new "
        f"pins{instead}",
    )
