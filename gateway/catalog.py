"""The gateway's view of the configuration, kept up to date by the change stream."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import msgspec

from protocol.configuration import (
    CALLABLE_STATES,
    CanaryDoc,
    ContractDoc,
    ModelDoc,
    ShadowDoc,
    VersionDoc,
    WorkerDoc,
)

STABLE = "stable"
HELD = 4
"""Earlier versions of a label that are remembered, while its present one does not answer here."""


class ModelEntry:
    """A model with its versions and labels."""

    __slots__ = (
        "aliases", "canary", "capture_permille", "cold_start_wait_s", "contract", "held",
        "idle_unload_s", "name", "revision", "segments", "shadows", "versions",
    )  # fmt: skip

    def __init__(self, name: str) -> None:
        self.name = name
        self.aliases: dict[str, int] = {}
        self.held: dict[str, tuple[int, ...]] = {}
        """Label -> where it pointed before, the newest first, for those that moved to a version
        which did not answer here yet. See :mod:`gateway.routing`."""
        self.canary: CanaryDoc | None = None
        self.contract: ContractDoc | None = None
        self.idle_unload_s = self.cold_start_wait_s = 0
        self.shadows: tuple[ShadowDoc, ...] = ()
        self.segments: dict[str, str] = {}
        self.capture_permille = 0
        self.versions: dict[int, VersionDoc] = {}
        self.revision = 0
        """Number of the newest change to the model or one of its versions."""

    def point(
        self, aliases: Mapping[str, int], is_ready: Callable[[tuple[str, int]], bool]
    ) -> None:
        """Take the labels of a document; of those that move to a version which does not answer
        here yet, where they pointed is held."""
        for label in self.held.keys() - aliases.keys():
            del self.held[label]
        for label, number in aliases.items():
            before = self.aliases.get(label, number)
            if before == number:
                continue
            if is_ready((self.name, number)):
                self.held.pop(label, None)
            else:
                self.held[label] = (before, *self.held.get(label, ()))[:HELD]
        self.aliases = dict(aliases)

    def published(self) -> list[VersionDoc]:
        """Versions that consumers may call, by number."""
        return [v for _, v in sorted(self.versions.items()) if v.state in CALLABLE_STATES]


class Holder(Protocol):
    """Who decides by the documents of one kind."""

    def put(self, document: Any, /) -> None:  # noqa: ANN401 -- each takes its own kind's type
        """Learn of a document, or of a change to it."""

    def remove(self, key: str, /) -> None:
        """Forget the document of this key."""

    def clear(self) -> None:
        """Forget every document."""


class Beliefs(Protocol):
    """Who decides whether a version's record is what control wrote."""

    def believes(self, document: VersionDoc, earlier: VersionDoc | None, /) -> bool:
        """Whether it may be routed to; ``earlier``: what was believed of it before."""

    def forget(self, model: str, number: int, /) -> None:
        """The version is no longer in the stream."""

    def clear(self) -> None:
        """Nothing is in the stream."""

    def keep(self) -> None:
        """A page of the stream was applied: write down what the next process must know."""


