"""The usage log: a record of every answered request is on disk before its answer leaves.

Records of one event-loop tick are written by one ``write``; then their answers are released. A
process that is killed loses no acknowledged request: what was written is in the kernel's hands.
"""

import asyncio
import os
import secrets
from collections.abc import Callable
from pathlib import Path

import msgspec

from gateway.answer import Answer
from policies.base import Call
from protocol.failures import Failure
from protocol.frames import Operation
from protocol.usage import UsageRecord
from runtime.logs import logger

SUFFIX = ".usage"
CLOSED = -1
_encode = msgspec.json.Encoder().encode


def record_of(
    call: Call,
    answer: Answer,
    at_ms: int,
    rows: int,
    queue_us: int,
    infer_us: int,
    total_us: int,
    limit: str = "",
) -> UsageRecord:
    """What is recorded of the answer to an identified call."""
    identity = call.identity
    assert identity is not None
    return UsageRecord(
        at_ms,
        identity.application,
        identity.key,
        call.model,
        call.version,
        call.variant,
        answer.status,
        rows,
        queue_us,
        infer_us,
        total_us,
        call.bytes_in,
        len(answer.body),
        call.prediction_id.decode(),
        "" if call.plan is None else call.plan.name,
        answer.failure is Failure.BACKEND,
        call.operation == Operation.V1_EXPLAIN,
        limit,
    )


class UsageLog:
    """Appends records to numbered segments in ``folder``."""

    def __init__(self, folder: Path, *, segment_bytes: int, now: Callable[[], float]) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._now = now
        self._loop = asyncio.get_running_loop()
        self._records: list[UsageRecord] = []
        self._waiting: list[Callable[[bool], None]] = []
        self._descriptor = CLOSED
        self.segment = ""
        """Name of the segment that is being written."""
        self.written = 0
        """Bytes in it."""
        self.failures = 0
        """Writes that failed; their requests were answered 503."""
        self._open_segment()

    def append(self, record: UsageRecord, release: Callable[[bool], None]) -> None:
        """Write ``record`` at the end of this tick, then call ``release(True)``; ``release(False)``
        when it could not be written, and the request must not be acknowledged."""
        if not self._records:
            self._loop.call_soon(self.flush)
        self._records.append(record)
        self._waiting.append(release)

    def flush(self) -> None:
        """Write what is appended now, instead of at the end of this tick."""
        if self._records:
            self._flush()

    def roll(self) -> None:
        """Close the segment and begin the next: nothing more is written to the present one."""
        self._open_segment()

    def close(self) -> None:
        """Write what is left, and close the segment. What comes later is not recorded."""
        self.flush()
        os.close(self._descriptor)
        self._descriptor = CLOSED

    def _flush(self) -> None:
        records, self._records = self._records, []
        waiting, self._waiting = self._waiting, []
        data = b"\n".join(map(_encode, records)) + b"\n"
        try:
            self._write(data)
            recorded = True
        except OSError:
            self.failures += 1
            recorded = False
        for release in waiting:
            try:
                release(recorded)
            except Exception:  # a defect at one request's end must not keep the others waiting
                logger("usage").exception("an answer could not be let go")

    def _write(self, data: bytes) -> None:
        if self.written and self.written + len(data) > self._segment_bytes:
            self._open_segment()
        done = 0
        try:
            while done < len(data):
                done += os.write(self._descriptor, data[done:])
        except OSError:
            # Requests that are answered 503 must not be counted: take the half-written batch back.
            if self._descriptor != CLOSED:
                try:
                    os.ftruncate(self._descriptor, self.written)
                except OSError:
                    # What follows half a line would be lost with it: the next batch begins anew.
                    self.written = self._segment_bytes
            raise
        self.written += done

    def _open_segment(self) -> None:
        # Names sort by time, so that the oldest is shipped first.
        segment = f"{int(self._now() * 1000):014d}-{secrets.token_hex(4)}"
        opened = os.open(
            self._folder / (segment + SUFFIX),
            os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND,
            0o600,
        )
        # Only now: an open that fails leaves the present segment in use.
        if self._descriptor != CLOSED:
            os.close(self._descriptor)
        self._descriptor, self.segment, self.written = opened, segment, 0
