"""The way of a prediction request through the gateway, from its headers to its answer.

    identify   who is calling                       policies.identify
    accept     may they call from here              policies.network, environment, origins
    route      which version answers                routing
    authorise  may they use this model and version  policies.subscription, scopes, lifecycle
    admit      headers, size, deadline, limits      policies.request_headers, ..., plan_limits
    forward    the body, to whoever answers         destinations
    record     what was answered                    usage_log, metrics

Knows no web framework: a lane turns its protocol into a :class:`Call` and an :class:`Answer` into
its protocol. :meth:`Invoker.admit` needs the headers only, so that a request is refused before its
body is read. Nothing here blocks: what has to wait goes on in a callback.
"""

from collections.abc import Callable

from gateway.answer import Answer, Headers, engine_answer, error_answer, server_timing
from gateway.capture import Capture
from gateway.catalog import Catalog
from gateway.connection import Exchange
from gateway.endings import EndingHeaders
from gateway.metrics import PredictionMetrics
from gateway.observer import Observer
from gateway.receipts import Receipts
from gateway.routing import Routing, hide_unseen
from gateway.shadowing import Shadowing
from gateway.usage_log import UsageLog, record_of
from policies.base import Call, Policy
from policies.chain import Chain, Decided, defect
from policies.plan_limits import PlanLimitsPolicy
from policies.rows import row_limit
from protocol.errors import STATUS, Code, TollwayError
from protocol.failures import Failure
from protocol.frames import FAILED, Frame
from protocol.usage import LIMITS

Done = Callable[[Answer], None]
_TOO_LARGE = STATUS[Code.TOO_LARGE]


