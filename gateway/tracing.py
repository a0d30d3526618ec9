"""Traces of predictions: which requests are sampled, and the spans that are made of them.

    predict            server    headers to answer; a child of the caller's span, or a root
      policies         internal  until the call is admitted or refused
      upstream         client    sent to an engine until its reply
        engine         server    the engine's part, in the engine's name
          decode       internal  body to tensors
          queue        internal  waiting for a run
          infer        internal  the run that it had a part in
          encode       internal  tensors to body

The engine tells durations, not times (see :class:`protocol.frames.EngineTrace`): its span stands in
the middle of ``upstream``, so that no clock of another host can put it outside.
"""

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Literal, NamedTuple, Protocol

from policies.base import Call
from policies.chain import Decided
from protocol.errors import TollwayError
from protocol.frames import EngineTrace, Operation
from protocol.trace_context import TraceContext, parse_traceparent, parse_tracestate
from protocol.usage import UsageRecord
from runtime.trace import Trace

SpanKind = Literal["server", "client", "internal"]
Attributes = dict[str, str | int | bool]

GATEWAY: Final = "tollway-gateway"
ENGINE: Final = "tollway-engine"
"""``service.name`` of the spans."""
SERVER_ERROR: Final = 500
ROUTES: Final = {
    Operation.V2_INFER: "/v2/models/{model}/infer",
    Operation.V1_PREDICT: "/v1/models/{model}:predict",
    Operation.V1_EXPLAIN: "/v1/models/{model}:explain",
}


class Span(NamedTuple):
    """A finished span. Times in UNIX nanoseconds."""

    name: str
    kind: SpanKind
    service: str
    trace_id: int
    span_id: int
    parent_id: int
    """0: a root."""
    remote_parent: bool
    start_ns: int
    end_ns: int
    attributes: Attributes
    failed: bool
    state: list[tuple[str, str]]


class SpanSink(Protocol):
    """Where finished spans go; must not block."""

    def put(self, spans: Sequence[Span]) -> None:
        """Take the spans of one request, or count them as dropped."""


class Tracing:
    """Samples calls, and makes spans of those that it sampled."""

    def __init__(
        self,
        sink: SpanSink,
        ratio: float,
        *,
        now: Callable[[], float],
        monotonic: Callable[[], float],
        bits: Callable[[int], int] = random.getrandbits,
    ) -> None:
        """``ratio``: part of the requests that begin a trace of their own when their caller has
        none. ``now`` gives UNIX seconds, ``bits`` random numbers of so many bits."""
        self._sink = sink
        self._below = int(ratio * (1 << 64))
        self._now = now
        self._monotonic = monotonic
        self._bits = bits

    def begin(self, call: Call, admitted: Decided) -> Decided:
        """Decide whether the call is sampled: as its caller's trace is; for a trace that begins
        here, by the ratio. Returns what to tell when it is admitted."""
        parent = parse_traceparent(call.traceparent) if call.traceparent else None
        if parent is None:
            trace_id = self._bits(128) or 1
            if (trace_id & ((1 << 64) - 1)) >= self._below:
                return admitted
        elif parent.sampled:
            trace_id = parent.trace_id
        else:
            return admitted
        # A tracestate without a valid traceparent means nothing.
        state = parse_tracestate(call.tracestate) if parent is not None else []
        context = TraceContext(trace_id, self._new_id(), sampled=True)
        upstream = TraceContext(trace_id, self._new_id(), sampled=True)
        call.trace = trace = Trace(context, upstream, parent, state)
        return partial(self._admitted, trace, admitted)

    def _admitted(self, trace: Trace, admitted: Decided, refusal: TollwayError | None) -> None:
        trace.admitted = self._monotonic()
        admitted(refusal)

    def _new_id(self) -> int:
        return self._bits(64) or 1

    def finish(self, call: Call, record: UsageRecord) -> None:
        """Make the spans of an answered call that is sampled."""
        trace = call.trace
        assert trace is not None
        end = self._monotonic()
        spans = _Spans(trace, self._now() - end, self._new_id)
        parent = trace.parent
        spans.add(
            "predict",
            "server",
            call.started,
            end,
            id=trace.context.span_id,
            under=0 if parent is None else parent.span_id,
            remote=parent is not None,
            attributes=_attributes(call, record),
            failed=record.status >= SERVER_ERROR,
        )
        spans.add("policies", "internal", call.started, trace.admitted)
        if trace.sent:
            sends: Attributes = {"tollway.sends": trace.sends}
            upstream = trace.upstream.span_id
            spans.add("upstream", "client", trace.sent, end, id=upstream, attributes=sends)
            if trace.engine is not None:
                spans.add_engine(upstream, trace.engine, trace.sent, end, record)
        self._sink.put(spans.made)


