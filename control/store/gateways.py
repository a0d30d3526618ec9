"""Gateways that are alive, and whether they may be so together."""

from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.store.alerts import record_unverified
from control.store.failures import repeated
from control.store.gateway_tables import gateways
from protocol.errors import Code, TollwayError
from protocol.gateways import GatewayReport, RemoteReport, UnverifiedReport
from protocol.names import check_name
from registry.clock import Clock, rfc3339
from registry.status import EngineStatus
from registry.store.database import Database

MEMORY: Final = "memory"
MAX_COUNTERS: Final = 512
MAX_VERSION: Final = 64
RATE_MS: Final = 4_000
"""Reports come at once after some changes: rates are over longer times than that."""
MAX_UNVERIFIED: Final = 100
_LOCK: Final = 0x74676174  # an arbitrary number, the same in every control process


class Figures(msgspec.Struct, frozen=True):
    """How a gateway is doing."""

    position: int = 0
    requests: int = 0
    in_flight: int = 0
    per_s: float = 0.0
    """Requests by the second, since the report that was :data:`RATE_MS` before or more."""
    since_ms: int = 0
    """When that report came."""
    since: int = 0
    """Requests that it had answered then."""

    def followed_by(self, report: GatewayReport, now: int) -> "Figures":
        """The figures after one report more."""
        taken = Figures(report.position, report.requests, report.in_flight, self.per_s)
        if not self.since_ms or report.requests < self.since:  # the first, or it started again
            return msgspec.structs.replace(taken, per_s=0.0, since_ms=now, since=report.requests)
        past = now - self.since_ms
        if past < RATE_MS:
            return msgspec.structs.replace(taken, since_ms=self.since_ms, since=self.since)
        per_s = round((report.requests - self.since) * 1000 / past, 2)
        return msgspec.structs.replace(taken, per_s=per_s, since_ms=now, since=report.requests)


class GatewayStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A gateway as the management API shows it."""

    id: str
    counters: str
    version: str
    started_at: str
    seen_at: str
    position: int
    requests_per_s: float
    in_flight: int


class Gateways:
    """Registers gateways and refuses those that would count limits apart. Thread-safe; calls
    block."""

    def __init__(self, database: Database, clock: Clock, lost_ms: int) -> None:
        """``lost_ms``: silence after which a gateway no longer counts as alive."""
        self._database = database
        self._clock = clock
        self._lost_ms = lost_ms
        self._started_ms = clock()

    @repeated
    def report(self, report: GatewayReport) -> None:
        """Take a heartbeat. Raises ``CONFLICT`` for a gateway that must not run beside one that is
        alive: it then leaves no trace. A gateway that starts again is not in its own way."""
        check_name(report.id, "gateway")
        if len(report.unverified) > MAX_UNVERIFIED:
            raise TollwayError(Code.INVALID, "the report names too many versions")
        if len(report.counters) > MAX_COUNTERS or len(report.version) > MAX_VERSION:
            raise TollwayError(Code.INVALID, "the report's counters or version are too long")
        now = self._clock()
        with self._database.write() as connection:
            if not self._database.is_sqlite:
                # Of two that start together one is first; the other sees it.
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            self._check(connection, report, now)
            values = {
                "counters": report.counters,
                "version": report.version,
                "started_ms": report.started_ms,
                "seen_ms": now,
                "remotes": msgspec.json.encode(report.remotes).decode(),
                "unverified": msgspec.json.encode(report.unverified).decode(),
            }
            known = sa.select(gateways.c.unverified, gateways.c.figures)
            row = connection.execute(known.where(gateways.c.id == report.id)).first()
            before, earlier_figures = ("[]", "{}") if row is None else (row[0], row[1])
            figures = msgspec.json.decode(earlier_figures, type=Figures).followed_by(report, now)
            values["figures"] = msgspec.json.encode(figures).decode()
            updated = connection.execute(
                sa.update(gateways).where(gateways.c.id == report.id).values(values)
            )
            if updated.rowcount == 0:
                connection.execute(
                    sa.insert(gateways).values({**values, "id": report.id, "first_seen_ms": now})
                )
            if before != values["unverified"]:
                earlier = msgspec.json.decode(before, type=tuple[UnverifiedReport, ...])
                record_unverified(connection, report.id, earlier, report.unverified, now)

    def remove(self, id: str) -> None:
        """Forget a gateway that says goodbye; fine when it is not known."""
        with self._database.write() as connection:
            self._forget(connection, gateways.c.id == id, self._clock())

    def drop_lost(self) -> list[str]:
        """Forget gateways that have been silent for too long. Returns their ids."""
        now = self._clock()
        if self._is_new(now):
            return []
        silent = gateways.c.seen_ms <= now - self._lost_ms
        with self._database.read() as connection:
            if connection.execute(sa.select(gateways.c.id).where(silent).limit(1)).first() is None:
                return []
        with self._database.write() as connection:
            return self._forget(connection, silent, now)

    @staticmethod
    def _forget(connection: Connection, which: sa.ColumnElement[bool], now: int) -> list[str]:
        """Delete gateways, and with them end their alerts: one that returns raises them anew."""
        gone = sa.delete(gateways).where(which).returning(gateways.c.id, gateways.c.unverified)
        found = connection.execute(gone).all()
        for id, text in found:
            earlier = msgspec.json.decode(text, type=tuple[UnverifiedReport, ...])
            record_unverified(connection, id, earlier, (), now)
        return [id for id, _ in found]

    def all(self) -> list[GatewayStatus]:
        """Gateways that are alive, by id."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(gateways).where(self._alive(self._clock())).order_by(gateways.c.id)
            ).all()
        return [
            GatewayStatus(
                id=row.id,
                counters=row.counters,
                version=row.version,
                started_at=rfc3339(row.started_ms),
                seen_at=rfc3339(row.seen_ms),
                position=figures.position,
                requests_per_s=figures.per_s,
                in_flight=figures.in_flight,
            )
            for row in rows
            for figures in (msgspec.json.decode(row.figures, type=Figures),)
        ]

    def remotes(self) -> dict[tuple[str, int], list[EngineStatus]]:
        """(model, version) -> how each gateway that is alive stands with its remote server."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(gateways.c.id, gateways.c.remotes)
                .where(self._alive(self._clock()), gateways.c.remotes != "[]")
                .order_by(gateways.c.id)
            ).all()
        found: dict[tuple[str, int], list[EngineStatus]] = {}
        for row in rows:
            for remote in msgspec.json.decode(row.remotes, type=tuple[RemoteReport, ...]):
                found.setdefault((remote.model, remote.version), []).append(
                    EngineStatus(worker=row.id, slot=0, state=remote.state, error=remote.error)
                )
        return found

    def unverified(self) -> list[tuple[str, UnverifiedReport]]:
        """What gateways that are alive do not route to, each with the gateway's id."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(gateways.c.id, gateways.c.unverified)
                .where(self._alive(self._clock()), gateways.c.unverified != "[]")
                .order_by(gateways.c.id)
            ).all()
        return [
            (row.id, report)
            for row in rows
            for report in msgspec.json.decode(row.unverified, type=tuple[UnverifiedReport, ...])
        ]

    def _is_new(self, now: int) -> bool:
        """Whether control itself has not listened for long enough to call anybody silent."""
        return now - self._started_ms < self._lost_ms

    def _alive(self, now: int) -> sa.ColumnElement[bool]:
        if self._is_new(now):
            return sa.true()
        return gateways.c.seen_ms > now - self._lost_ms

    def _check(self, connection: Connection, report: GatewayReport, now: int) -> None:
        alive = connection.execute(sa.select(gateways).where(self._alive(now))).all()
        for other in alive:
            if other.id == report.id:
                if other.started_ms > report.started_ms:
                    raise TollwayError(
                        Code.CONFLICT,
                        f"gateway '{report.id}' has been started elsewhere: give each gateway a "
                        "data directory of its own, not a copy of another's",
                    )
            elif other.counters != report.counters or report.counters == MEMORY:
                raise TollwayError(
                    Code.CONFLICT,
                    f"gateway '{other.id}', last seen {max(0, now - other.seen_ms) // 1000} s ago, "
                    f"counts limits in {other.counters}, this one in {report.counters}: limits "
                    "would not hold. Stop that gateway, or give every gateway the same Redis "
                    "(TOLLWAY_COUNTERS=redis)",
                )
