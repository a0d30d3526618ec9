"""The states of a version, and what each step demands."""

from typing import Final

import msgspec

from protocol.configuration import FINAL_STATES, LEGAL, DeprecationDoc, VersionState
from protocol.errors import Code, TollwayError
from protocol.seals import Grounds
from registry.clock import Clock
from registry.conditions import holds
from registry.deprecation_rules import at_retirement
from registry.gates import grounds
from registry.status import HeldBy, ServingStatus, ServingStatusOf
from registry.store import aliases as alias_store
from registry.store import audit, transitions
from registry.store import models as model_store
from registry.store import rollouts as rollout_store
from registry.store import versions as store
from registry.store.database import Database, Transaction
from registry.store.versions import VersionRecord
from registry.versions import Versions, version_etag, version_not_found

"""States that nothing follows; no worker holds a version in them."""

HOLDERS_SHOWN: Final = 5
"""Users of a version that a refusal names; of the others it gives the count."""


def check_legal(present: VersionState, to: VersionState) -> None:
    """Raise ``ILLEGAL_TRANSITION`` unless ``to`` may follow ``present``."""
    following = LEGAL[present]
    if to not in following:
        allowed = " or ".join(following) if following else "nothing: that state is final"
        raise TollwayError(
            Code.ILLEGAL_TRANSITION,
            f"a version that is {present} cannot become {to}; it can become {allowed}",
        )


def check_serves(status: ServingStatus) -> None:
    """Raise ``CONFLICT`` unless an engine has loaded the version and passed its golden rows."""
    if status.state == "ready":
        return
    if status.state == "failed":
        raise TollwayError(
            Code.CONFLICT,
            f"cannot be validated: the version does not load: {status.error}",
        )
    raise TollwayError(
        Code.CONFLICT,
        "cannot be validated yet: no engine has loaded the version; wait until its "
        "serving.state is 'ready' (is a worker running?)",
    )


class Lifecycle:
    """Moves versions from state to state, and on and off the workers."""

    def __init__(
        self,
        database: Database,
        versions: Versions,
        serving_status: ServingStatusOf,
        clock: Clock,
        held_by: HeldBy,
    ) -> None:
        self._database = database
        self._versions = versions
        self._serving_status = serving_status
        self._clock = clock
        self._held_by = held_by

    def transition(
        self, model: str, number: int, to: VersionState, *, actor: str, reason: str = ""
    ) -> VersionRecord:
        """Take one step. Two callers at once: one takes it, the other sees the state after it.

        Raises ``ILLEGAL_TRANSITION``, and ``CONFLICT`` for a step that the version's gate does not
        allow, with everything that is missing.
        """
        check_legal(self._versions.get(model, number).state, to)
        if to == "validated":
            check_serves(self._serving_status(model, number))
        with self._database.write() as connection:
            # The model's lock orders this against alias moves: an alias never ends up on a
            # version that was retired meanwhile.
            model_store.lock(connection, model)
            version = store.get(connection, model, number, lock=True)
            if version is None:
                raise version_not_found(model, number)
            check_legal(version.state, to)
            if to in FINAL_STATES:
                self._refuse_while_held(connection, version, f"be {to}", ends_at=self._clock())
            return take_step(
                connection,
                version,
                to,
                actor=actor,
                reason=reason,
                now=self._clock(),
                because=grounds(connection, version, to),
            )

    def set_loaded(
        self, model: str, number: int, loaded: bool, *, expected: str | None = None
    ) -> VersionRecord:
        """Say whether workers should hold the version. ``expected`` is a condition."""
        with self._database.write() as connection:
            model_store.lock(connection, model)
            version = store.get(connection, model, number, lock=True)
            if version is None:
                raise version_not_found(model, number)
            if not holds(expected, version_etag(version)):
                raise TollwayError(
                    Code.PRECONDITION_FAILED,
                    f"version {number} is not in the state that the request expects; read it again",
                )
            if version.loaded == loaded:
                return version
            if loaded and version.state in FINAL_STATES:
                raise TollwayError(
                    Code.CONFLICT, f"version {number} is {version.state}; it cannot be loaded"
                )
            if not loaded:
                self._refuse_while_held(connection, version, "be unloaded")
            changed = store.set_state(connection, version, state=version.state, loaded=loaded)
            action = "version.loaded" if loaded else "version.unloaded"
            record_change(connection, action, version, changed, self._clock())
            return changed

    def _refuse_while_held(
        self,
        connection: Transaction,
        version: VersionRecord,
        what: str,
        *,
        ends_at: int | None = None,
    ) -> None:
        """Raise ``CONFLICT`` while calls may go to the version. The caller holds the model's lock,
        under which all that could send them there is written."""
        held = holders(connection, version, self._held_by, ends_at=ends_at)
        if held:
            more = len(held) - HOLDERS_SHOWN
            names = ", ".join(held[:HOLDERS_SHOWN]) + (f" and {more} more" if more > 0 else "")
            raise TollwayError(
                Code.CONFLICT,
                f"version {version.number} cannot {what} while it is used: {names}; move these to "
                "another version first, or end them",
            )