class _Spans:
    """The spans of one request. Moments are seconds of the monotonic clock."""

    def __init__(self, trace: Trace, offset_s: float, new_id: Callable[[], int]) -> None:
        self._trace = trace
        self._offset_s = offset_s
        self._new_id = new_id
        self.made: list[Span] = []

    def add(
        self,
        name: str,
        kind: SpanKind,
        start: float,
        stop: float,
        *,
        id: int = 0,
        under: int | None = None,
        remote: bool = False,
        attributes: Attributes | None = None,
        service: str = GATEWAY,
        failed: bool = False,
    ) -> int:
        """Add a span, a child of the request's own where ``under`` does not say otherwise. Returns
        its id."""
        id = id or self._new_id()
        mine = self._trace.context
        self.made.append(
            Span(
                name,
                kind,
                service,
                mine.trace_id,
                id,
                mine.span_id if under is None else under,
                remote,
                int((start + self._offset_s) * 1e9),
                int((stop + self._offset_s) * 1e9),
                attributes or {},
                failed,
                self._trace.state,
            )
        )
        return id

    def add_engine(
        self, under: int, told: EngineTrace, sent: float, replied: float, record: UsageRecord
    ) -> None:
        """The engine's spans, in the middle of the time that was waited for it."""
        total = told.total_us / 1e6
        begun = sent + max(0.0, replied - sent - total) / 2
        decoded = begun + told.decode_us / 1e6
        taken = decoded + told.queue_us / 1e6
        end = begun + total
        model: Attributes = {"tollway.model": record.model, "tollway.version": record.version}
        run: Attributes = {
            "tollway.batch.rows": told.batch_rows,
            "tollway.batch.requests": told.batch_requests,
        }
        parent = self.add(
            "engine", "server", begun, end, under=under, remote=True, attributes=model,
            service=ENGINE,
        )  # fmt: skip
        for name, start, stop, attributes in (
            ("decode", begun, decoded, None),
            ("queue", decoded, taken, None),
            ("infer", taken, taken + told.run_us / 1e6, run),
            ("encode", end - told.encode_us / 1e6, end, None),
        ):
            self.add(
                name, "internal", start, stop, under=parent, attributes=attributes, service=ENGINE
            )


def _attributes(call: Call, record: UsageRecord) -> Attributes:
    """By the semantic conventions for HTTP servers, and our own. No credential, no body."""
    found: Attributes = {
        "http.request.method": "POST",
        "http.route": ROUTES[Operation(call.operation)],
        "http.response.status_code": record.status,
        "http.request.body.size": record.bytes_in,
        "http.response.body.size": record.bytes_out,
        "tollway.model": record.model,
        "tollway.version": record.version,
        "tollway.variant": record.variant,
        "tollway.application": record.application,
        "tollway.rows": record.rows,
        "tollway.request_id": (call.request_id or record.prediction_id.encode()).decode(),
        "tollway.prediction_id": record.prediction_id,
    }
    if record.status >= SERVER_ERROR:
        found["error.type"] = str(record.status)
    return found
