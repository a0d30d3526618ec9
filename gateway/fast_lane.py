"""The fast lane: prediction requests answered at the level of the HTTP protocol.

A ``POST`` to a prediction path becomes a :class:`Prediction`, which takes the place of uvicorn's
cycle and never becomes an ASGI event; every other request takes uvicorn's own way to the
application, on the same port and in the same order. Policies, answers and records are the
invoker's, the same as on the ASGI lane. What is no proper HTTP/1.1 ends in
:mod:`runtime.strict_http`.
"""

import asyncio
from copy import copy
from functools import partial
from time import monotonic
from typing import Any, Self

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from gateway.answer import Answer
from gateway.coding import Coding
from gateway.invoke import Invoker
from gateway.known_heads import KnownHead, KnownHeads, head_of, is_memorable
from gateway.lane import late_body, read_headers, read_target
from gateway.paths import Paths, Target
from policies.addresses import TrustedProxies
from policies.base import Call
from policies.request_size import RequestSizePolicy
from protocol.errors import TollwayError
from runtime.bad_request import NOBODY_WAITS
from runtime.strict_http import StrictHttpProtocol

SWEEP_S = 0.05
"""How exactly the deadlines of incomplete requests are kept: one timer for all of them."""
SMALL_BYTES = 1024
"""Pieces of a body below this are gathered."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Prediction:
    """One prediction request on a connection, in place of uvicorn's ``RequestResponseCycle``.

    Has the attributes that uvicorn's protocol reads and sets on a cycle.
    """

    __slots__ = (
        "_admitted", "_body", "_call", "_expects_continue", "_protocol", "_received", "_refusal",
        "_size", "_unknown", "disconnected", "keep_alive", "message_event", "response_complete",
    )  # fmt: skip

    def __init__(
        self, protocol: "FastLaneProtocol", call: Call, *, keep_alive: bool, expects: bool
    ) -> None:
        """``expects``: whether the client waits for ``100 Continue`` before it sends the body."""
        self._protocol = protocol
        self._call = call
        self._body: list[bytes | bytearray] = []
        self._size = 0
        self._expects_continue = expects
        self._admitted = self._received = False
        self._refusal: TollwayError | None = None
        self._unknown: tuple[bytes, KnownHead] | None = None
        self.keep_alive = keep_alive
        self.response_complete = False
        self.disconnected = False
        self.message_event = NOBODY_WAITS

    @classmethod
    def read(cls, protocol: "FastLaneProtocol", target: Target, head: bytes) -> Self:
        """From what the parser found. ``head``: its bytes, if they may be remembered."""
        call = Call(model=target.model, started=monotonic())
        expects = protocol.expect_100_continue
        read_target(call, target)
        read_headers(call, protocol.headers)
        found = cls(protocol, call, keep_alive=not protocol.last, expects=expects)
        if head:
            found._unknown = head, KnownHead(copy(call), call.content_length)
        call.client = protocol.lane.proxies.client(protocol.peer, call.forwarded_for)
        return found

    @classmethod
    def again(cls, protocol: "FastLaneProtocol", known: KnownHead, body: bytes) -> Self:
        """A whole request whose head was read before."""
        client = protocol.lane.proxies.client(protocol.peer, known.call.forwarded_for)
        call = known.said(monotonic(), client)
        found = cls(protocol, call, keep_alive=True, expects=False)
        found._body.append(body)
        found._size = len(body)
        found._received = True
        return found

    def start(self) -> None:
        """It is this request's turn: admit it, and forward it once its body is here."""
        if self._refusal is None:
            self._protocol.lane.invoker.admit(self._call, self._decided)
        else:
            self._decided(self._refusal)

    def _decided(self, refusal: TollwayError | None) -> None:
        lane = self._protocol.lane
        refusal = refusal or self._refusal  # the body may have grown too large meanwhile
        if refusal is None and self._size > lane.sizes.limit(self._call):
            refusal = lane.sizes.refusal(self._call)  # by the plan, which is known only now
            self._body.clear()
        if refusal is not None:
            self._refusal = refusal
            lane.invoker.refuse(self._call, refusal, self.finish)
            return
        self._admitted = True
        if self._unknown is not None:
            lane.heads.learn(*self._unknown)
        if self._received:
            self._forward()
            return
        lane.wait_for_body(self)
        if self._expects_continue:
            self._protocol.transport.write(_CONTINUE)

    def body(self, data: bytes) -> None:
        """A piece of the body has arrived."""
        if self._refusal is not None:
            return
        self._size += len(data)
        sizes = self._protocol.lane.sizes
        if self._size <= sizes.limit(self._call):
            self._keep(data)
            return
        self._stop(sizes.refusal(self._call))

    def _keep(self, data: bytes) -> None:
        body = self._body
        if len(data) >= SMALL_BYTES or not body:
            body.append(data)
        elif isinstance(body[-1], bytearray):
            body[-1] += data
        else:  # an object for each of many small chunks would take many times their size
            body.append(bytearray(data))

    def late(self, now: float) -> bool:
        """Refuse the request if its deadline has passed before its body was complete, give it up if
        its client is gone. Whether that was so."""
        if self.response_complete:
            return True
        if self.disconnected:
            self._protocol.lane.invoker.abandon(self._call)
            return True
        if self._call.deadline > now:
            return False
        self._stop(late_body())
        return True

    def _stop(self, refusal: TollwayError) -> None:
        """Take no more of the body, and refuse the request when it is its turn."""
        self._refusal = refusal
        self._body.clear()
        if self._admitted:
            self._admitted = False
            self._protocol.lane.bodies.discard(self)
            self._protocol.lane.invoker.refuse(self._call, refusal, self.finish)

    def end(self) -> None:
        """The body is complete."""
        self._received = True
        if self._admitted:
            self._protocol.lane.bodies.discard(self)
            self._forward()

    def _forward(self) -> None:
        body = bytes(self._body[0]) if len(self._body) == 1 else b"".join(self._body)
        lane, call = self._protocol.lane, self._call
        coded = call.content_coding or call.accepted_coding
        (lane.coding if coded else lane.invoker).forward(call, body, self.finish)

    def finish(self, answer: Answer) -> None:
        """Write the answer, unless the client is gone."""
        protocol = self._protocol
        self.response_complete = True
        transport = protocol.transport
        if self.disconnected or transport.is_closing():
            return
        self.keep_alive = self.keep_alive and not answer.closes
        parts = [STATUS_LINE[answer.status], protocol.default_header_lines()]
        for name, value in answer.headers:
            parts += (name, b": ", value, b"\r\n")
        parts.append(b"content-length: %d\r\n" % len(answer.body))
        parts += (b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n", answer.body)
        transport.write(b"".join(parts))
        if not self.keep_alive:
            protocol.last = True
            transport.close()
        protocol.on_response_complete()


class FastLane:
    """What all connections of a gateway share."""

    def __init__(
        self, invoker: Invoker, coding: Coding, sizes: RequestSizePolicy, proxies: TrustedProxies
    ) -> None:
        self.invoker = invoker
        self.coding = coding
        self.sizes = sizes
        self.proxies = proxies
        self.router = Paths()
        self.heads = KnownHeads()
        self.bodies: set[Prediction] = set()
        """Requests that were admitted and whose bodies are not complete."""
        self._sweeping = False
        self.lines_of: list[tuple[bytes, bytes]] | None = None
        self.lines = b""

    def wait_for_body(self, prediction: Prediction) -> None:
        """Keep an eye on the request's deadline until its body is complete."""
        self.bodies.add(prediction)
        if not self._sweeping:
            self._sweeping = True
            asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for prediction in list(self.bodies):
            if prediction.late(now):
                self.bodies.discard(prediction)
        self._sweeping = bool(self.bodies)
        if self._sweeping:
            loop.call_later(SWEEP_S, self._sweep)

    def protocol(self) -> Any:  # noqa: ANN401 -- what uvicorn takes for a protocol class
        """The protocol class to configure uvicorn with."""
        return partial(FastLaneProtocol, lane=self)


class FastLaneProtocol(StrictHttpProtocol):
    """HTTP/1.1 with a lane of its own for predictions."""

    def __init__(self, *arguments: Any, lane: FastLane, **options: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments, **options)
        self.lane = lane
        self.peer = ""
        """Address of the TCP peer; empty over a Unix socket."""
        self._held = False
        self._head = b""
        """Of the request that is being parsed, if it may be remembered."""

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 -- uvicorn's signature
        """A client has connected."""
        super().connection_made(transport)
        self.peer = "" if self.client is None else self.client[0]

    def data_received(self, data: bytes) -> None:
        """Take a whole request with a known head as it is; parse everything else."""
        if self.between_requests():
            head = head_of(data)
            known = self.lane.heads.get(head)
            if known is not None and len(data) == len(head) + known.body_bytes:
                self.take_whole(partial(self._predict_again, known, data[len(head) :]))
                return
            self._head = head if is_memorable(head) else b""
        super().data_received(data)
        self._head = b""

    def _predict_again(self, known: KnownHead, body: bytes) -> None:
        prediction = Prediction.again(self, known, body)
        self.cycle = prediction
        prediction.start()

    def begin_request(self) -> None:
        """Choose the lane, by method and path."""
        head, self._head = self._head, b""
        target = None
        if self.parser.get_method() == b"POST":
            path, _, _ = self.url.partition(b"?")
            # Escaped paths are rare, and uvicorn knows how to read them.
            if b"%" not in path:
                target = self.lane.router.target(path.decode("latin-1"))
        if target is None:
            super().begin_request()
            return
        earlier = self.cycle
        prediction = Prediction.read(self, target, head if self.is_plain() else b"")
        self.cycle = prediction
        if earlier is None or earlier.response_complete:
            prediction.start()
        else:
            # Answers leave in the order of the requests: this one waits for the earlier ones.
            self.flow.pause_reading()
            self.pipeline.appendleft((prediction, self.app))  # type: ignore[arg-type]

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:  # noqa: ANN401
        if isinstance(cycle, Prediction):
            cycle.start()
        else:
            super()._start_asgi_task(cycle, app)

    def take_body(self, data: bytes) -> None:
        """A piece of a body has arrived."""
        if not isinstance(self.cycle, Prediction):
            super().take_body(data)
        elif not self.cycle.response_complete:
            self.cycle.body(data)

    def end_request(self) -> None:
        """A request is complete."""
        if not isinstance(self.cycle, Prediction):
            super().end_request()
        elif not self.cycle.response_complete:
            self.cycle.end()

    def on_response_complete(self) -> None:
        """An answer was written: the next request's turn, once the client reads what it has."""
        if self.flow.write_paused:
            self._held = True
        else:
            super().on_response_complete()

    def pause_writing(self) -> None:
        """The client does not read its answers: read no more of its requests."""
        super().pause_writing()
        self.flow.pause_reading()

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        if self._held:
            self._held = False
            super().on_response_complete()
        elif not self.pipeline:
            self.flow.resume_reading()

    def default_header_lines(self) -> bytes:
        """uvicorn's default headers, which change once a second, as they are written."""
        headers = self.server_state.default_headers
        if headers is not self.lane.lines_of:
            self.lane.lines_of = headers
            self.lane.lines = b"".join(b"%s: %s\r\n" % pair for pair in headers)
        return self.lane.lines
