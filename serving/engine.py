"""The engine's path: frames in -> decode -> batch -> run -> encode -> frames out.

Everything happens in the event loop's thread, except runs that take milliseconds, which go to one
worker thread so that the loop goes on reading (and decoding, so that the next batch is ready).
An engine's process begins in :mod:`serving.start`.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Final

from protocol.errors import TollwayError
from protocol.frames import NO_HEADER, TRACED, Frame, Hello, Operation
from serving.account import Account
from serving.admission import Admission, too_many_rows_in_time
from serving.batcher import Batcher, internal, queue_full, too_late, too_many_rows
from serving.call import Call
from serving.connection import Connection
from serving.contract import Contracts
from serving.explanations import ExplainSetup
from serving.low_priority import LowPriority
from serving.meter import Progress
from serving.sentinel import Sentinel
from serving.signature import Signature, malformed
from serving.statistics import statistics, told
from serving.v1 import V1
from serving.v2_binary import V2Binary
from serving.v2_json import V2Json
from serving.v2_reply import V2Replies

INLINE_S: Final = 0.002
"""Runs predicted to be shorter happen in the loop's thread: a thread hop would cost more."""
TURN_NS: Final = 1_000_000
"""Runs of one turn may add up to this much before the loop gets to read again."""
MAX_US: Final = 0xFFFFFFFF
_V2_INFER: Final = int(Operation.V2_INFER)  # comparing with an enum costs more than with an int
_V1_EXPLAIN: Final = int(Operation.V1_EXPLAIN)


