"""Counters in Redis: for any number of gateways.

One atomic script a request, on Redis' clock; settlements ride along and nobody waits for them. When
Redis does not answer in time a breaker opens: every call is told so at once, until a probe in the
background has had an answer again.
"""

import asyncio
import re
import secrets
from functools import partial

import hiredis

from policies.limits import COMPUTE, COMPUTE_SCALE, Limits
from policies.stores.base import UNREACHABLE, Subscription, Used, Verdict
from policies.stores.outbox import End, Outbox
from policies.stores.redis_commands import PREFIX, Prepared, Script
from policies.stores.redis_connection import (
    LOST,
    RedisAddress,
    RedisConnection,
    Reply,
    connect,
)
from policies.stores.redis_scripts import CLOCK, settle_script, take_script
from policies.windows import SECOND_US
from runtime.logs import logger

PROBE_MIN_S = 0.1
PROBE_MAX_S = 1.0
CONNECT_TIMEOUT_S = 1.0
PATIENCE = 0.6
"""Share of the timeout that Redis gets. The rest is for noticing that it does not answer and for
telling those who wait: the timeout holds for them."""
GRACE_S = 0.002
"""After Redis' time: replies that lie in our own socket's buffer are read before Redis is blamed
for a pause of this process."""
LEASE_SLACK_S = 1.0
"""A call is answered by its deadline; this is for the clocks and the timers between."""
BATCH = 100
"""Ends of calls that Redis is told at once when it answers again."""
STATES = re.compile(
    r"\b(OOM|READONLY|LOADING|MASTERDOWN|MISCONF|NOREPLICAS|BUSY|NOAUTH|NOPERM|CLUSTERDOWN|MOVED)\b"
)
"""What Redis says when it counts for nobody at present. Its other errors are about one key."""
MAX_PREPARED = 20_000
"""Subscriptions whose commands are kept written out."""
LATE_US = 100_000
"""How much later than the timeout the script may still charge: clocks are compared over a round
trip, and a call that was given up meanwhile must not be charged."""
HEAD = 3
"""Elements of an answer before the numbers."""