class Catalog:
    """Applies the change stream. Documents go to whoever decides by them; nothing is copied."""

    def __init__(
        self,
        holders: Mapping[str, Holder],
        engines_changed: Callable[[Iterable[WorkerDoc]], None],
        versions_changed: Callable[[Iterable[VersionDoc]], None],
        seals: Beliefs,
        revision_of: Callable[[str, str], int] = lambda _kind, _key: 0,
        is_ready: Callable[[tuple[str, int]], bool] = lambda _key: True,
    ) -> None:
        """``holders``: kind -> who decides by its documents. Models, versions and workers stay
        here; ``engines_changed`` gets the documents of all workers whenever one, or a version, has
        changed, and ``versions_changed`` those of all versions whenever one has. Versions that
        ``seals`` does not believe are as if they were not in the stream.
        ``revision_of`` a kind and key is the number of the document's newest change; ``is_ready``:
        whether a version, of a model and number, answers here."""
        self.models: dict[str, ModelEntry] = {}
        self.workers: dict[str, WorkerDoc] = {}
        self._engines: dict[tuple[str, int], list[str]] = {}
        """Model and version -> states of its engines."""
        self._holders = holders
        self._engines_changed = engines_changed
        self._versions_changed = versions_changed
        self._seals = seals
        self._revision_of = revision_of
        self._is_ready = is_ready

    def apply(self, changes: list[tuple[str, str, msgspec.Struct | None]], reset: bool) -> None:
        """Apply changes of (kind, key, document or None) in order; from nothing when ``reset``."""
        earlier: dict[str, ModelEntry] = {}
        if reset:
            earlier = dict(self.models)
            self.models.clear()
            self.workers.clear()
            self._seals.clear()
            for holder in self._holders.values():
                holder.clear()
        workers_changed = versions_changed = reset
        for kind, key, document in changes:
            if kind in self._holders:
                self._hand_on(self._holders[kind], key, document)
            elif document is None:
                self._remove(kind, key)
            else:
                self._put(document, earlier)
                if kind in {"model", "version"}:
                    entry = self.models[key.partition("/")[0]]
                    entry.revision = max(entry.revision, self._revision_of(kind, key))
            workers_changed = workers_changed or kind in {"worker", "version"}
            versions_changed = versions_changed or kind in {"model", "version"}
        if versions_changed:
            self._seals.keep()
            self._versions_changed(
                version for entry in self.models.values() for version in entry.versions.values()
            )
        if workers_changed:
            self._engines = {}
            for worker in self.workers.values():
                for engine in worker.engines:
                    states = self._engines.setdefault((engine.model, engine.version), [])
                    states.append(engine.state)
            self._engines_changed(self.workers.values())

    def take(self, versions: Iterable[VersionDoc]) -> None:
        """Apply documents of versions again, which ``seals`` may have come to believe."""
        self.apply([("version", f"{v.model}/{v.number}", v) for v in versions], False)

    def version(self, model: str, number: int) -> VersionDoc | None:
        """The version's document, whatever its state."""
        entry = self.models.get(model)
        return None if entry is None else entry.versions.get(number)

    def cold_start_wait_s(self, model: str, number: int) -> float | None:
        """How long calls may wait for a version to be loaded; 0: they are refused meanwhile. None:
        a call does not make workers load it."""
        entry = self.models.get(model)
        version = self.version(model, number)
        if entry is None or version is None or not entry.idle_unload_s or not version.loaded:
            return None
        return None if self.has_failed(model, number) else entry.cold_start_wait_s

    def has_failed(self, model: str, number: int) -> bool:
        """Whether workers have tried to load the version, and none of them could."""
        states = self._engines.get((model, number), [])
        return bool(states) and all(state == "failed" for state in states)

    @staticmethod
    def _hand_on(holder: Holder, key: str, document: msgspec.Struct | None) -> None:
        if document is None:
            holder.remove(key)
        else:
            holder.put(document)

    def _put(self, document: msgspec.Struct, earlier: Mapping[str, ModelEntry]) -> None:
        match document:
            case ModelDoc():
                entry = self._entry(document.name)
                if document.name in earlier and not entry.aliases:
                    before = earlier[document.name]
                    entry.aliases, entry.held = before.aliases, before.held
                entry.point(document.aliases, self._is_ready)
                entry.canary = document.canary
                entry.contract = document.contract
                entry.idle_unload_s = document.idle_unload_s
                entry.cold_start_wait_s = document.cold_start_wait_s
                entry.shadows = tuple(s for s in document.shadows if s.permille > 0)
                entry.segments = document.segments
                entry.capture_permille = document.capture_permille
            case VersionDoc():
                versions = self._entry(document.model).versions
                if self._seals.believes(document, versions.get(document.number)):
                    versions[document.number] = document
                else:
                    versions.pop(document.number, None)
            case WorkerDoc():
                self.workers[document.id] = document
            case _:
                pass  # a kind that the gateway does not decide by

    def _remove(self, kind: str, key: str) -> None:
        match kind:
            case "model":
                self.models.pop(key, None)
            case "version":
                model, _, number = key.partition("/")
                self._seals.forget(model, int(number))
                if model in self.models:
                    self.models[model].versions.pop(int(number), None)
            case "worker":
                self.workers.pop(key, None)
            case _:
                pass

    def _entry(self, name: str) -> ModelEntry:
        return self.models.setdefault(name, ModelEntry(name))