class Engine:
    """One loaded model behind its connections."""

    def __init__(
        self,
        signature: Signature,
        batcher: Batcher,
        hello: Hello,
        *,
        threads: tuple[int, str] = (1, ""),
        sentinel: Sentinel | None = None,
        raise_alert: Callable[[str], None] | None = None,
        cluster_token: bytes | None = None,
        explain: ExplainSetup | None = None,
        max_frame_bytes: int = 256 << 20,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        report_defect: Callable[[BaseException], None],
    ) -> None:
        """``threads``: of a run inside the runtime, and why so many. ``raise_alert`` is told, once,
        when ``sentinel`` has found that runs must not be shared; ``report_defect`` gets every
        exception that is not an answer to the client."""
        self.hello = hello
        self.threads = threads
        self.cluster_token = cluster_token
        self.max_frame_bytes = max_frame_bytes
        self.connections: set[Connection] = set()
        self.contracts = Contracts(signature)
        self._signature = signature
        self._batcher = batcher
        self._admission = Admission(batcher, clock_ns)
        self._sentinel = sentinel
        self._raise_alert = raise_alert
        self._clock_ns = clock_ns
        self._report_defect = report_defect
        replies = V2Replies(signature)
        self._v2_json = V2Json(signature, replies)
        self._v2_binary = V2Binary(signature, replies)
        self._v1 = V1(signature)
        self._account = Account()
        self._low = LowPriority(
            signature,
            batcher,
            self._decode,
            self._v1,
            contracts=self.contracts,
            account=self._account,
            explain=explain or ExplainSetup(),
            instance=hello.instance,
            clock_ns=clock_ns,
            report_defect=report_defect,
        )
        self.shadows = self._low.shadows
        self.shadows.wake = self._schedule
        self._scheduled = False
        self._thread: ThreadPoolExecutor | None = None
        self._in_thread = False
        self._last_inference_ms = 0
        self.on_work: Callable[[], None] | None = None
        """Called by the next request that comes, once."""

    # frames in -> decode -> queue

    def infer(self, connection: Connection, frame: Frame) -> None:
        """Decode a request and queue it, or answer at once why not.

        A deadline that the queue alone makes unreachable is told before anything is decoded.
        """
        if self.on_work is not None:
            on_work, self.on_work = self.on_work, None
            on_work()
        arrived = self._clock_ns()
        size = len(frame.body)
        left_s = frame.a / 1000
        if frame.id in connection.calls:
            connection.abort()  # two answers of one id could reach the wrong clients
            return
        if frame.flags & ~TRACED == _V1_EXPLAIN:
            self._low.explanations.take(connection, frame)
            self._schedule()
            return
        expected = self._admission.expects(1, arrived)
        if left_s and (needed := self._admission.late(expected, left_s, arrived)):
            self._account.turns_away()
            told_s = self._admission.until_taken(expected, needed, left_s)
            connection.turn_away(frame.id, min(int(told_s * 1e6), MAX_US))
            return
        try:
            if self._batcher.full(size):
                raise queue_full()
            call = self._read(frame)
        except TollwayError as error:
            self._refuse(connection, frame.id, error, arrived)
            return
        except Exception as error:  # a defect must not leave the request hanging
            self._report_defect(error)
            self._refuse(connection, frame.id, internal(), arrived)
            return
        decoded = self._clock_ns()
        self._admission.decoded(decoded - arrived)
        if call.rows > 1:
            expected = self._admission.expects(call.rows, decoded)
            if left_s and self._admission.late(expected, left_s, decoded):
                self._refuse(connection, frame.id, too_many_rows_in_time(call.rows), arrived)
                return
        call.expected_s = expected
        call.sink = connection
        call.id = frame.id
        call.size = size
        call.arrived_ns = arrived
        call.decode_ns = decoded - arrived
        call.traced = frame.flags >= TRACED
        if frame.a:
            call.deadline_ns = arrived + frame.a * 1_000_000
        connection.calls[frame.id] = call
        self._batcher.add(call)
        self._schedule()

    def _read(self, frame: Frame) -> Call:
        call = self._decode(frame)
        if frame.c and call.rows > frame.c:
            raise too_many_rows(call.rows, frame.c)
        if (contract := self.contracts.present) is not None:
            call.warned = not contract.check(call)
        return call

    def _refuse(
        self, connection: Connection, id: int, error: TollwayError, arrived_ns: int
    ) -> None:
        self._account.fails(error, self._clock_ns() - arrived_ns)
        connection.refuse(id, error)

    def cancel(self, call: Call) -> None:
        """Nobody waits for the answer any more: what has not begun is not done."""
        call.cancelled = True
        self._account.cancels()

    def _decode(self, frame: Frame) -> Call:
        operation = frame.flags & ~TRACED
        if operation == _V2_INFER:
            if frame.b == NO_HEADER:
                return self._v2_json.decode(frame.body)
            return self._v2_binary.decode(frame.body, frame.b)
        if operation == Operation.V1_PREDICT:
            return self._v1.decode(frame.body)
        raise malformed(f"this engine knows no operation {operation}")

    # shadows

    def shadow(self, connection: Connection, frame: Frame) -> None:
        """Queue what other versions have answered, for when there is nothing to predict."""
        self.shadows.take(connection, frame)
        self._schedule()

    def disagreements(self, acknowledged: int) -> bytes:
        """What was compared, see :data:`protocol.frames.Kind.DISAGREEMENTS`."""
        return self.shadows.summary(acknowledged)

    # batch -> run

    def _turn(self) -> None:
        """Run what has arrived. Requests that come meanwhile form the next batch."""
        self._scheduled = False
        try:
            self._run_some()
        finally:  # also after a defect: who waits must not wait for the next request to come
            if len(self._batcher) or self._low.due:
                self._schedule()

    def _run_some(self) -> None:
        until = self._clock_ns() + TURN_NS
        if not self._in_thread:
            self._look_again()
        while not self._in_thread:
            group, late = self._batcher.take()
            for call in late:
                self._fail(call, too_late())
            if not group:
                self._low.work(self._begin, INLINE_S)
                return
            self._admission.begins(group)
            if self._batcher.predict(group) >= INLINE_S:
                self._begin(partial(self._run, group), partial(self._answer, group))
                return
            self._run(group)
            self._answer(group)
            if self._clock_ns() >= until:
                return

    def _schedule(self) -> None:
        if not self._scheduled and not self._in_thread:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _run(self, group: list[Call]) -> None:
        for defect in self._batcher.run(group):
            self._report_defect(defect)

    def _begin(self, work: Callable[[], None], then: Callable[[], None]) -> None:
        """Do ``work`` in the thread, ``then`` in the loop, and go on with what has arrived."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "run")
        self._in_thread = True
        loop = asyncio.get_running_loop()

        def done(_: Future[None]) -> None:
            loop.call_soon_threadsafe(self._thread_done, then)

        self._thread.submit(work).add_done_callback(done)

    def _thread_done(self, then: Callable[[], None]) -> None:
        self._in_thread = False
        try:
            then()
        finally:
            self._turn()

    def _look_again(self) -> None:
        """Compare a sample of an earlier shared run, whose answers have left, with rows alone."""
        sentinel = self._sentinel
        if sentinel is None or not sentinel.rows_due:
            return
        if self._batcher.cost.predict(sentinel.rows_due) >= INLINE_S:
            self._begin(self._compare, lambda: None)
        else:
            self._compare()

    def _compare(self) -> None:
        assert self._sentinel is not None
        try:
            difference = self._sentinel.check()
        except Exception as error:  # a defect of the comparison says nothing of the model
            self._report_defect(error)
            return
        if difference and self._batcher.merging:
            why = f"a row's answer depends on the other rows of its run: {difference}"
            self._batcher.stop_merging(why)
            if self._raise_alert is not None:
                self._raise_alert(why)

    # encode -> frames out

    def _answer(self, group: list[Call]) -> None:
        now = self._clock_ns()
        self._last_inference_ms = time.time_ns() // 1_000_000
        touched = set()
        succeeded = arrived_ns = waited_ns = decode_ns = infer_ns = 0
        for call in group:
            results, sink = call.results, call.sink
            if call.cancelled or sink is None:
                continue
            if results is None:
                self._fail(call, call.error or internal())
                continue
            begun = self._clock_ns() if call.traced else 0
            try:
                body, header_bytes = call.encoder.encode(results, call.start, call.stop)
            except TollwayError as error:
                self._fail(call, error)
                continue
            except Exception as error:  # a defect: see infer()
                self._report_defect(error)
                self._fail(call, internal())
                continue
            queued = call.taken_ns - call.arrived_ns
            if call.traced:
                sink.trace(call, told(call, results, begun, self._clock_ns()))
            sink.reply(
                call,
                200,
                body,
                queue_us=min(queued // 1000, MAX_US),
                infer_us=min(results.run_ns // 1000, MAX_US),
                header_bytes=header_bytes,
                shared=results.shared,
            )
            touched.add(sink)
            succeeded += 1
            arrived_ns += call.arrived_ns
            waited_ns += queued
            decode_ns += call.decode_ns
            infer_ns += results.run_ns
        for sink in touched:
            sink.flush()
        done = self._clock_ns()
        self._account.succeeds(
            succeeded,
            arrived_ns=arrived_ns,
            waited_ns=waited_ns,
            decode_ns=decode_ns,
            infer_ns=infer_ns,
            output_ns=done - now,
            now_ns=done,
        )
        first = group[0].results
        if first is not None and first is group[-1].results:  # else runs failed, and were repeated
            self._batcher.batches.answered(first.rows, decode_ns, done - now)
        self._admission.ends(group, done - now, done)
        if self._sentinel is not None and self._batcher.merging:
            self._sentinel.watch(group)
            if self._sentinel.rows_due:
                self._schedule()

    def _fail(self, call: Call, error: TollwayError) -> None:
        if call.sink is not None and not call.cancelled:
            now = self._clock_ns()
            self._account.fails(error, now - call.arrived_ns)
            waited = (call.taken_ns or now) - call.arrived_ns
            call.sink.refuse(call.id, error, queue_us=min(waited // 1000, MAX_US))

    # state

    @property
    def idle(self) -> bool:
        """Whether nothing that somebody waits for is queued or running."""
        return not (self._in_thread or len(self._batcher) or self._low.explanations.due)

    def progress(self) -> Progress:
        """Counts since the start, for :class:`serving.meter.Meter`."""
        batcher, account = self._batcher, self._account
        waiting = len(batcher) > 0
        return Progress(
            account.succeeded + self._low.explanations.stats.answered,
            account.failed,
            account.queue_ns + account.input_ns,
            batcher.runs,
            batcher.run_ns,
            self._admission.refused,
            self._admission.expects(1, self._clock_ns()) if waiting else 0.0,
            self.idle,
        )

    def stats(self) -> bytes:
        """Counts since the start, as JSON of :class:`protocol.frames.EngineStats`."""
        return statistics(
            self._account,
            self._batcher,
            self._sentinel,
            turned_away=self._admission.refused,
            last_inference_ms=self._last_inference_ms,
            threads=self.threads,
            contract=self.contracts.stats(),
            explanations=self._low.explanations.stats,
        )

    def wake(self) -> None:
        """Nothing to do: it serves."""

    def close(self) -> None:
        """End the worker thread, once idle."""
        if self._thread is not None:
            self._thread.shutdown(wait=False)