class RedisCounters:
    """See :class:`policies.stores.base.Counters`. Run :meth:`run` beside it."""

    def __init__(
        self,
        address: RedisAddress,
        *,
        timeout_s: float = 0.05,
        clock: str = CLOCK,
    ) -> None:
        """Make it inside a running event loop. ``timeout_s``: in which a call is decided, with
        Redis or without. ``clock``: Lua for the time that counts; Redis' own but for tests."""
        self._address = address
        self._timeout_s = timeout_s
        self._patience_s = PATIENCE * timeout_s
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._take = Script(take_script(clock))
        self._settle = Script(settle_script(clock))
        self._connection: RedisConnection | None = None
        self._prepared: dict[Subscription, Prepared] = {}
        self._gateway = secrets.token_hex(6)
        self._lease_prefix = self._gateway.encode() + b"-"
        self._leases = 0
        self._offset_us: float | None = None
        """Redis' clock minus the loop's, at most."""
        self._writes = 0
        self._reason = ""
        self.takes = 0
        """Calls that asked Redis."""
        self._outbox = Outbox()
        self.ready = asyncio.Event()
        """Set while Redis answers."""

    @property
    def kind(self) -> str:
        """Where the counters are, without credentials."""
        return self._address.shown

    @property
    def round_trips(self) -> int:
        """Writes to Redis so far, each with what one tick of the event loop had to ask."""
        return self._writes + (self._connection.writes if self._connection else 0)

    @property
    def settlements_lost(self) -> int:
        """Admitted calls whose end was given up: Redis refused it, or was away for too long."""
        return self._outbox.lost

    @property
    def settlements_waiting(self) -> int:
        """Admitted calls whose end Redis has not confirmed yet."""
        return len(self._outbox)

    def take(
        self, subscription: Subscription, limits: Limits, deadline: float, charge: bool = True
    ) -> Verdict | asyncio.Future[Verdict]:
        """See :class:`policies.stores.base.Counters`."""
        connection = self._connection
        if connection is None:
            return Verdict(subscription, limits, UNREACHABLE)
        prepared = self._prepare(subscription, limits)
        self._leases += 1
        lease = self._lease_prefix + b"%012x" % self._leases
        assert self._offset_us is not None
        now = self._loop.time()
        lease_ms = max(1, int((deadline - now + LEASE_SLACK_S) * 1000))
        latest_us = int((now + self._timeout_s) * 1e6 + self._offset_us) + LATE_US
        command = prepared.take % (charge, lease, lease_ms, max(0, latest_us))
        verdict: asyncio.Future[Verdict] = self._loop.create_future()
        self.takes += 1
        connection.send(
            command,
            partial(self._taken, connection, subscription, limits, lease, command, verdict),
        )
        if not connection.watched:
            self._watch(connection)
        return verdict

    def settle(self, verdict: Verdict, used: Used) -> None:
        """See :class:`policies.stores.base.Counters`. While Redis is away it is kept, and told when
        Redis answers again. Until then the hold stays counted, and the lease ends by itself."""
        end = End(verdict, used)
        number = self._outbox.add(end)
        if (connection := self._connection) is not None:
            self._tell(connection, number, end)

    def _tell(
        self, connection: RedisConnection, number: int, end: End, whole: bool = False
    ) -> None:
        verdict = end.verdict
        prepared = self._prepare(verdict.subscription, verdict.limits)
        command = prepared.settle % (number, verdict.lease, verdict.taken_us, *end.used)
        if whole:
            command = self._settle.whole(command)
        connection.send(command, partial(self._settled, connection, number))
        if not connection.watched:
            self._watch(connection)

    def _prepare(self, subscription: Subscription, limits: Limits) -> Prepared:
        prepared = self._prepared.get(subscription)
        if prepared is None or prepared.limits is not limits:
            prepared = Prepared(subscription, limits, self._take, self._settle, self._gateway)
            if len(self._prepared) >= MAX_PREPARED:
                self._prepared.clear()
            self._prepared[subscription] = prepared
        return prepared

    async def run(self) -> None:
        """Keep a connection open until cancelled: whenever there is none, try for one."""
        log = logger("counters")
        told = False
        delay = PROBE_MIN_S
        try:
            while True:
                try:
                    connection = await self._probe()
                except (OSError, TimeoutError) as error:
                    if not told:
                        told = True
                        log.error(
                            "the counters do not answer: plans' fail modes apply",
                            counters=self.kind,
                            error=str(error) or type(error).__name__,
                        )
                    await asyncio.sleep(delay)
                    delay = min(2 * delay, PROBE_MAX_S)
                    continue
                if told:
                    log.warning("the counters answer again", counters=self.kind)
                self._reason = ""
                self._connection, told, delay = connection, False, PROBE_MIN_S
                self.ready.set()
                await connection.closed
                self._lost(connection)
                told = True
                log.error(
                    "the counters do not answer: plans' fail modes apply",
                    counters=self.kind,
                    error=self._reason or "the connection was closed",
                )
        finally:
            if (last := self._connection) is not None:
                self._lost(last)
                last.close()

    async def _probe(self) -> RedisConnection:
        """A connection that has just answered. Raises ``OSError`` or ``TimeoutError``."""
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            connection = await connect(self._address)
            try:
                for script in (self._take, self._settle):
                    loaded = await connection.ask("SCRIPT", "LOAD", script.text)
                    if isinstance(loaded, hiredis.ReplyError):
                        raise ConnectionError(f"Redis refuses the script: {loaded}")
                # It may answer and yet take nothing: no memory left, a replica, still loading.
                kept = await connection.ask("SET", PREFIX + "probe", 1, "PX", 1000)
                if kept != b"OK":
                    raise ConnectionError(f"Redis refuses to write: {kept}")
                time = await connection.ask("EVAL", f"return {self._clock}", 0)
                if not isinstance(time, list):
                    raise ConnectionError("Redis tells no time")
                await self._catch_up(connection)
            except BaseException:
                connection.abort()
                raise
        self._offset_us = int(time[0]) * 1e6 + int(time[1]) - self._loop.time() * 1e6
        return connection

    async def _catch_up(self, connection: RedisConnection) -> None:
        """Tell Redis of the calls that ended while it was away, a batch at a time: it has to answer
        each in time. Raises ``OSError``."""
        while batch := self._outbox.unconfirmed(BATCH):
            for number, end in batch:
                self._tell(connection, number, end)
            if await connection.ask("PING") is LOST:
                raise ConnectionError(self._reason or "Redis closed the connection")

    def _lost(self, connection: RedisConnection) -> None:
        if self._connection is connection:
            self._writes += connection.writes
            self._connection = None
            self.ready.clear()

    def _watch(self, connection: RedisConnection) -> None:
        """See that Redis answers in time: one timer, whatever is under way."""
        connection.watched = True
        self._loop.call_later(self._patience_s, self._look, connection, False)

    def _look(self, connection: RedisConnection, again: bool) -> None:
        oldest = connection.oldest
        if oldest is None:
            connection.watched = False
            return
        left = oldest + self._patience_s - self._loop.time()
        if left > 0:
            self._loop.call_later(left, self._look, connection, False)
        elif not again:
            self._loop.call_later(GRACE_S, self._look, connection, True)
        else:
            self._reason = f"no answer in {self._patience_s * 1000:g} ms"
            # Those who wait are answered by this, and nobody waits from now on.
            self._lost(connection)
            connection.abort()

    def _taken(
        self,
        connection: RedisConnection,
        subscription: Subscription,
        limits: Limits,
        lease: bytes,
        command: bytes,
        waiting: asyncio.Future[Verdict],
        reply: Reply,
    ) -> None:
        if isinstance(reply, list):
            now_us = int(reply[2])
            self._offset_us = now_us - self._loop.time() * 1e6
            refused: int = reply[0]
            numbers = () if refused == UNREACHABLE else _shown(reply[HEAD:], limits)
            hold = 0 if limits.quota is None else limits.quota.hold
            verdict = Verdict(
                subscription, limits, refused, int(reply[1]), numbers, hold, lease, now_us
            )
        elif _is_unknown_script(reply):
            connection.send(
                self._take.whole(command),
                partial(self._taken, connection, subscription, limits, lease, command, waiting),
            )
            return
        else:
            verdict = Verdict(subscription, limits, UNREACHABLE)
            if reply is not LOST:
                self._refused(connection, reply)
        if not waiting.done():
            waiting.set_result(verdict)

    def _settled(self, connection: RedisConnection, number: int, reply: Reply) -> None:
        if reply is LOST:
            return  # sent again on the next connection
        if not isinstance(reply, hiredis.ReplyError):
            self._outbox.confirmed(number)
        elif _is_unknown_script(reply):
            again = self._outbox.renumbered(number)
            if again is not None:
                self._tell(connection, *again, whole=True)
        elif self._refused(connection, reply):
            self._outbox.give_up(number)

    def _refused(self, connection: RedisConnection, reply: Reply) -> bool:
        """Redis answers, but does not count. Returns whether it never will."""
        if STATES.search(str(reply)) is None:
            # Somebody else has written one subscription's key: the others are well.
            logger("counters").error("a counter's key holds something else", error=str(reply)[:200])
            return True
        # No memory left, a replica, loading: the probe finds out when that is over.
        self._reason = str(reply)[:200]
        self._lost(connection)
        connection.abort()
        return False


def _is_unknown_script(reply: Reply) -> bool:
    return isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT")


def _shown(numbers: list[int], limits: Limits) -> tuple[int, ...]:
    """The numbers as callers see them: seconds rounded up, nothing below zero."""
    timed = 2 * (len(limits.rates) + (limits.quota is not None))
    for place in range(1, timed, 2):
        numbers[place] = -(-numbers[place] // SECOND_US)
    if limits.quota is not None and limits.quota.unit == COMPUTE:
        numbers[timed - 2] //= COMPUTE_SCALE
    if numbers and min(numbers) < 0:
        numbers = [max(0, number) for number in numbers]
    return tuple(numbers)
