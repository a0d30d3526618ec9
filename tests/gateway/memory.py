"""A connection in memory: requests cut at any place, without a socket for each."""

import asyncio
from typing import Any, cast

import uvicorn
from uvicorn.server import ServerState


class MemoryTransport(asyncio.Transport):
    """What a protocol writes to, and pauses."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.ended = asyncio.get_running_loop().create_future()
        self._reading = asyncio.Event()
        self._reading.set()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)}.get(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.is_closing(), "written after the end"
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return bool(self.ended.done())

    def close(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    abort = close

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self._reading.clear()

    def resume_reading(self) -> None:
        self._reading.set()

    async def may_read(self) -> None:
        """Return when the protocol wants to read, or is done."""
        reading = asyncio.create_task(self._reading.wait())
        await asyncio.wait({reading, self.ended}, return_when=asyncio.FIRST_COMPLETED)
        reading.cancel()


async def converse(config: uvicorn.Config, *parts: bytes) -> bytes:
    """What the server says to the parts, until it closes."""
    if not config.loaded:
        config.load()
    make = cast("Any", config.http_protocol_class)
    protocol = make(config=config, server_state=ServerState(), app_state={})
    transport = MemoryTransport()
    protocol.connection_made(transport)
    for part in parts:
        await transport.may_read()
        if transport.is_closing():
            break
        protocol.data_received(part)
        await asyncio.sleep(0)
    async with asyncio.timeout(20):
        await transport.ended
    protocol.connection_lost(None)
    return transport.written
