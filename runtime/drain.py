"""Takes work off the event loop: a bounded queue, and a thread that empties it in batches."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import partial
from typing import Generic, TypeVar

from runtime.logs import logger

Item = TypeVar("Item")


class Drain(Generic[Item]):
    """Whoever puts never waits: what finds no place is dropped, and counted."""

    def __init__(
        self,
        name: str,
        take: Callable[[Sequence[Item]], None],
        *,
        capacity: int,
        batch: int,
        interval_s: float,
    ) -> None:
        """``take`` gets at most ``batch`` items, in the thread; ``interval_s`` is how long an item
        waits for company, unless a batch is full."""
        self._name = name
        self._take = take
        self._capacity = capacity
        self._batch = batch
        self._interval_s = interval_s
        self._waiting: deque[Item] = deque()
        self._wake = threading.Event()
        self._closing = False
        # A daemon: what hangs in ``take`` must not keep the process from ending.
        # Its lines carry what the process' lines carry: the role.
        run = partial(copy_context().run, self._run)
        self._thread = threading.Thread(target=run, name=name, daemon=True)
        self.dropped = 0
        """Items that found no place."""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, items: Sequence[Item]) -> None:
        """Queue all of ``items``, or none. To be called from one thread."""
        if self._closing or len(self._waiting) + len(items) > self._capacity:
            self.dropped += len(items)
            return
        self._waiting.extend(items)
        if len(self._waiting) >= self._batch and not self._wake.is_set():
            self._wake.set()

    def close(self, within_s: float) -> None:
        """Take nothing more, and wait for what is queued: for so many seconds at most."""
        self._closing = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(within_s)

    def _run(self) -> None:
        while True:
            self._wake.wait(self._interval_s)
            self._wake.clear()
            last = self._closing
            while self._waiting:
                count = min(self._batch, len(self._waiting))
                self._hand_over([self._waiting.popleft() for _ in range(count)])
            if last:
                return

    def _hand_over(self, items: Sequence[Item]) -> None:
        try:
            self._take(items)
        except Exception:  # a defect at one batch must not end the thread: the rest would pile up
            logger(self._name).exception("a batch was lost", items=len(items))
