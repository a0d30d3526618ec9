"""The gateway's view of the configuration, kept up to date by the change stream."""

from collections.abc import Callable, Iterable

import msgspec

from policies.api_key import ApiKeyPolicy
from policies.subscription import SubscriptionPolicy
from protocol.configuration import (
    CALLABLE_STATES,
    KeyDoc,
    ModelDoc,
    SubscriptionDoc,
    VersionDoc,
    WorkerDoc,
)

STABLE = "stable"


class ModelEntry:
    """A model with its versions and labels."""

    __slots__ = ("aliases", "name", "versions")

    def __init__(self, name: str) -> None:
        self.name = name
        self.aliases: dict[str, int] = {}
        self.versions: dict[int, VersionDoc] = {}

    @property
    def stable(self) -> VersionDoc | None:
        """The version that answers calls which name none."""
        return self.versions.get(self.aliases.get(STABLE, 0))

    def published(self) -> list[VersionDoc]:
        """Versions that consumers may call, by number."""
        return [v for _, v in sorted(self.versions.items()) if v.state in CALLABLE_STATES]


class Catalog:
    """Applies the change stream. Documents go to whoever decides by them; nothing is copied."""

    def __init__(
        self,
        credentials: ApiKeyPolicy,
        subscriptions: SubscriptionPolicy,
        engines_changed: Callable[[Iterable[WorkerDoc]], None],
    ) -> None:
        """``engines_changed`` gets the documents of all workers whenever one has changed."""
        self.models: dict[str, ModelEntry] = {}
        self.workers: dict[str, WorkerDoc] = {}
        self._credentials = credentials
        self._subscriptions = subscriptions
        self._engines_changed = engines_changed

    def apply(self, changes: list[tuple[str, str, msgspec.Struct | None]], reset: bool) -> None:
        """Apply changes of (kind, key, document or None) in order; from nothing when ``reset``."""
        if reset:
            self.models.clear()
            self.workers.clear()
            self._credentials.clear()
            self._subscriptions.clear()
        workers_changed = reset
        for kind, key, document in changes:
            if document is None:
                self._remove(kind, key)
            else:
                self._put(document)
            workers_changed = workers_changed or kind in {"worker", "version"}
        if workers_changed:
            self._engines_changed(self.workers.values())

    def version(self, model: str, number: int) -> VersionDoc | None:
        """The version's document, whatever its state."""
        entry = self.models.get(model)
        return None if entry is None else entry.versions.get(number)

    def has_failed(self, model: str, number: int) -> bool:
        """Whether workers have tried to load the version, and none of them could."""
        states = [
            engine.state
            for worker in self.workers.values()
            for engine in worker.engines
            if (engine.model, engine.version) == (model, number)
        ]
        return bool(states) and all(state == "failed" for state in states)

    def _put(self, document: msgspec.Struct) -> None:
        match document:
            case KeyDoc():
                self._credentials.put(document)
            case SubscriptionDoc():
                self._subscriptions.put(document)
            case ModelDoc():
                self._entry(document.name).aliases = dict(document.aliases)
            case VersionDoc():
                self._entry(document.model).versions[document.number] = document
            case WorkerDoc():
                self.workers[document.id] = document
            case _:
                pass  # a kind that the gateway does not decide by

    def _remove(self, kind: str, key: str) -> None:
        match kind:
            case "key":
                self._credentials.remove(key)
            case "subscription":
                self._subscriptions.remove(key)
            case "model":
                self.models.pop(key, None)
            case "version":
                model, _, number = key.partition("/")
                if model in self.models:
                    self.models[model].versions.pop(int(number), None)
            case "worker":
                self.workers.pop(key, None)
            case _:
                pass

    def _entry(self, name: str) -> ModelEntry:
        return self.models.setdefault(name, ModelEntry(name))
