"""Workers that are alive, and the engines they report."""

import threading
from collections.abc import Callable

import msgspec
import sqlalchemy as sa

from control.store.alerts import record_alerts
from control.store.failures import repeated
from control.store.stream import publish_if_new
from control.store.tables import workers
from protocol.configuration import EngineDoc, WorkerDoc
from protocol.figures import WorkerFigures
from protocol.names import check_name
from registry.clock import Clock, rfc3339
from registry.status import EngineStatus, ServingState, ServingStatus
from registry.store.database import Database

STATUS_FRESH_MS = 50
"""How old an answer of :meth:`Workers.status` may be: a list of versions asks once for each."""


class WorkerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A worker as the management API shows it."""

    id: str
    first_seen_at: str
    seen_at: str
    engines: tuple[EngineDoc, ...]
    figures: WorkerFigures | None
    """None: it has told none yet."""


class Workers:
    """Registers workers and drops silent ones. Thread-safe; calls block."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        lost_ms: int,
        remotes: Callable[[], dict[tuple[str, int], list[EngineStatus]]] = dict,
    ) -> None:
        """``remotes`` tells what gateways report of remote versions, which no worker holds."""
        self._remotes = remotes
        self._database = database
        self._clock = clock
        self._lost_ms = lost_ms
        self._started_ms = clock()
        self._lock = threading.Lock()
        self._cached: tuple[int, dict[tuple[str, int], list[EngineStatus]]] | None = None

    @repeated
    def report(self, document: WorkerDoc) -> None:
        """Take a heartbeat. The stream gets a change only when the engines differ."""
        check_name(document.id, "worker")
        now = self._clock()
        text = msgspec.json.encode(document).decode()
        with self._database.write() as connection:
            known = connection.execute(
                sa.select(workers.c.doc).where(workers.c.id == document.id).with_for_update()
            ).scalar()
            if known is None:
                row = {"id": document.id, "doc": text, "first_seen_ms": now, "seen_ms": now}
                connection.execute(sa.insert(workers).values(row))
            else:
                values = {"doc": text, "seen_ms": now}
                connection.execute(
                    sa.update(workers).where(workers.c.id == document.id).values(values)
                )
            if publish_if_new(connection, "worker", document.id, document):
                record_alerts(connection, _document(known), document, now)
        self._forget()

    def take_figures(self, figures: WorkerFigures) -> None:
        """Keep how a worker's engines are doing; nothing of one that is not known."""
        check_name(figures.id, "worker")
        text = msgspec.json.encode(figures).decode()
        with self._database.write() as connection:
            connection.execute(
                sa.update(workers).where(workers.c.id == figures.id).values(figures=text)
            )

    def remove(self, id: str) -> None:
        """Drop a worker that says goodbye; fine when it is not known."""
        with self._database.write() as connection:
            gone = sa.delete(workers).where(workers.c.id == id).returning(workers.c.doc)
            known = connection.execute(gone).scalar()
            publish_if_new(connection, "worker", id, None)
            record_alerts(connection, _document(known), None, self._clock())
        self._forget()

    def drop_lost(self) -> list[str]:
        """Drop workers that have been silent for too long. Returns their ids.

        Nobody is dropped until control itself has listened for that long: while it was away, it
        was not they who were silent.
        """
        now = self._clock()
        if now - self._started_ms < self._lost_ms:
            return []
        silent = workers.c.seen_ms <= now - self._lost_ms
        with self._database.read() as connection:
            if connection.execute(sa.select(workers.c.id).where(silent).limit(1)).first() is None:
                return []
        with self._database.write() as connection:
            gone = sa.delete(workers).where(silent).returning(workers.c.id, workers.c.doc)
            lost = connection.execute(gone).all()
            for id, doc in lost:
                publish_if_new(connection, "worker", id, None)
                record_alerts(connection, _document(doc), None, now)
        self._forget()
        return [id for id, _ in lost]

    def all(self) -> list[WorkerStatus]:
        """Workers by id."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(workers).order_by(workers.c.id)).all()
        return [
            WorkerStatus(
                id=row.id,
                first_seen_at=rfc3339(row.first_seen_ms),
                seen_at=rfc3339(row.seen_ms),
                engines=msgspec.json.decode(row.doc, type=WorkerDoc).engines,
                figures=None
                if row.figures == "{}"
                else msgspec.json.decode(row.figures, type=WorkerFigures),
            )
            for row in rows
        ]

    def memory(self, model: str) -> dict[int, int]:
        """Version -> bytes that its engines have to themselves, as far as workers have told; of a
        version of which none has, nothing."""
        found: dict[int, int] = {}
        for worker in self.all():
            for engine in () if worker.figures is None else worker.figures.engines:
                if engine.model == model and engine.memory_bytes is not None:
                    found[engine.version] = found.get(engine.version, 0) + engine.memory_bytes
        return found

    def status(self, model: str, number: int) -> ServingStatus:
        """What workers, or gateways for a remote version, report: the registry's
        ``serving_status``."""
        return summary(self._engines().get((model, number), []))

    def _engines(self) -> dict[tuple[str, int], list[EngineStatus]]:
        now = self._clock()
        with self._lock:
            if self._cached is not None and 0 <= now - self._cached[0] < STATUS_FRESH_MS:
                return self._cached[1]
        found: dict[tuple[str, int], list[EngineStatus]] = {}
        with self._database.read() as connection:
            rows = connection.execute(sa.select(workers.c.id, workers.c.doc).order_by(workers.c.id))
            for row in rows:
                for engine in msgspec.json.decode(row.doc, type=WorkerDoc).engines:
                    found.setdefault((engine.model, engine.version), []).append(
                        EngineStatus(
                            worker=row.id, slot=engine.slot, state=engine.state, error=engine.error
                        )
                    )
        for key, reported in self._remotes().items():
            found.setdefault(key, []).extend(reported)
        with self._lock:
            self._cached = (now, found)
        return found

    def _forget(self) -> None:
        with self._lock:
            self._cached = None


def _document(text: str | None) -> WorkerDoc | None:
    return None if text is None else msgspec.json.decode(text, type=WorkerDoc)


def summary(engines: list[EngineStatus]) -> ServingStatus:
    """One state for all engines of a version; ``error`` is the first one reported."""
    states = {engine.state for engine in engines}
    state: ServingState
    if states & {"ready", "cold"}:
        state = "ready"
    elif "failed" in states:
        state = "failed"
    elif "starting" in states:
        state = "loading"
    else:
        state = "none"
    error = next((engine.error for engine in engines if engine.error), "")
    return ServingStatus(state=state, engines=tuple(engines), error=error)
