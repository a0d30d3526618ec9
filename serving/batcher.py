"""Work-conserving batching: whatever arrived while the engine was busy forms the next run.

Nobody waits for company. A request shares a run only with requests of the same key, and gets its
own rows of the outputs back; when a shared run fails, its requests are run alone, and only the
guilty one gets the error.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

import numpy as np

from protocol.errors import Code, TollwayError
from serving.account import BatchSizes
from serving.call import Call, Results
from serving.cost import Cost
from serving.tensors import Array

MAX_ROWS: Final = 1024
LOOK_PAST: Final = 256
"""Requests of other keys that may be looked past for company; bounds the work of one take."""
FEW: Final = 4
"""Requests of a failed run that are each run alone at once; more are halved first."""
BUSY_S: Final = 0.010
"""A shared run is kept below this predicted length: beyond it merging saves little more, and
everybody waits for the last row."""


class Runner(Protocol):
    """The part of :class:`serving.session.Session` that batching needs."""

    def run(self, feeds: list[Array | None]) -> list[Array | None]:
        """Outputs for the inputs, None for an optional one that the run did not give. Raises
        ``TollwayError`` when the graph fails on them."""
        ...


class Batcher:
    """The queue before a session, and the runs of what is taken from it."""

    def __init__(
        self,
        runner: Runner,
        clock_ns: Callable[[], int],
        *,
        merging: bool,
        why_not: str = "",
        cost: Cost | None = None,
        max_requests: int = 1024,
        max_bytes: int = 256 << 20,
        max_rows: int = MAX_ROWS,
        longest_s: float = BUSY_S,
    ) -> None:
        """``merging``: rows of requests may share runs (``why_not`` if they may not), which are
        kept below ``longest_s``."""
        self.runner = runner
        """Also for what is run beside the queue: from whichever thread runs, one at a time."""
        self._clock_ns = clock_ns
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._max_rows = max_rows
        self._longest_s = longest_s
        self._queue: deque[Call] = deque()
        self._queued_bytes = self._queued_rows = 0
        self._mergeable = merging
        self._why_not = why_not
        self.cost = cost or Cost()
        self.runs = 0
        self.rows = 0
        self.run_ns = 0
        self.batches = BatchSizes(max_rows)

    def beside(self, longest_s: float) -> "Batcher":
        """One over the same runner and learnt costs, with a queue and counts of its own."""
        return Batcher(
            self.runner,
            self._clock_ns,
            merging=self._mergeable,
            why_not=self._why_not,
            cost=self.cost,
            max_rows=self._max_rows,
            longest_s=longest_s,
        )

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def batching(self) -> tuple[bool, str]:
        """Whether runs are shared at present, and why."""
        if not self._mergeable:
            return False, self._why_not
        return self.cost.pays, self.cost.reason

    @property
    def cause(self) -> str:
        """The same in a word: ``pays``, ``costs``, ``graph``."""
        if not self._mergeable:
            return "graph"
        return "pays" if self.cost.pays else "costs"

    @property
    def merging(self) -> bool:
        """Whether rows of requests may share runs at all."""
        return self._mergeable

    def stop_merging(self, why: str) -> None:
        """Share no run any more, for good."""
        self._mergeable = False
        self._why_not = why

    def full(self, body_bytes: int) -> bool:
        """Whether one more request of this size would pass the queue's bounds."""
        return len(self._queue) >= self._max_requests or (
            self._queued_bytes + body_bytes > self._max_bytes and len(self._queue) > 0
        )

    def add(self, call: Call) -> None:
        """Queue a decoded request."""
        self._queue.append(call)
        self._queued_bytes += call.size
        self._queued_rows += call.rows

    def _leaves(self, call: Call) -> None:
        self._queued_bytes -= call.size
        self._queued_rows -= call.rows

    def take(self) -> tuple[list[Call], list[Call]]:
        """The next requests to run together, and those whose deadline passed while they waited.

        Cancelled requests are dropped. Requests that cannot share the run keep their places.
        """
        now = self._clock_ns()
        late: list[Call] = []
        group: list[Call] = []
        queue = self._queue
        merge = True
        left: list[Call] = []
        rows, room = 0, self._max_rows
        while queue:
            call = queue.popleft()
            if call.cancelled:
                self._leaves(call)
                continue
            if call.deadline_ns and now >= call.deadline_ns:
                self._leaves(call)
                late.append(call)
                continue
            if not group:
                merge = self._may_merge(call, alone=not queue)
                room = self._room()
            elif rows + call.rows > room:
                queue.appendleft(call)
                break
            elif call.key != group[0].key:
                left.append(call)
                if len(left) >= LOOK_PAST:
                    break
                continue
            call.taken_ns = now
            self._leaves(call)
            group.append(call)
            rows += call.rows
            if not merge or rows >= room:
                break
        if left:
            queue.extendleft(reversed(left))
        return group, late

    def _may_merge(self, first: Call, *, alone: bool) -> bool:
        # Who is alone says nothing of merging: that would be a trial for nothing.
        return self._mergeable and first.key is not None and (alone or self.cost.merge_now())

    def _room(self) -> int:
        """Rows that a shared run may have."""
        cost = self.cost
        if cost.row_s <= 0:
            return self._max_rows
        return min(self._max_rows, max(int((self._longest_s - cost.fixed_s) / cost.row_s), 1))

    def predict(self, group: list[Call]) -> float:
        """Seconds that running ``group`` will take, as far as runs so far tell."""
        return self.cost.predict(sum(call.rows for call in group))

    def backlog_s(self, rows: int) -> float:
        """Seconds of runs until a request of ``rows`` rows that came now would have run."""
        cost = self.cost
        requests, rows = len(self._queue) + 1, self._queued_rows + rows
        runs_s = rows * cost.row_s
        if requests > 1 and not (self._mergeable and cost.pays):
            return requests * cost.fixed_s + runs_s
        one_s = cost.fixed_s + runs_s
        if requests == 1 or (one_s <= self._longest_s and rows <= self._max_rows):
            return one_s  # nearly always: this is asked for every request
        return min(requests, -(-rows // self._room())) * cost.fixed_s + runs_s

    def run(self, group: list[Call]) -> list[Exception]:
        """Run ``group`` and give each of its calls results or an error; never raises.

        A shared run that fails is halved until the guilty are alone. Returns defects, for the log:
        what was raised that is no answer to a client. Their calls get ``INTERNAL``.
        """
        defects: list[Exception] = []
        waiting = [group]
        while waiting:
            part = waiting.pop()
            if len(part) > 1 and self._mergeable:
                try:
                    if self._run_shared(part):
                        continue
                except TollwayError:
                    pass  # somebody's rows made it fail: find out whose
                except Exception as error:  # or there was no memory for so many
                    defects.append(error)
            if self._mergeable and len(part) > FEW:
                middle = len(part) // 2
                waiting += (part[middle:], part[:middle])
                continue
            for call in part:
                if not call.cancelled:
                    self._run_alone(call, defects)
        return defects

    def _run_shared(self, group: list[Call]) -> bool:
        """One run for all. False when the outputs do not follow the rows after all."""
        begun = self._clock_ns()
        rows = sum(call.rows for call in group)
        feeds: list[Array | None] = []
        for parts in zip(*(call.feeds for call in group), strict=True):
            present = [part for part in parts if part is not None]
            feeds.append(np.concatenate(present) if present else None)
        arrays = self.runner.run(feeds)
        run_ns = self._clock_ns() - begun
        self._count(rows, len(group), run_ns)
        if any(array is None or not array.ndim or array.shape[0] != rows for array in arrays):
            self.stop_merging("an output's first dimension does not follow the input's")
            return False
        results = Results(arrays, run_ns, shared=True, rows=rows, requests=len(group))
        start = 0
        for call in group:
            call.results = results
            call.start = start
            start += call.rows
            call.stop = start
        return True

    def _run_alone(self, call: Call, defects: list[Exception]) -> None:
        begun = self._clock_ns()
        try:
            arrays = self.runner.run(call.feeds)
        except TollwayError as error:
            call.error = error
            return
        except Exception as error:  # a defect, or no memory: nobody may be left without an answer
            defects.append(error)
            call.error = internal()
            return
        run_ns = self._clock_ns() - begun
        self._count(call.rows, 1, run_ns)
        call.results = Results(arrays, run_ns, shared=False, rows=call.rows)
        call.start, call.stop = 0, call.rows

    def _count(self, rows: int, requests: int, run_ns: int) -> None:
        # A run of no rows costs what a run of one does, and would divide by its rows.
        self.cost.observe(max(rows, 1), requests, run_ns * 1e-9)
        self.runs += 1
        self.rows += rows
        self.run_ns += run_ns
        self.batches.ran(rows, run_ns)


def internal() -> TollwayError:
    """The answer to a request that met a defect."""
    return TollwayError(Code.INTERNAL, "internal error")


def queue_full() -> TollwayError:
    """The answer to a request that found no place."""
    return TollwayError(Code.QUEUE_FULL, "queue full")


def too_late() -> TollwayError:
    """The answer to a request that waited beyond its deadline."""
    return TollwayError(Code.DEADLINE_EXCEEDED, "the deadline passed before the model could run")


def too_many_rows(rows: int, limit: int) -> TollwayError:
    """The answer to a request with more rows than its caller's plan allows."""
    return TollwayError(
        Code.TOO_LARGE,
        f"the request has {rows} rows, and the plan allows {limit} in one (max_rows): split it",
    )
