"""An engine that speaks frames but runs no model: its test says what it answers."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import cast

import msgspec

from protocol.frames import (
    NO_HEADER,
    BatchStats,
    EngineStats,
    Frame,
    FrameDecoder,
    Hello,
    Kind,
    encode_header,
)

Behaviour = Callable[["FakeEngine", asyncio.Transport, Frame], None]


def echo(engine: "FakeEngine", transport: asyncio.Transport, frame: Frame) -> None:
    """Answer 200 with the request's own body."""
    engine.reply(transport, frame, 200, frame.body)


class FakeEngine:
    """Listens on a Unix socket, remembers what it got."""

    def __init__(self, path: Path, model: str, version: int, digest: str) -> None:
        self.path = path
        self.hello = Hello(model, version, digest, instance=path.name)
        self.counts = EngineStats(
            inference_count=3,
            success_count=3,
            compute_infer_ns=90,
            batches={1: BatchStats(count=3, input_ns=30, infer_ns=90, output_ns=60)},
        )
        """What it answers to STATS."""
        self.behave: Behaviour = echo
        self.frames: list[Frame] = []
        self.cancelled: list[int] = []
        self.transports: list[asyncio.Transport] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: _Connection(self), str(self.path))

    async def kill(self) -> None:
        """Close abruptly, as a process that dies does."""
        for transport in self.transports:
            transport.abort()
        self.transports.clear()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None
        self.path.unlink(missing_ok=True)

    def reply(
        self,
        transport: asyncio.Transport,
        frame: Frame,
        status: int,
        body: bytes,
        *,
        json_bytes: int = NO_HEADER,
        flags: int = 0,
    ) -> None:
        header = encode_header(
            Kind.REPLY,
            len(body),
            flags=flags,
            status=status,
            id=frame.id,
            a=11,
            b=22,
            c=1,
            d=json_bytes,
        )
        transport.write(header + body)

    def drain(self, body: bytes = b"") -> None:
        for transport in self.transports:
            transport.write(encode_header(Kind.DRAIN, len(body)) + body)


class _Connection(asyncio.Protocol):
    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine
        self._decoder = FrameDecoder()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast("asyncio.Transport", transport)
        self._engine.transports.append(transport)
        body = msgspec.json.encode(self._engine.hello)
        transport.write(encode_header(Kind.HELLO, len(body)) + body)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        for frame in self._decoder.feed(data):
            if frame.kind == Kind.CANCEL:
                self._engine.cancelled.append(frame.id)
            elif frame.kind == Kind.STATS:
                stats = msgspec.json.encode(self._engine.counts)
                self._engine.reply(self._transport, frame, 200, stats)
            else:
                self._engine.frames.append(frame)
                self._engine.behave(self._engine, self._transport, frame)