class Invoker:
    """Takes calls through the policies to the engines, and records every answer."""

    def __init__(
        self,
        *,
        identify: Policy,
        accept: list[Policy],
        authorise: list[Policy],
        admission: list[Policy],
        limits: PlanLimitsPolicy,
        catalog: Catalog,
        routing: Routing,
        usage: UsageLog,
        metrics: PredictionMetrics,
        observer: Observer,
        shadowing: Shadowing,
        receipts: Receipts,
        capture: Capture,
        pages: Callable[[Call], Headers],
        now: Callable[[], float],
        monotonic: Callable[[], float],
        default_deadline_ms: int,
    ) -> None:
        """``now`` gives UNIX seconds, ``monotonic`` seconds of the clock that event loops have too.
        (uvloop's own ``time`` stands still during a tick.) ``pages``: headers for a call's page."""
        # A credential that may not be used from here learns nothing of what there is. The caller's
        # right to the model comes before what the version's state allows. Limits come last: only
        # who may call at all can use them up.
        first = (policy.check for policy in (identify, *accept))
        policies = (policy.check for policy in (*authorise, *admission))
        self._chain = Chain([*first, routing.choose, *policies, limits.check])
        self._limits = limits
        self._catalog = catalog
        self._routing = routing
        self._usage = usage
        self._metrics = metrics
        self._observer = observer
        self._shadowing = shadowing
        self._receipts = receipts
        self._capture = capture
        self._pages = pages
        self._now = now
        self._monotonic = monotonic
        self._default_deadline_ms = default_deadline_ms
        self._endings = EndingHeaders()

    def admit(self, call: Call, admitted: Decided) -> None:
        """Identify, route, authorise and admit; ``admitted`` is called exactly once, before this
        returns where no step has to wait. From then on the call's deadline runs."""
        limit_ms = self._default_deadline_ms
        wish_ms = call.deadline_ms
        call.deadline = call.started + (min(wish_ms, limit_ms) if wish_ms else limit_ms) / 1000
        self._chain.run(call, self._observer.begins(call, admitted))

    def forward(self, call: Call, body: bytes, done: Done) -> None:
        """Send an admitted call's body on; ``done`` gets the answer, exactly once."""
        call.bytes_in = len(body)
        exchange = Exchange(
            body,
            call.deadline,
            lambda reply: self._answer(call, reply, done, body),
            flags=call.operation,
            header_length=call.header_length,
            max_rows=row_limit(call),
            trace=call.trace,
            call=call,
        )
        try:
            self._routing.send(call, exchange)
        except TollwayError as error:
            self._answer(call, error, done)
        except Exception as error:
            # A defect must not leave the call without an answer, and its place taken.
            self._answer(call, defect(call, error), done)

    def refuse(self, call: Call, error: TollwayError, done: Done) -> None:
        """Answer a call that was not admitted. Recorded where the caller is known."""
        if call.identity is None:
            self._metrics.refused(error.status)
            self._receipts.name(call)
            answer = error_answer(error, self._headers(call))
            seconds = self._monotonic() - call.started
            answer.headers.append(server_timing(0, 0, seconds))
            self._observer.refused(call, error, seconds)
            done(answer)
            return
        if not call.version:
            hide_unseen(self._catalog, call)
        waiting = self._limits.look(call, error.code)
        if waiting is None:
            self._answer(call, error, done)
        else:
            waiting.add_done_callback(lambda _: self._answer(call, error, done))

    def abandon(self, call: Call) -> None:
        """End a call whose client went away before its body was complete: nobody is answered."""
        self._limits.settle(call, 0, 0, 0)
        if call.version:
            self._metrics.failed(call.model, call.version, Failure.CANCELED)

    def _answer(
        self, call: Call, reply: Frame | TollwayError, done: Done, body: bytes = b""
    ) -> None:
        """Build the answer, record it, and let it go once the record is written."""
        if not self._receipts.name(call):
            reply = _unnamed()
        headers = self._headers(call)
        queue_us = infer_us = rows = 0
        limit = ""
        total = self._monotonic() - call.started
        if isinstance(reply, TollwayError):
            answer = error_answer(reply, headers)
            limit = LIMITS.get(reply.code, "")
        else:
            queue_us, rows = reply.a, reply.c
            infer_us = 0 if reply.flags & FAILED else reply.b  # a failure has its reason there
            answer = engine_answer(reply, headers)
            if reply.status == _TOO_LARGE and row_limit(call) and call.scope == "predict":
                limit = LIMITS[Code.TOO_LARGE]  # of the plan's rows, which the engine counts
        answer.headers.append(server_timing(queue_us, infer_us, total))
        self._limits.settle(call, answer.status, rows, infer_us)
        self._metrics.answered(
            call.model, call.version, answer.status, answer.failure, total, queue_us, infer_us,
            rows, explanation=call.scope == "explain",
        )  # fmt: skip
        now_ms = int(self._now() * 1000)
        record = record_of(call, answer, now_ms, rows, queue_us, infer_us, int(total * 1e6), limit)
        self._usage.append(record, lambda kept: done(answer if kept else _unrecorded(headers)))
        self._observer.answered(call, record, reply)
        self._shadowing.answered(call, reply, body)
        self._capture.answered(call, record, reply, body)

    def _headers(self, call: Call) -> Headers:
        headers: Headers = [
            (b"x-request-id", call.request_id or call.prediction_id),
            (b"tollway-prediction-id", call.prediction_id),
        ]
        if call.version:
            headers.append((b"tollway-version", b"%d" % call.version))
            headers.append((b"tollway-variant", call.variant.encode()))
        if call.deprecation is not None:
            headers += self._endings.of(call.model, call.version, call.deprecation)
        headers += self._limits.headers(call)
        return headers if call.origin is None else headers + self._pages(call)


def _unnamed() -> TollwayError:
    """Decision: an answer that could not be traced to what gave it is not given."""
    return TollwayError(Code.UNAVAILABLE, "receipts cannot be written now: try again soon")


def _unrecorded(headers: Headers) -> Answer:
    """Decision: an answer that cannot be accounted for is not given."""
    unavailable = TollwayError(Code.UNAVAILABLE, "usage cannot be recorded now: try again soon")
    own = (b"content-type", b"inference-", b"retry-after")  # said of the answer that is not given
    return error_answer(unavailable, [h for h in headers if not h[0].startswith(own)])
