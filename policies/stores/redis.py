"""Counters in Redis: for any number of gateways.

One atomic script a request, on Redis' clock; settlements ride along and nobody waits for them. When
Redis does not answer in time a breaker opens: every call is told so at once, until a probe in the
background has had an answer again.
"""

import asyncio
import hashlib
import secrets
from functools import partial

import hiredis

from policies.limits import COMPUTE, COMPUTE_SCALE, Limits
from policies.stores.base import UNREACHABLE, Subscription, Used, Verdict
from policies.stores.redis_connection import (
    LOST,
    RedisAddress,
    RedisConnection,
    Reply,
    bulk,
    connect,
)
from policies.stores.redis_scripts import CLOCK, settle_script, take_script
from policies.windows import SECOND_US, SLOTS
from runtime.logs import logger

PREFIX = "tollway:"
PROBE_MIN_S = 0.1
PROBE_MAX_S = 1.0
CONNECT_TIMEOUT_S = 1.0
GRACE_S = 0.002
"""After the timeout: replies that lie in our own socket's buffer are read before Redis is blamed
for a pause of this process."""
LEASE_SLACK_S = 1.0
"""A call is answered by its deadline; this is for the clocks and the timers between."""
LEASES_TTL_MS = 900_000
"""Longer than any request may take."""
LATE_US = 100_000
"""How much later than the timeout the script may still charge: clocks are compared over a round
trip, and a call that was given up meanwhile must not be charged."""
HEAD = 3
"""Elements of an answer before the numbers."""
FLAG = b"$1\r\n%d\r\n"
LEASE = b"$25\r\n%b\r\n"
NO_LEASE = b"$0\r\n%.0b\r\n"
AMOUNT = b"$15\r\n%015d\r\n"
MICROS = b"$20\r\n%020d\r\n"
"""Bulk strings of one length, whatever the number: the scripts read leading zeros as nothing."""


class _Script:
    """A script, called by its digest, and sent whole where Redis does not know it."""

    def __init__(self, text: str) -> None:
        self.text = text
        digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        self._by_digest = bulk("EVALSHA") + bulk(digest)
        self._by_text = bulk("EVAL") + bulk(text)

    def template(self, keys: list[str], given: list[bytes], fixed: list[str | int]) -> bytes:
        """The command by digest as it is written. What is ``given`` at each call, as formats of
        bulk strings, comes before what is ``fixed``."""
        parts = 3 + len(keys) + len(given) + len(fixed)
        head = b"*%d\r\n" % parts + self._by_digest + bulk(len(keys))
        head += b"".join(map(bulk, keys))
        tail = b"".join(map(bulk, fixed))
        return head.replace(b"%", b"%%") + b"".join(given) + tail.replace(b"%", b"%%")

    def whole(self, command: bytes) -> bytes:
        """The command with the script itself, which Redis then knows."""
        return command.replace(self._by_digest, self._by_text, 1)


class _Prepared:
    """What does not change from call to call of a subscription under a plan document: most of its
    commands, written out once. Only a few numbers are formatted in at each call."""

    __slots__ = ("limits", "settle", "take")

    def __init__(
        self, subscription: Subscription, limits: Limits, take: _Script, settle: _Script
    ) -> None:
        self.limits = limits
        base = f"{PREFIX}{{{subscription[0]}/{subscription[1]}}}:"
        keys = [base + "used", base + "leases"]
        quota = limits.quota
        unit = "" if quota is None else quota.unit
        hold = 0 if quota is None else quota.hold
        lease = LEASE if limits.leased else NO_LEASE
        self.settle = settle.template(keys, [lease, MICROS, *3 * [AMOUNT]], [unit, hold])
        """Of the lease, when it was taken, and the three units used."""
        fixed: list[str | int] = [
            unit,
            "" if quota is None else "m" if quota.monthly else "d",
            -1 if quota is None else quota.limit,
            hold,
            -1 if limits.concurrency is None else limits.concurrency,
            int(limits.leased),
            LEASES_TTL_MS,
        ]
        for rate in limits.rates:
            keys += [
                f"{base}window:{rate.window_us // SECOND_US}",
                f"{base}pace:{rate.window_us // SECOND_US}:{rate.requests}:{rate.burst}",
            ]
            slot = rate.window_us // SLOTS
            fixed += [rate.requests, rate.window_us, slot, rate.burst]
        self.take = take.template(keys, [FLAG, LEASE, AMOUNT, MICROS], fixed)
        """Of whether to charge, the lease, its milliseconds, and when that is too late."""


