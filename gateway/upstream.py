"""The frame client: chooses among the connections to a version's engines.

A request that is lost with its engine is sent once more, to another engine, before anybody hears of
it: an inference is pure.
"""

import asyncio
from collections.abc import Callable
from math import ceil

from gateway.cold_starts import ColdStarts
from gateway.connection import EngineConnection, Exchange, VersionKey
from gateway.counts import Counts
from gateway.load import weigh
from protocol.errors import Code, TollwayError
from protocol.frames import EngineStats, Hello, Kind


class Upstream:
    """Chooses among the open connections of a version."""

    SWEEP_S = 0.01
    """How exactly deadlines are kept."""

    def __init__(
        self,
        *,
        max_in_flight: int,
        digest_of: Callable[[str, int], str | None],
        cold: ColdStarts,
    ) -> None:
        """``digest_of(model, version)`` is the manifest digest that an engine must announce;
        ``cold`` takes the calls of versions that have none."""
        self._max_in_flight = max_in_flight
        self._digest_of = digest_of
        self._cold = cold
        self._ready: dict[VersionKey, list[EngineConnection]] = {}
        self._open: set[EngineConnection] = set()
        self._sweeping = False
        self._turn = 0
        self.counts = Counts()
        """What engines have told, also those that are gone."""
        self._loop = asyncio.get_running_loop()
        self.retries = 0
        """Exchanges that were sent again because their engine was lost."""
        self.unreachable = 0
        """Requests refused because no engine could have kept their deadline."""

    def gauges(self) -> dict[str, tuple[str, Callable[[], float]]]:
        """Metrics, as :class:`gateway.metrics.PredictionMetrics` reads them."""
        return {
            "tollway_engine_retries_total": (
                "Requests sent again because their engine was lost.",
                lambda: self.retries,
            ),
            "tollway_unreachable_deadlines_total": (
                "Requests refused because no engine could have kept their deadline.",
                lambda: self.unreachable,
            ),
        }

    def is_ready(self, key: VersionKey) -> bool:
        """Whether a request for this version would be taken now, or start an engine."""
        return key in self._ready or bool(self._cold.connections(key))

    def connections(self, key: VersionKey) -> list[EngineConnection]:
        """The connections that take requests for this version, or wait to be woken by one."""
        return list(self._ready.get(key, ())) or self._cold.connections(key)

    def load(self) -> dict[VersionKey, tuple[int, int]]:
        """Version -> engines that take requests, requests that wait for one."""
        found: dict[VersionKey, tuple[int, int]] = {
            key: (len(group), 0) for key, group in self._ready.items()
        }
        for connection in self._open:
            if (hello := connection.hello) is not None:
                key = (hello.model, hello.version)
                ready, waiting = found.get(key, (0, 0))
                found[key] = (ready, waiting + len(connection.in_flight))
        return found

    def in_flight(self) -> int:
        """Requests that wait for an engine."""
        return sum(len(connection.in_flight) for connection in self._open) + self._cold.waiting

    def send(self, key: VersionKey, exchange: Exchange) -> None:
        """Send to the least loaded engine that can keep the deadline.

        Raises ``NOT_READY``, ``QUEUE_FULL`` or ``DEADLINE_UNREACHABLE``.
        """
        group = self._ready.get(key)
        if not group:
            self._cold.take(key, exchange)
            self._keep_sweeping()
            return
        connection = group[0]
        now, deadline = self._loop.time(), exchange.deadline
        if len(group) > 1:
            size = len(exchange.body)
            connection = min(
                group,
                key=lambda c: (
                    c.congested,
                    c.reach.late(deadline, now),
                    (c.load.work + size) * c.load.weight,
                    c.load.turn,
                ),
            )
            self._turn = connection.load.turn = self._turn + 1
        if late_s := connection.reach.late(deadline, now):
            raise self._unreachable(key, late_s)
        if connection.congested or len(connection.in_flight) >= self._max_in_flight:
            raise TollwayError(Code.QUEUE_FULL, f"the queue of '{key[0]}' is full: try again soon")
        connection.send(exchange)
        self._keep_sweeping()

    def offer(self, key: VersionKey, exchange: Exchange) -> bool:
        """Send what may as well not be sent; False where no engine takes it at once."""
        free = [one for one in self._ready.get(key, ()) if not one.congested]
        if not free:
            return False
        min(free, key=lambda one: one.load.work * one.load.weight).send(exchange)
        self._keep_sweeping()
        return True

    def _keep_sweeping(self) -> None:
        if not self._sweeping:
            self._sweeping = True
            self._loop.call_later(self.SWEEP_S, self._sweep)

    def _unreachable(self, key: VersionKey, late_s: float) -> TollwayError:
        self.unreachable += 1
        return TollwayError(
            Code.DEADLINE_UNREACHABLE,
            f"'{key[0]}' is too busy to answer within the request's deadline: try again soon, or "
            "allow more time",
            retry_after_s=max(1, ceil(late_s)),
        )

    async def close(self) -> None:
        """Close every connection; what is still in flight is answered ``NOT_READY``."""
        self._ready.clear()
        self._cold.close()
        closing = list(self._open)
        for connection in closing:
            connection.close()
        await asyncio.gather(*(connection.closed for connection in closing))

    def verify(self) -> None:
        """Choose only among engines whose version is configured with the digest they announced."""
        self._ready.clear()
        self._cold.forget_connections()
        self.counts.keep(lambda key: self._digest_of(*key) is not None)
        for connection in self._open:
            if self._expected(connection) and not connection.draining:
                self._add(connection)

    def opened(self, connection: EngineConnection) -> None:
        self._open.add(connection)
        if self._expected(connection):
            self._add(connection)

    def _add(self, connection: EngineConnection) -> None:
        hello = connection.hello
        assert hello is not None
        key = (hello.model, hello.version)
        if hello.cold:
            self._cold.add(key, connection)
            return
        self._ready.setdefault(key, []).append(connection)
        for exchange in self._cold.ready(key):
            self._resend(key, exchange)

    def _expected(self, connection: EngineConnection) -> bool:
        hello = connection.hello
        assert hello is not None
        return self._digest_of(hello.model, hello.version) == hello.digest

    def left(self, connection: EngineConnection) -> None:
        hello = connection.hello
        if hello is None:
            return
        key = (hello.model, hello.version)
        group = self._ready.get(key, [])
        if connection in group:
            group.remove(connection)
        if not group:
            self._ready.pop(key, None)
        self._cold.remove(key, connection)

    def counted(self, connection: EngineConnection, stats: EngineStats) -> None:
        """Keep what an engine has told. A standby counts nothing."""
        hello = connection.hello
        if hello is not None and not hello.cold:
            self.counts.note((hello.model, hello.version), hello.instance, stats)

    def turned_away(self, connection: EngineConnection, exchange: Exchange) -> None:
        hello = connection.hello
        assert hello is not None
        key = (hello.model, hello.version)
        if exchange.retried:
            late_s = connection.reach.late(exchange.deadline, self._loop.time())
            exchange.done(self._unreachable(key, late_s))
            return
        self._again(key, exchange)

    def _again(self, key: VersionKey, exchange: Exchange) -> None:
        """Send once more, to an engine that can take it."""
        exchange.retried = True
        self._resend(key, exchange)

    def _resend(self, key: VersionKey, exchange: Exchange) -> None:
        try:
            self.send(key, exchange)
        except TollwayError as error:
            exchange.done(error)

    def lost(self, connection: EngineConnection, unanswered: list[Exchange]) -> None:
        self._open.discard(connection)
        self.left(connection)
        hello = connection.hello
        assert hello is not None
        self.counts.fold({one.hello.instance for one in self._open if one.hello is not None})
        for exchange in unanswered:
            # Only an inference is the same on any engine.
            again = exchange.kind is Kind.INFER and not exchange.retried
            if not again or exchange.deadline <= self._loop.time():
                exchange.done(_stopped(hello))
                continue
            self.retries += 1
            self._again((hello.model, hello.version), exchange)

    def _sweep(self) -> None:
        """Answer what has passed its deadline: one timer for all requests, none per request."""
        now = self._loop.time()
        self._sweeping = self._cold.waiting > 0
        self._cold.sweep(now)
        for connection in self._open:
            for id_ in [i for i, e in connection.in_flight.items() if e.deadline <= now]:
                exchange = connection.in_flight[id_]
                connection.cancel(id_)
                exchange.done(_too_late())
            self._sweeping = self._sweeping or bool(connection.in_flight)
        for group in self._ready.values():
            if len(group) > 1:
                weigh([connection.load for connection in group])
        if self._sweeping:
            self._loop.call_later(self.SWEEP_S, self._sweep)


def _stopped(hello: Hello) -> TollwayError:
    return TollwayError(
        Code.NOT_READY,
        f"the engine of '{hello.model}' version {hello.version} stopped: try again soon",
    )


def _too_late() -> TollwayError:
    return TollwayError(Code.DEADLINE_EXCEEDED, "the deadline passed before the answer was there")
