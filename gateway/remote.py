"""A remote version: another server of the Open Inference Protocol answers for it.

The same interface as the frame client's: :meth:`RemoteVersion.send` takes an exchange and answers
it once, in its deadline. A request whose connection fails before an answer has begun is sent once
more: an inference is pure. A server that is away is not asked until it answers a health check.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

import msgspec

from gateway.connection import Exchange
from gateway.remote_bodies import Outgoing, RemoteBodies
from gateway.remote_messages import MalformedAnswer
from protocol.errors import Code, TollwayError
from protocol.failures import Failure
from protocol.frames import FAILED, MAX_U32, NO_HEADER, EngineStats, Frame, Kind
from protocol.gateways import RemoteReport, RemoteState
from protocol.receipts import Served
from runtime.logs import logger
from runtime.remote_server import HEADER_LENGTH, RemoteAnswer, RemoteFault, RemoteServer
from runtime.targets import TargetRefused
from runtime.trace import Trace

FAULTS_TO_OPEN: Final = 3
"""Faults in a row after which the server is asked nothing but health checks."""
CHECK_TIMEOUT_S: Final = 5.0
MAX_ERROR_CHARACTERS: Final = 1000
RECHECK_MIN_S: Final = 0.25
"""Time to the first check of a server that is away; each further one waits twice as long."""
INLINE_BYTES: Final = 128 << 10
MAX_HEALTH_BYTES: Final = 64 << 10
_OK: Final = 200
_CLIENTS_FAULT: Final = frozenset({400, 413, 422})
"""Refusals that are about the request: the client gets them as they are."""
_AWAY: Final = frozenset({404, 408, 410, 429, 502, 503, 504})
"""What a server answers that could not take the request now, or has the model no more."""


Result = TypeVar("Result")


class RemoteLimits(msgspec.Struct, frozen=True):
    """Bounds that the gateway's settings give."""

    connections: int
    in_flight: int
    response_bytes: int
    check_interval_s: float


class _Ready(msgspec.Struct):
    ready: bool = True


