"""What operators see of single predictions: traces and the access log. It changes no answer."""

from collections.abc import Callable

from gateway.access_log import AccessLog, Line
from gateway.tracing import Tracing
from policies.base import Call
from policies.chain import Decided
from protocol.errors import TollwayError
from protocol.frames import Frame
from protocol.usage import UsageRecord


class Observer:
    """Notes calls that begin and end. What is not configured costs a comparison."""

    def __init__(
        self, access: AccessLog, tracing: Tracing | None, now: Callable[[], float]
    ) -> None:
        """``now`` gives UNIX seconds."""
        self._access = access
        self._now = now
        self._lowest_status = access.lowest_status
        self._tracing = tracing

    def begins(self, call: Call, admitted: Decided) -> Decided:
        """A call is about to be judged; returns what to tell of the judgement."""
        return admitted if self._tracing is None else self._tracing.begin(call, admitted)

    def answered(self, call: Call, record: UsageRecord, reply: Frame | TollwayError) -> None:
        """A call of a known caller was answered."""
        if record.status >= self._lowest_status:
            trace = call.trace
            self._access.put(
                Line(
                    record,
                    call.request_id or call.prediction_id,
                    0 if trace is None else trace.context.trace_id,
                    call.client,
                    reply.code if isinstance(reply, TollwayError) else None,
                )
            )
        if call.trace is not None:
            assert self._tracing is not None
            self._tracing.finish(call, record)

    def refused(self, call: Call, error: TollwayError, seconds: float) -> None:
        """A call was refused before its caller was known. It is not traced: nobody who is not known
        gets to fill the queue of spans."""
        if error.status >= self._lowest_status:
            record = UsageRecord(
                at_ms=int(self._now() * 1000),
                application="",
                key="",
                model="",  # what strangers make up is not repeated
                version=0,
                variant="",
                status=error.status,
                rows=0,
                queue_us=0,
                infer_us=0,
                total_us=int(seconds * 1e6),
                bytes_in=0,
                bytes_out=0,
                prediction_id=call.prediction_id.decode(),
            )
            request_id = call.request_id or call.prediction_id
            self._access.put(Line(record, request_id, 0, call.client, error.code))