def holders(
    connection: Transaction,
    version: VersionRecord,
    held_by: HeldBy,
    *,
    ends_at: int | None = None,
) -> list[str]:
    """What sends calls to the version, in words; ``held_by`` tells what the registry does not know.
    A version is neither unloaded nor retired before it is empty.

    ``ends_at``: it is asked for the version's end at this time (UNIX milliseconds). From the sunset
    on no application keeps the version from that: its consumers were told the day.
    """
    model, number = version.model, version.number
    held = [f"alias {alias!r}" for alias in alias_store.pointing_at(connection, model, number)]
    held += [f"{use} of its model" for use in rollout_store.uses_of(connection, model, number)]
    if ends_at is not None and _has_set(version, ends_at):
        return held
    return held + held_by(connection, model, number)


def _has_set(version: VersionRecord, now: int) -> bool:
    sunset = None if version.deprecation is None else version.deprecation.sunset
    return sunset is not None and sunset * 1000 <= now


def take_step(
    connection: Transaction,
    version: VersionRecord,
    to: VersionState,
    *,
    actor: str,
    reason: str,
    now: int,
    deprecation: DeprecationDoc | None = None,
    because: Grounds | None = None,
) -> VersionRecord:
    """Move the version to a state that may follow its own; its history and the audit log say so.
    The caller holds the model's lock and the version's. ``deprecation``: of one to be deprecated.
    ``because``: why it may take the state, see ``registry.gates.grounds``.
    """
    if to == "deprecated":
        deprecation = deprecation or DeprecationDoc(since=now // 1000)
    elif to == "retired":
        deprecation = at_retirement(version.deprecation, now // 1000)
    changed = store.set_state(
        connection,
        version,
        state=to,
        loaded=version.loaded and to not in FINAL_STATES,
        deprecation=deprecation,
        grounds=because,
    )
    transitions.record(
        connection,
        version.model,
        version.number,
        digest=version.digest,
        from_state=version.state,
        to_state=to,
        actor=actor,
        reason=reason,
        at=now,
    )
    record_change(connection, f"version.{to}", version, changed, now, reason)
    if to == "retired":
        _send_on(connection, changed, now)
    return changed


def _send_on(connection: Transaction, retired: VersionRecord, now: int) -> None:
    """Who was sent to a version that is retired now is sent to its own successor."""
    assert retired.deprecation is not None
    successor = retired.deprecation.successor
    for version in store.ending(connection, retired.model):
        deprecation = version.deprecation
        assert deprecation is not None
        if deprecation.successor != retired.number or successor in (None, version.number):
            continue
        changed = store.set_state(
            connection,
            version,
            state=version.state,
            loaded=version.loaded,
            deprecation=msgspec.structs.replace(deprecation, successor=successor),
        )
        reason = f"version {retired.number} was retired"
        record_change(connection, "version.deprecation_changed", version, changed, now, reason)


def record_change(
    connection: Transaction,
    action: str,
    before: VersionRecord,
    after: VersionRecord,
    at_ms: int,
    reason: str = "",
) -> None:
    """Write what was changed of a version to the audit log."""
    audit.record(
        connection,
        action,
        "version",
        f"{after.model}/{after.number}",
        at_ms=at_ms,
        before=store.standing(before),
        after=store.standing(after),
        reason=reason,
    )
