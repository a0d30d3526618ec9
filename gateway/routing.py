"""From a request to the version that answers it.

First match of: version in the path, label in the path, ``Tollway-Version``, the application's pin,
the canary for the share of applications that it has, the stable version.

A version takes calls by default, or by a label, once it answers *here*: control moves nothing to a
version that no engine holds, yet the way to that engine may be shorter or longer for each gateway.
Until it is there, calls are answered as before the move; a canary's by the stable version.
"""

from collections.abc import Callable
from typing import Protocol

from gateway.catalog import STABLE, Catalog, ModelEntry
from gateway.connection import Exchange, VersionKey
from gateway.pins import Pins
from policies.base import Call, is_visible
from policies.lifecycle import pinned_by
from protocol.buckets import bucket
from protocol.configuration import CALLABLE_STATES, VersionDoc
from protocol.errors import Code, TollwayError
from runtime.logs import logger

KEPT_BUCKETS = 65_536
"""Pairs of model and application whose bucket is remembered."""


class Answering(Protocol):
    """Whatever answers for versions: :class:`gateway.destinations.Destinations`."""

    def is_ready(self, key: VersionKey, /) -> bool:
        """Whether a request for this version would be taken now."""

    def send(self, key: VersionKey, exchange: Exchange, /) -> None:
        """Send a request to whoever answers for the version."""


class Routing:
    """Chooses versions, and sends calls to them."""

    def __init__(self, catalog: Catalog, pins: Pins, destinations: Answering) -> None:
        self._catalog = catalog
        self._models = catalog.models
        self._pinned = pins.versions
        self._destinations = destinations
        self._buckets: dict[tuple[str, str], int] = {}
        self._told: set[tuple[str, int]] = set()
        """Versions whose absence was logged."""
        self.fallbacks = 0
        """Calls that another version was chosen for, because the one meant does not answer here."""

    def gauges(self) -> dict[str, tuple[str, Callable[[], float]]]:
        """Metrics, as :class:`gateway.metrics.PredictionMetrics` reads them."""
        return {
            "tollway_route_fallbacks_total": (
                "Requests for a version that does not answer here, answered by another one.",
                lambda: self.fallbacks,
            ),
        }

    def choose(self, call: Call) -> None:
        """Set ``call.version``, ``state`` and ``variant``.

        What the caller may not see does not exist for them. Raises ``MODEL_NOT_FOUND`` or
        ``VERSION_NOT_FOUND``.
        """
        model = self._models.get(call.model)
        if model is None:
            raise _no_model(call)
        number, label = call.number, call.label
        if number is None and label is None:
            number = call.header_number
        call.variant = "pinned"
        if number is None:
            number = self._by_default(model, call) if label is None else self._at(model, label)
        version = model.versions.get(number)
        if version is None or not is_visible(model.name, version.state, call.identity):
            if not _sees(model, call):
                raise _no_model(call)
            raise TollwayError(
                Code.VERSION_NOT_FOUND, f"model '{call.model}' has no {_named(call, number)}"
            )
        call.version, call.state, call.revision = number, version.state, model.revision
        call.deprecation = version.deprecation

    def send(self, call: Call, exchange: Exchange) -> None:
        """Send an admitted call's body to the version that was chosen for it; where that has been
        unloaded since, to the one that calls go to now. Raises ``NOT_READY``, ``QUEUE_FULL`` or
        ``DEADLINE_UNREACHABLE``; all else reaches ``exchange.done``."""
        try:
            self._destinations.send((call.model, call.version), exchange)
        except TollwayError as error:
            if error.code is not Code.NOT_READY or not self._leads_elsewhere(call):
                raise
            self._destinations.send((call.model, call.version), exchange)

    def stable(self, model: ModelEntry) -> VersionDoc | None:
        """The version that answers calls which name none, here and now."""
        return model.versions.get(self._present(model, STABLE))

    def _by_default(self, model: ModelEntry, call: Call) -> int:
        identity = call.identity
        # A management token belongs to no application: it sees what most consumers see.
        if identity is not None and (application := identity.application):
            if (mine := self._pinned.get(application)) and model.name in mine:
                return mine[model.name]
            canary = model.canary
            if canary is not None and self._bucket(model.name, application) < canary.permille:
                if self._takes(model, canary.version):
                    call.variant = "canary"
                    return canary.version
                self.fallbacks += 1
        call.variant = "stable"
        return self._at(model, STABLE) if model.held else model.aliases.get(STABLE, 0)

    def _bucket(self, model: str, application: str) -> int:
        key = (model, application)
        found = self._buckets.get(key)
        if found is None:
            if len(self._buckets) >= KEPT_BUCKETS:
                self._buckets.clear()
            found = self._buckets[key] = bucket(model, application)
        return found

    def _at(self, model: ModelEntry, label: str) -> int:
        """The version of a label; 0 where there is none."""
        number = self._present(model, label)
        if number != model.aliases.get(label, 0):
            self.fallbacks += 1
        return number

    def _present(self, model: ModelEntry, label: str) -> int:
        number = model.aliases.get(label, 0)
        held = model.held.get(label) if model.held else None
        if held is None:
            return number
        if self._takes(model, number):
            del model.held[label]
            return number
        return next((one for one in held if self._answers(model, one)), number)

    def _takes(self, model: ModelEntry, number: int) -> bool:
        """Whether the version answers here. Says so in the log, once, when it does not."""
        key = (model.name, number)
        if self._answers(model, number):
            self._told.discard(key)
            return True
        if key not in self._told:
            self._told.add(key)
            logger("gateway").warning(
                "calls are answered by another version: this one does not answer here",
                model=model.name,
                version=number,
            )
        return False

    def _answers(self, model: ModelEntry, number: int) -> bool:
        version = model.versions.get(number)
        return (
            version is not None
            and version.state in CALLABLE_STATES
            and self._destinations.is_ready((model.name, number))
        )

    def _leads_elsewhere(self, call: Call) -> bool:
        """Whether a call that names no version is another one's now; if so, it is set."""
        if call.number is not None or call.header_number is not None:
            return False
        before = call.version, call.state, call.revision, call.deprecation, call.variant
        try:
            self.choose(call)
        except TollwayError:
            pass
        else:
            if call.version != before[0] and call.state in CALLABLE_STATES:
                return True
        call.version, call.state, call.revision, call.deprecation, call.variant = before
        return False


def hide_unseen(catalog: Catalog, call: Call) -> None:
    """Drop the model's name from a call that was refused before its version was chosen, if there
    is no such model for the caller: records and metrics are read by others."""
    model = catalog.models.get(call.model)
    if model is None or not _sees(model, call):
        call.model = ""


def _sees(model: ModelEntry, call: Call) -> bool:
    return any(is_visible(model.name, v.state, call.identity) for v in model.versions.values())


def _no_model(call: Call) -> TollwayError:
    # Records and metrics carry only names that exist: what clients make up has no bound.
    unknown, call.model = call.model, ""
    return TollwayError(Code.MODEL_NOT_FOUND, f"there is no model '{unknown[:80]}'")


def _named(call: Call, number: int) -> str:
    """What the caller asked for, in words."""
    if call.number is None and call.label is not None:
        return f"label '{call.label[:80]}'"
    if call.number is not None or call.header_number is not None:
        return f"version {number}" if number else "such version"
    if call.variant == "pinned":
        return f"version {number}, which {pinned_by(call)}"
    return f"label '{STABLE}'"
