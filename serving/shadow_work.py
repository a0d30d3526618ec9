"""An engine's work as a shadow: requests that other versions have answered, below predictions.

Batches wait in a queue of their own, as they came: nothing is decoded before the engine has no
prediction to run. Work is done in slices, and after each the engine rests for as long: it never
holds a processor that a gateway or another engine of the same machine may need for longer than a
slice. Where the queue is full the oldest goes, and what has waited for too long is not done.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from protocol.errors import TollwayError
from protocol.frames import Frame, Kind
from protocol.shadowing import MirrorBatch, Mirrored
from serving.answers import Answers, UnreadableError
from serving.batcher import Batcher
from serving.call import Call
from serving.comparison import Comparison
from serving.connection import Connection
from serving.disagreements import Answered, DisagreementLog, stacked, stacks
from serving.segments import Columns, Segments
from serving.signature import Signature
from serving.tensors import exact_floats

SLICE_NS: Final = 500_000
"""Decoding of one slice ends after this; its run is kept as short, as far as a run can be."""
SLICE_S: Final = SLICE_NS * 1e-9
REST_S: Final = (0.001, 0.010)
"""Least and longest rest."""
MAX_REQUESTS: Final = 2_048
MAX_BYTES: Final = 64 << 20
KNOWN_SEGMENTS: Final = 16
"""Sets of conditions whose meaning is remembered."""

Decode = Callable[[Frame], Call]
Begin = Callable[[Callable[[], None], Callable[[], None]], None]
"""Does its first argument in a thread, then its second in the loop."""


class _Batch:
    """A frame that waits for its answer."""

    __slots__ = ("compared", "connection", "deadline_ns", "dropped", "id", "left", "segments")

    def __init__(
        self, connection: Connection, id: int, left: int, deadline_ns: int, segments: Segments
    ) -> None:
        self.connection = connection
        self.id = id
        self.left = left
        self.deadline_ns = deadline_ns
        self.segments = segments
        self.compared = self.dropped = 0

    def done(self, *, compared: bool) -> None:
        self.compared += compared
        self.dropped += not compared
        self.left -= 1
        if not self.left:
            self.connection.shadowed(self.id, self.compared, self.dropped)


_Waiting = tuple[_Batch, Mirrored]


class ShadowWork:
    """Takes SHADOW frames of one engine, and works them off a slice at a time."""

    def __init__(
        self,
        signature: Signature,
        predictions: Batcher,
        decode: Decode,
        instance: str,
        *,
        clock_ns: Callable[[], int],
        now: Callable[[], float] = time.time,
        report_defect: Callable[[BaseException], None],
    ) -> None:
        """``decode`` makes the call of an INFER; ``now`` gives UNIX seconds."""
        self._predictions = predictions
        self._batcher = predictions.beside(SLICE_S)
        self._decode = decode
        self._answers = Answers(signature)
        self._comparison = Comparison(signature)
        self._columns = Columns(signature)
        self._log = DisagreementLog(signature, self._columns, instance, now)
        self._clock_ns = clock_ns
        self._report_defect = report_defect
        self._segments: dict[tuple[tuple[str, str], ...], Segments] = {}
        self._queue: deque[_Waiting] = deque()
        self._queued_bytes = 0
        self._running: dict[int, _Waiting] = {}
        self._next_id = 0
        self._closed = False
        self._resting = False
        self.wake: Callable[[], None] = lambda: None
        """Called when there is something to do again."""
        self._batches = msgspec.msgpack.Decoder(MirrorBatch)

    @property
    def due(self) -> bool:
        """Whether there is something to do."""
        return not self._resting and (bool(self._queue) or len(self._batcher) > 0)

    def take(self, connection: Connection, frame: Frame) -> None:
        """Queue a frame's requests. Cuts off a peer that sends what is no batch."""
        try:
            batch = self._batches.decode(frame.body)
            segments = self._parsed(batch.segments)
        except (msgspec.DecodeError, TollwayError):
            connection.abort()
            return
        items = batch.items
        deadline_ns = self._clock_ns() + frame.a * 1_000_000
        waiting = _Batch(connection, frame.id, len(items), deadline_ns, segments)
        if not items:
            connection.shadowed(frame.id, 0, 0)
        for item in items:
            self._queue.append((waiting, item))
            self._queued_bytes += _size(item)
        while self._queue and (
            self._closed or len(self._queue) > MAX_REQUESTS or self._queued_bytes > MAX_BYTES
        ):
            self._pop()[0].done(compared=False)

    def close(self) -> None:
        """Drop what waits, and whatever else comes: the engine ends."""
        self._closed = True
        while self._queue:
            self._pop()[0].done(compared=False)

    def summary(self, acknowledged: int) -> bytes:
        """See :meth:`DisagreementLog.summary`."""
        return self._log.summary(acknowledged)

    def work(self, begin: Begin, inline_s: float) -> None:
        """Do one slice; runs that are predicted to take longer than ``inline_s`` in the thread."""
        if not self.due:
            return
        begun = self._clock_ns()
        batcher = self._batcher
        if batcher.merging and not self._predictions.merging:
            batcher.stop_merging("the engine shares no runs")
        if not len(batcher):
            self._decode_some()
        group, _ = batcher.take()
        if group and batcher.predict(group) >= inline_s:
            begin(partial(self._run, group), partial(self._finish, group, begun))
        else:
            self._run(group)
            self._finish(group, begun)

    def _finish(self, group: list[Call], begun_ns: int) -> None:
        self._compare_all(group)
        if self.due:
            spent_s = (self._clock_ns() - begun_ns) * 1e-9
            self._resting = True
            rest_s = min(max(spent_s, REST_S[0]), REST_S[1])
            asyncio.get_running_loop().call_later(rest_s, self._rested)

    def _rested(self) -> None:
        self._resting = False
        self.wake()

    def _run(self, group: list[Call]) -> None:
        for defect in self._batcher.run(group):
            self._report_defect(defect)

    def _compare_all(self, group: list[Call]) -> None:
        answered: list[Answered] = []
        batches: list[_Batch] = []
        for call in group:
            batch, item = self._running.pop(call.id)
            batches.append(batch)
            if call.results is None:
                self._log.failed(item, "failed")
                continue
            try:
                answer = self._answers.read(item.operation, item.answer, item.answer_header_length)
            except UnreadableError:
                self._log.failed(item, "unlike")
                continue
            answered.append(Answered(item, call, answer, batch.segments))
        for alike in stacks(answered):
            try:
                self._compare(alike)
            except Exception as error:  # a defect of the comparison must not end the engine
                self._report_defect(error)
                for one in alike:
                    self._log.failed(one.item, "failed")
        for batch in batches:
            batch.done(compared=True)

    def _compare(self, alike: list[Answered]) -> None:
        """Compare answers of one run that are of one form, all at once."""
        first, last = alike[0].call, alike[-1].call
        results = first.results
        assert results is not None
        rows = sum(one.call.rows for one in alike)
        found = self._comparison.compare(stacked(alike), results, first.start, last.stop, rows)
        if found is None:
            for one in alike:
                self._log.failed(one.item, "unlike")
            return
        self._log.compared(alike, found)

    def _pop(self) -> _Waiting:
        batch, item = self._queue.popleft()
        self._queued_bytes -= _size(item)
        return batch, item

    def _decode_some(self) -> None:
        now = self._clock_ns()
        until = now + SLICE_NS
        with exact_floats():
            while self._queue and now < until and len(self._running) < MAX_REQUESTS:
                batch, item = self._pop()
                if now < batch.deadline_ns:
                    self._decode_one(batch, item)
                else:
                    batch.done(compared=False)
                now = self._clock_ns()

    def _decode_one(self, batch: _Batch, item: Mirrored) -> None:
        try:
            call = self._decode(_as_infer(item))
        except Exception as error:
            if not isinstance(error, TollwayError):  # a defect: see Engine.infer
                self._report_defect(error)
            self._log.failed(item, "refused")
            batch.done(compared=True)
            return
        self._next_id += 1
        call.id = self._next_id
        call.size = len(item.body)
        self._running[call.id] = batch, item
        self._batcher.add(call)

    def _parsed(self, texts: dict[str, str]) -> Segments:
        key = tuple(texts.items())
        found = self._segments.get(key)
        if found is None:
            if len(self._segments) >= KNOWN_SEGMENTS:
                self._segments.clear()
            found = self._segments[key] = Segments.parse(texts, self._columns)
        return found


def _as_infer(item: Mirrored) -> Frame:
    return Frame(Kind.INFER, item.operation, 0, 0, 0, item.header_length, 0, 0, item.body)


def _size(item: Mirrored) -> int:
    return len(item.body) + len(item.answer)
