"""The dispatcher: turns audit entries into deliveries and sends them, beside the server.

At-least-once: a delivery is taken for the length of a lease, sent, and then marked. A process that
dies between leaves it to the next one, and the receiver knows the event by its id.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable
from typing import Final, TypeVar

from anyio import CapacityLimiter

from control.metrics import Metrics
from control.store.deliveries import Deliveries
from control.store.delivery_queue import DeliveryQueue, Due
from control.store.webhook_events import EventLog
from control.threads import in_thread
from control.webhooks.schedule import next_wait_s
from control.webhooks.sender import Outcome, Sender
from control.webhooks.signing import Signer
from registry.clock import Clock
from runtime.logs import logger

Result = TypeVar("Result")

PER_ENDPOINT: Final = 4
"""Deliveries under way to one endpoint."""
LEASE_MARGIN_S: Final = 30.0
PAUSE_S: Final = 0.02
"""Least time between two looks at the database: commits that come in a burst share one."""


class Dispatcher:
    """One for each control process. Methods belong to the loop, but for :meth:`committed`."""

    def __init__(
        self,
        *,
        events: EventLog,
        queue: DeliveryQueue,
        deliveries: Deliveries,
        make_sender: Callable[[], Sender],
        signer: Signer,
        clock: Clock,
        metrics: Metrics,
        concurrency: int,
        timeout_s: float,
        poll_s: float,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """``make_sender`` is called by :meth:`open`, ``timeout_s`` bounds what it makes takes."""
        self._events = events
        self._queue = queue
        self._deliveries = deliveries
        self._make_sender = make_sender
        self._signer = signer
        self._clock = clock
        self._metrics = metrics
        self._concurrency = concurrency
        self._lease_ms = round((timeout_s + LEASE_MARGIN_S) * 1000)
        self._poll_s = poll_s
        self._jitter = jitter
        self._under_way: dict[asyncio.Task[None], str] = {}
        # A thread of its own: reports and uploads that fill the others do not hold up events.
        self._thread = CapacityLimiter(1)
        self._look = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin, in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._run(), name="webhooks")

    def committed(self) -> None:
        """A transaction of this process has committed. Thread-safe."""
        loop = self._loop
        if loop is not None:
            # The loop may close between the two: then nobody dispatches any more.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._look.set)

    async def close(self) -> None:
        """Stop. Attempts under way are cut off, and made again when their lease is over."""
        self._loop = None
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        sender = self._make_sender()
        try:
            while True:
                self._look.clear()
                try:
                    await self._round(sender)
                except Exception as error:
                    self._metrics.job("webhooks", failed=True)
                    logger("webhooks").exception("webhooks not dispatched", error=repr(error))
                await asyncio.sleep(PAUSE_S)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._poll_s):
                        await self._look.wait()
        finally:
            for task in self._under_way:
                task.cancel()
            await asyncio.gather(*self._under_way, return_exceptions=True)
            await sender.close()

    async def _round(self, sender: Sender) -> None:
        while await self._blocking(self._events.expand):
            pass
        free = self._concurrency - len(self._under_way)
        if free > 0:
            busy = Counter(self._under_way.values())
            for due in await self._blocking(
                lambda: self._queue.take(free, busy, PER_ENDPOINT, self._lease_ms)
            ):
                task = asyncio.create_task(self._attempt(sender, due), name="webhook-delivery")
                self._under_way[task] = due.webhook
                task.add_done_callback(self._ended)
        self._metrics.webhook_queue(await self._blocking(self._deliveries.pending))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.pop(task, None)
        self._look.set()

    async def _attempt(self, sender: Sender, due: Due) -> None:
        body = due.body.encode()
        timestamp = self._clock() // 1000
        headers = {
            "webhook-id": due.event,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": self._signer.signatures(
                due.webhook, due.generations, due.event, timestamp, body
            ),
        }
        outcome = await sender.send(due.url, headers, body)
        wait_s = next_wait_s(due.failures + 1, self._jitter, outcome.retry_after_s)
        try:
            state = await self._blocking(lambda: self._queue.finish(due, outcome, wait_s))
        except Exception as error:
            # The lease ends, and it is sent once more: at least once, not at most.
            logger("webhooks").exception("outcome not stored", delivery=due.id, error=repr(error))
            return
        self._metrics.webhook_attempt("refused" if outcome.refused else state)
        self._report(due, outcome, state)

    def _report(self, due: Due, outcome: Outcome, state: str) -> None:
        if state == "failed":
            logger("webhooks").warning(
                "delivery failed",
                delivery=due.id,
                webhook=due.webhook,
                status=outcome.status,
                reason=outcome.error,
            )

    async def _blocking(self, call: Callable[[], Result]) -> Result:
        return await in_thread(call, self._thread)