class RemoteVersion:
    """One remote version of a model, as a gateway reaches it. :meth:`run` keeps its health."""

    def __init__(
        self,
        model: str,
        number: int,
        server: RemoteServer,
        bodies: RemoteBodies,
        limits: RemoteLimits,
        *,
        timeout_s: float,
        read_secret: Callable[[], object],
        changed: Callable[[], None],
        digest: str = "",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``read_secret`` gives the server its present credential and may block; ``changed`` is
        told when :attr:`state` has; by ``monotonic`` times are measured: a loop's clock stands
        still during its ticks. ``digest`` is the manifest's."""
        self.state: RemoteState = "starting"
        self.error = ""
        self.retries = 0
        self.faults = 0
        """Requests to which no answer came that could be used."""
        self._model = model
        self._number = number
        self._served = Served(by="remote", model=model, version=number, digest=digest)
        self._named = f"'{model}' version {number}"
        self._server = server
        self._bodies = bodies
        self._limits = limits
        self._timeout_s = timeout_s
        self._read_secret = read_secret
        self._changed = changed
        self._monotonic = monotonic
        self._places = asyncio.Semaphore(limits.connections)
        self._tasks: dict[asyncio.Task[Frame | TollwayError], Exchange] = {}
        self._in_a_row = 0
        self._check_wanted = asyncio.Event()
        self._counts = EngineStats(batching=False, batching_reason="a remote server answers")

    # the way of a request

    def send(self, exchange: Exchange) -> None:
        """Forward, and answer by ``exchange.done``. Raises ``NOT_READY`` or ``QUEUE_FULL``."""
        if self.state != "ready":
            raise self._away()
        if len(self._tasks) >= self._limits.in_flight:
            raise TollwayError(Code.QUEUE_FULL, f"the queue of {self._named} is full: try again")
        task = asyncio.get_running_loop().create_task(self._forward(exchange))
        self._tasks[task] = exchange
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Frame | TollwayError]) -> None:
        exchange = self._tasks.pop(task)
        reply: Frame | TollwayError
        if task.cancelled():
            reply = self._away()
        elif (defect := task.exception()) is not None:
            logger("remote").error("a request failed", model=self._model, error=repr(defect))
            reply = TollwayError(Code.INTERNAL, "an internal error of the gateway")
        else:
            reply = task.result()
        if exchange.call is not None and isinstance(reply, Frame):
            exchange.call.served = self._served
        exchange.done(reply)

    async def _forward(self, exchange: Exchange) -> Frame | TollwayError:
        arrived = self._monotonic()
        reply = await self._answered(exchange, arrived)
        self._count(reply, self._monotonic() - arrived)
        return reply

    async def _answered(self, exchange: Exchange, arrived: float) -> Frame | TollwayError:
        now = asyncio.get_running_loop().time()
        until = min(exchange.deadline, now + self._timeout_s)
        began: float | None = None
        try:
            outgoing = await self._off_loop(
                len(exchange.body),
                partial(
                    self._bodies.outgoing, exchange.body, exchange.b, exchange.flags, exchange.c
                ),
            )
        except TollwayError as error:
            return error
        try:
            async with asyncio.timeout_at(until):
                async with self._places:
                    began = self._monotonic()
                    answer = await self._asked(outgoing, exchange.trace)
            ended = self._monotonic()
            times = (_microseconds(began - arrived), _microseconds(ended - began))
            return await self._reply(answer, times, outgoing)
        except TimeoutError:
            return self._late(exchange, until, asked=began is not None)
        except (RemoteFault, MalformedAnswer) as fault:
            return self._fault(fault)

    async def _asked(self, outgoing: Outgoing, trace: Trace | None) -> RemoteAnswer:
        headers = {"Content-Type": "application/json"}
        if trace is not None:
            headers["traceparent"] = trace.upstream.traceparent.decode()
            if trace.state:
                headers["tracestate"] = ",".join(f"{key}={value}" for key, value in trace.state)
            trace.sent = self._monotonic()
            trace.sends = 1
        if outgoing.header_length != NO_HEADER:
            headers["Content-Type"] = "application/octet-stream"
            headers[HEADER_LENGTH] = str(outgoing.header_length)
        limit = self._limits.response_bytes
        try:
            try:
                return await self._server.post("/infer", headers, outgoing.body, limit)
            except RemoteFault as fault:
                if not fault.unanswered:
                    raise
                self.retries += 1
                if trace is not None:
                    trace.sends = 2
                return await self._server.post("/infer", headers, outgoing.body, limit)
        except TargetRefused as refusal:  # its words are the publisher's, not the client's
            raise RemoteFault(refusal.public, unanswered=True) from None

    async def _reply(
        self, answer: RemoteAnswer, times: tuple[int, int], outgoing: Outgoing
    ) -> Frame | TollwayError:
        """``times``: microseconds in the queue and until the answer was there."""
        if answer.status == _OK:
            body, header_length = await self._off_loop(
                len(answer.body),
                partial(
                    self._bodies.incoming,
                    answer.body,
                    answer.headers.get(HEADER_LENGTH),
                    outgoing,
                ),
            )
            self._in_a_row = 0
            return Frame(
                Kind.REPLY, 0, _OK, 0, *times, min(outgoing.rows, MAX_U32), header_length, body
            )
        self._in_a_row = 0  # it answers, whatever
        if answer.status in _CLIENTS_FAULT:
            text = await self._off_loop(
                len(answer.body), partial(self._bodies.refusal, answer.body)
            )
            said = f": {self._shown(text)}" if text else " without saying why"
            body = msgspec.json.encode(
                {"error": f"the server of {self._named} refuses the request{said}"}
            )
            times = (times[0], Failure.OTHER)
            return Frame(Kind.REPLY, FAILED, answer.status, 0, *times, 0, NO_HEADER, body)
        self._check_wanted.set()
        logger("remote").warning(
            "the remote server refuses", model=self._model, version=self._number,
            status=answer.status,
        )  # fmt: skip
        if answer.status in _AWAY:
            return self._away()
        self.faults += 1
        return self._failed()

    @staticmethod
    async def _off_loop(size: int, work: Callable[[], Result]) -> Result:
        """Do what reads a whole body; a large one in a thread, so that others are heard."""
        return work() if size < INLINE_BYTES else await asyncio.to_thread(work)

    def _late(self, exchange: Exchange, until: float, *, asked: bool) -> TollwayError:
        if asked and until < exchange.deadline:
            # Its own time, not the client's, has passed: a client's short deadline proves nothing,
            # nor does a wait for the requests before.
            self._fault(RemoteFault("no answer within its timeout_ms", unanswered=False))
        return TollwayError(
            Code.DEADLINE_EXCEEDED, f"the server of {self._named} did not answer in time"
        )

    def _fault(self, fault: Exception) -> TollwayError:
        self.faults += 1
        logger("remote").warning(
            "no usable answer of the remote server", model=self._model, version=self._number,
            error=str(fault),
        )  # fmt: skip
        if isinstance(fault, MalformedAnswer):
            return self._failed()
        self._in_a_row += 1
        if self._in_a_row >= FAULTS_TO_OPEN:
            self._is("failed", f"the remote server gave no usable answer: {fault}")
        self._check_wanted.set()
        assert isinstance(fault, RemoteFault)
        return self._away() if fault.unanswered else self._failed()

    def _failed(self) -> TollwayError:
        return TollwayError(
            Code.REMOTE_FAILED, f"the server of {self._named} failed, or its answer is no use"
        )

    def _away(self) -> TollwayError:
        return TollwayError(
            Code.NOT_READY, f"the server of {self._named} cannot answer now: try again soon"
        )

    def _shown(self, text: str) -> str:
        secret = self._server.secret
        if secret is not None:  # first: half of a secret that the cut leaves would not be found
            text = text.replace(secret.value, "***").replace(secret.value.split(" ")[-1], "***")
        return text[:MAX_ERROR_CHARACTERS]

    # health

    async def run(self) -> None:
        """Check the server's health until cancelled: every so often, at once when a request has
        failed, and ever less often while it is away."""
        pause = RECHECK_MIN_S
        interval = self._limits.check_interval_s
        while True:
            self._check_wanted.clear()
            error = await self._check()
            if error:
                self._is("failed", error)
            else:
                self._in_a_row = 0
                self._is("ready", "")
            if error:
                await asyncio.sleep(pause)
                pause = min(pause * 2, interval)
                continue
            pause = RECHECK_MIN_S
            try:
                async with asyncio.timeout(interval):
                    await self._check_wanted.wait()
                    await asyncio.sleep(RECHECK_MIN_S)  # of many that failed, one check
            except TimeoutError:
                continue

    async def _check(self) -> str:
        """Why the model cannot answer; empty when it can."""
        try:
            await asyncio.to_thread(self._read_secret)
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                answer = await self._server.get("/ready", MAX_HEALTH_BYTES)
        except TimeoutError:
            return "the remote server does not answer"
        except RemoteFault as fault:
            return f"the remote server cannot be asked: {fault}"
        except TollwayError as error:
            return error.public
        except Exception:  # a defect must not end the checks: nobody would ask the server again
            logger("remote").exception("a check failed", model=self._model, version=self._number)
            return "an internal error of the gateway"
        if answer.status in {401, 403}:
            return f"the remote server refuses the credential ({answer.status})"
        if answer.status != _OK:
            return f"the remote server says that the model is not ready ({answer.status})"
        try:
            ready = not answer.body or msgspec.json.decode(answer.body, type=_Ready).ready
        except (msgspec.DecodeError, UnicodeDecodeError):
            ready = True  # the status is what the protocol speaks of
        return "" if ready else "the remote server says that the model is not ready"

    def _is(self, state: RemoteState, error: str) -> None:
        if (state, error) == (self.state, self.error):
            return
        if state != self.state:
            logger("remote").info(
                "a remote version", model=self._model, version=self._number, state=state,
                error=error,
            )  # fmt: skip
        self.state, self.error = state, error
        self._changed()

    def report(self) -> RemoteReport:
        """What control is told."""
        return RemoteReport(
            model=self._model, version=self._number, state=self.state, error=self.error
        )

    # statistics

    @property
    def in_flight(self) -> int:
        """Requests that wait for the server."""
        return len(self._tasks)

    def load(self) -> tuple[int, int]:
        """Whether the server takes requests (0 or 1), and how many wait for it."""
        return int(self.state == "ready"), len(self._tasks)

    def stats(self) -> EngineStats:
        """Counts since this gateway has known the version, in the terms of an engine."""
        return msgspec.structs.replace(self._counts, queued=len(self._tasks))

    def _count(self, reply: Frame | TollwayError, took_s: float) -> None:
        counts, took_ns = self._counts, int(took_s * 1e9)
        if isinstance(reply, TollwayError) or reply.flags:
            self._counts = msgspec.structs.replace(
                counts, fail_count=counts.fail_count + 1, fail_ns=counts.fail_ns + took_ns
            )
            return
        self._counts = msgspec.structs.replace(
            counts,
            inference_count=counts.inference_count + reply.c,
            execution_count=counts.execution_count + 1,
            run_ns=counts.run_ns + reply.b * 1000,
            success_count=counts.success_count + 1,
            success_ns=counts.success_ns + took_ns,
            queue_ns=counts.queue_ns + reply.a * 1000,
            compute_infer_ns=counts.compute_infer_ns + reply.b * 1000,
            last_inference_ms=time.time_ns() // 1_000_000,
        )

    async def close(self, drain_s: float) -> None:
        """Close the connections. What is under way gets ``drain_s`` to be answered, and is
        answered ``NOT_READY`` then."""
        tasks = list(self._tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=drain_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.close()


def _microseconds(seconds: float) -> int:
    return min(int(seconds * 1e6), MAX_U32)
