"""One gateway's connection to an engine: frames in, replies out, back-pressure both ways."""

import asyncio
import hmac
import secrets
from typing import Final, Protocol, cast

import msgspec

from protocol.errors import STATUS, TollwayError
from protocol.failures import failure_of
from protocol.frames import (
    FAILED,
    HEADER,
    HEADER_BYTES,
    LENGTH_BYTES,
    NO_HEADER,
    SHADOWED,
    SHARED,
    TURNED_AWAY,
    WARNED,
    EngineTrace,
    Frame,
    FrameDecoder,
    Hello,
    Kind,
    ProtocolError,
    auth_proof,
    encode_header,
)
from serving.call import Call
from serving.tensors import exact_floats

AUTH_WITHIN_S: Final = 5.0
UNPROVEN_FRAME_BYTES: Final = 1024
"""What a peer may make us hold before it has proven itself; AUTH is far smaller."""
_AFTER_LENGTH: Final = HEADER_BYTES - LENGTH_BYTES
_INFER: Final = int(Kind.INFER)
_REPLY: Final = int(Kind.REPLY)


class Service(Protocol):
    """What a connection needs of the engine."""

    hello: Hello
    cluster_token: bytes | None
    """Set when peers must prove themselves: over TCP."""
    max_frame_bytes: int
    connections: "set[Connection]"

    def infer(self, connection: "Connection", frame: Frame) -> None:
        """Take an INFER."""
        ...

    def cancel(self, call: Call) -> None:
        """Nobody waits for the answer to ``call`` any more."""
        ...

    def stats(self) -> bytes:
        """The body that answers STATS."""
        ...

    def wake(self) -> None:
        """Somebody calls the version."""
        ...

    def shadow(self, connection: "Connection", frame: Frame) -> None:
        """Take a SHADOW."""
        ...

    def disagreements(self, acknowledged: int) -> bytes:
        """The body that answers DISAGREEMENTS."""
        ...


def error_body(error: TollwayError) -> bytes:
    """``{"error": "..."}`` as clients of both protocols expect it."""
    return msgspec.json.encode({"error": error.public})