class RedisCounters:
    """See :class:`policies.stores.base.Counters`. Run :meth:`run` beside it."""

    def __init__(
        self,
        address: RedisAddress,
        *,
        timeout_s: float = 0.05,
        clock: str = CLOCK,
    ) -> None:
        """Make it inside a running event loop. ``timeout_s``: how long a call waits for
        Redis. ``clock``: Lua for the time that counts; Redis' own but for tests."""
        self._address = address
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._take = _Script(take_script(clock))
        self._settle = _Script(settle_script(clock))
        self._connection: RedisConnection | None = None
        self._prepared: dict[Subscription, _Prepared] = {}
        self._lease_prefix = secrets.token_hex(6).encode() + b"-"
        self._leases = 0
        self._offset_us: float | None = None
        """Redis' clock minus the loop's, at most."""
        self._writes = 0
        self._reason = ""
        self.takes = 0
        """Calls that asked Redis."""
        self.settlements_lost = 0
        """Admitted calls whose end Redis was not told, or did not confirm."""
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
        """See :class:`policies.stores.base.Counters`. While Redis is away this is lost, and counted
        as such: the hold stays counted, and the lease ends by itself. Nothing is kept to be sent
        later: what was sent without an answer may have been counted, and would be counted twice."""
        connection = self._connection
        if connection is None:
            self.settlements_lost += 1
            return
        prepared = self._prepare(verdict.subscription, verdict.limits)
        command = prepared.settle % (verdict.lease, verdict.taken_us, *used)
        connection.send(command, partial(self._settled, connection, command))
        if not connection.watched:
            self._watch(connection)

    def _prepare(self, subscription: Subscription, limits: Limits) -> _Prepared:
        prepared = self._prepared.get(subscription)
        if prepared is None or prepared.limits is not limits:
            prepared = _Prepared(subscription, limits, self._take, self._settle)
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
            except BaseException:
                connection.abort()
                raise
        self._offset_us = int(time[0]) * 1e6 + int(time[1]) - self._loop.time() * 1e6
        return connection

    def _lost(self, connection: RedisConnection) -> None:
        if self._connection is connection:
            self._writes += connection.writes
            self._connection = None
            self.ready.clear()

    def _watch(self, connection: RedisConnection) -> None:
        """See that Redis answers in time: one timer, whatever is under way."""
        connection.watched = True
        self._loop.call_later(self._timeout_s, self._look, connection, False)

    def _look(self, connection: RedisConnection, again: bool) -> None:
        oldest = connection.oldest
        if oldest is None:
            connection.watched = False
            return
        left = oldest + self._timeout_s - self._loop.time()
        if left > 0:
            self._loop.call_later(left, self._look, connection, False)
        elif not again:
            self._loop.call_later(GRACE_S, self._look, connection, True)
        else:
            self._reason = f"no answer in {self._timeout_s * 1000:g} ms"
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

    def _settled(self, connection: RedisConnection, command: bytes, reply: Reply) -> None:
        if _is_unknown_script(reply):
            connection.send(
                self._settle.whole(command), partial(self._settled, connection, command)
            )
        elif isinstance(reply, hiredis.ReplyError):
            self.settlements_lost += 1
            self._refused(connection, reply)
        elif reply is LOST:
            self.settlements_lost += 1

    def _refused(self, connection: RedisConnection, reply: Reply) -> None:
        """Redis answers, but does not count."""
        if "WRONGTYPE" in str(reply):
            # Somebody else has written one subscription's key: the others are well.
            logger("counters").error("a counter's key holds something else", error=str(reply)[:200])
            return
        # No memory left, a replica, loading: the probe finds out when that is over.
        self._reason = str(reply)[:200]
        self._lost(connection)
        connection.abort()


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
