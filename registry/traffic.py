"""What a version has to be before anybody's calls go to it."""

from collections.abc import Sequence

from protocol.configuration import CALLABLE_STATES
from protocol.errors import Code, TollwayError
from registry.compatibility import differences
from registry.status import ServingStatus
from registry.store import versions as version_store
from registry.store.database import Transaction
from registry.store.rollouts import RolloutRecord
from registry.store.versions import VersionRecord
from registry.versions import version_not_found

LISTED = 200
"""Differences that a message lists; of the others it gives the count."""


def callable_version(
    connection: Transaction, model: str, number: int, status: ServingStatus, what: str
) -> VersionRecord:
    """The version, if calls may go to it and an engine has loaded and warmed it and found its
    golden rows right; ``what`` names what is to send them there.

    Raises ``VERSION_NOT_FOUND``, or ``CONFLICT`` with what is to be done.
    """
    version = version_store.get(connection, model, number)
    if version is None:
        raise version_not_found(model, number)
    if version.state not in CALLABLE_STATES:
        raise _refusal(what, version, f"{version.state}; it must be published or deprecated")
    version_store.check_genuine(connection, version)
    if not version.loaded:
        raise _refusal(what, version, "not loaded; have it loaded first")
    if status.state == "failed":
        raise _refusal(what, version, f"not ready: it does not load: {status.error}")
    if status.state != "ready":
        raise _refusal(
            what,
            version,
            "not ready: no engine has loaded it yet; wait until its serving.state is 'ready' (is "
            "a worker running?)",
        )
    return version


def check_compatible(
    present: VersionRecord, following: VersionRecord, what: str, *, force: bool
) -> list[str]:
    """The differences that callers of ``present`` could trip over at ``following``, which are only
    allowed with ``force``. Raises ``INCOMPATIBLE`` with all of them."""
    found = differences(present.manifest, following.manifest)
    if found and not force:
        raise TollwayError(
            Code.INCOMPATIBLE,
            f"{what} cannot go from version {present.number} to {following.number}, which breaks "
            f"callers: {_listed(found)}. Deploy a version that takes and gives what "
            f"{present.number} does, or repeat it with force and a reason",
        )
    return found


def check_canary(connection: Transaction, rollout: RolloutRecord, *, force: bool) -> list[str]:
    """What callers of the stable version could trip over at the canary, if that has a share. Raises
    ``INCOMPATIBLE`` without ``force``."""
    canary, stable = rollout.canary, rollout.stable
    if canary is None or canary.permille == 0 or stable is None:
        return []
    present = version_store.get(connection, rollout.model, stable)
    following = version_store.get(connection, rollout.model, canary.version)
    assert present is not None
    assert following is not None
    return check_compatible(present, following, "a share of the traffic", force=force)


def check_force(*, force: bool, reason: str) -> None:
    """Raise ``INVALID`` for a force without a reason: it is what the audit log keeps of it."""
    if force and not reason.strip():
        raise TollwayError(Code.INVALID, "force needs a reason, which the audit log keeps")


def _listed(found: Sequence[str]) -> str:
    more = len(found) - LISTED
    return "; ".join(found[:LISTED]) + (f"; and {more} more" if more > 0 else "")


def _refusal(what: str, version: VersionRecord, why: str) -> TollwayError:
    return TollwayError(Code.CONFLICT, f"{what} cannot be version {version.number}, which is {why}")