class Connection(asyncio.Protocol):
    """Speaks ``protocol.frames``. A peer that breaks it, or does not prove itself, is cut off."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._scheduled = False
        self._nonce = ""
        self._proven = service.cluster_token is None
        self._decoder = FrameDecoder(
            service.max_frame_bytes if self._proven else UNPROVEN_FRAME_BYTES
        )
        self.calls: dict[int, Call] = {}
        """What is neither answered nor cancelled, by the id that the gateway gave it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say who we are; over TCP, ask who they are."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it
        self._service.connections.add(self)
        hello = self._service.hello
        if not self._proven:
            self._nonce = secrets.token_hex(16)
            hello = msgspec.structs.replace(hello, nonce=self._nonce)
            asyncio.get_running_loop().call_later(AUTH_WITHIN_S, self._cut_off_unproven)
        self.send(Kind.HELLO, msgspec.json.encode(hello))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's signature
        """Nobody waits for the answers any more."""
        for call in self.calls.values():
            self._service.cancel(call)
        self.calls.clear()
        self._out.clear()
        self._transport = None
        self._service.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        """Take the frames that have come."""
        infer = self._service.infer
        try:
            with exact_floats():
                for frame in self._decoder.feed(data):
                    if frame.kind == _INFER and self._proven:
                        infer(self, frame)
                    else:
                        self._control(frame)
        except ProtocolError:
            self.abort()

    def _control(self, frame: Frame) -> None:
        if not self._proven:
            token = self._service.cluster_token
            if frame.kind != Kind.AUTH or token is None:
                raise ProtocolError("the first frame must be AUTH")
            if not hmac.compare_digest(auth_proof(token, self._nonce), frame.body):
                raise ProtocolError("AUTH does not prove the cluster token")
            self._proven = True
            self._decoder.limit = self._service.max_frame_bytes
        elif frame.kind == Kind.CANCEL:
            call = self.calls.pop(frame.id, None)
            if call is not None:
                self._service.cancel(call)
        elif frame.kind == Kind.STATS:
            body = self._service.stats()
            self._append(frame.id, 200, body)
        elif frame.kind == Kind.WAKE:
            self._service.wake()
        elif frame.kind == Kind.SHADOW:
            self._service.shadow(self, frame)
        elif frame.kind == Kind.DISAGREEMENTS:
            self._append(frame.id, 200, self._service.disagreements(frame.a))
        elif frame.kind != Kind.AUTH:  # over a Unix socket AUTH is needless but no offence
            raise ProtocolError(f"unexpected frame of kind {frame.kind}")

    def reply(
        self,
        call: Call,
        status: int,
        body: bytes,
        *,
        queue_us: int = 0,
        infer_us: int = 0,
        header_bytes: int = NO_HEADER,
        shared: bool = False,
    ) -> None:
        """Queue the answer to ``call``; the engine flushes when its turn ends. ``shared``: whether
        its run was."""
        if self.calls.pop(call.id, None) is None:
            return  # cancelled meanwhile; its id may belong to another request by now
        self._out += (
            HEADER.pack(
                _AFTER_LENGTH + len(body),
                _REPLY,
                (WARNED if call.warned else 0) | (SHARED if shared else 0),
                status,
                call.id,
                queue_us,
                infer_us,
                call.rows,
                header_bytes,
            ),
            body,
        )

    def trace(self, call: Call, told: EngineTrace) -> None:
        """Queue where a call's time went; its reply follows."""
        if call.id in self.calls:
            body = msgspec.json.encode(told)
            self._out += (encode_header(Kind.TRACE, len(body), id=call.id), body)

    def refuse(self, id: int, error: TollwayError, queue_us: int = 0) -> None:
        """Answer the request of this id with an error; leaves with the loop's next turn."""
        self.calls.pop(id, None)
        self._append(
            id,
            STATUS[error.code],
            error_body(error),
            flags=FAILED,
            queue_us=queue_us,
            failure=failure_of(error.code),
        )

    def turn_away(self, id: int, needed_us: int) -> None:
        """Answer that the deadline cannot be kept: ``needed_us`` would be needed now."""
        self._out.append(encode_header(Kind.REPLY, 0, flags=TURNED_AWAY, id=id, b=needed_us))
        self._flush_soon()

    def shadowed(self, id: int, compared: int, dropped: int) -> None:
        """Answer that a SHADOW is done with."""
        header = encode_header(Kind.REPLY, 0, flags=SHADOWED, id=id, a=compared, b=dropped)
        self._out.append(header)
        self._flush_soon()

    def _append(
        self,
        id: int,
        status: int,
        body: bytes,
        *,
        flags: int = 0,
        queue_us: int = 0,
        failure: int = 0,
    ) -> None:
        header = encode_header(
            Kind.REPLY,
            len(body),
            flags=flags,
            status=status,
            id=id,
            a=queue_us,
            b=failure,
            d=NO_HEADER,
        )
        self._out += (header, body)
        self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Write what this turn has answered, in one go."""
        self._scheduled = False
        if self._out and self._transport is not None:
            self._transport.writelines(self._out)
        self._out = []

    def send(self, kind: Kind, body: bytes = b"") -> None:
        """Write a frame that answers nothing: HELLO, DRAIN."""
        if self._transport is not None:
            self.flush()
            self._transport.write(encode_header(kind, len(body)) + body)

    def drain(self) -> None:
        """Say that nothing new is taken, and what the counts are. Said again at the end."""
        self.send(Kind.DRAIN, self._service.stats() if self._proven else b"")

    def pause_writing(self) -> None:
        """The gateway does not read its answers: take no more requests from it."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The gateway reads again."""
        if self._transport is not None:
            self._transport.resume_reading()

    def close(self) -> None:
        """Close when everything written has left."""
        self.flush()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def _cut_off_unproven(self) -> None:
        if not self._proven:
            self.abort()
