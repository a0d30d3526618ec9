"""Asks an engine of this worker something, over a connection of its own."""

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from protocol.frames import FrameDecoder, Hello, Kind, auth_proof, encode_header

READ_BYTES: Final = 1 << 16


async def ask(
    address: str, token: bytes, kind: Kind, a: Callable[[Hello], int] = lambda _: 0
) -> tuple[Hello, bytes]:
    """Who the engine is, and the body of its answer to a frame of ``kind`` with the field ``a``.

    Raises ``OSError``, ``ProtocolError`` or ``msgspec.DecodeError``.
    """
    where, _, place = address.partition(":")
    if where == "unix":
        reader, writer = await asyncio.open_unix_connection(place)
    else:
        host, _, port = place.rpartition(":")
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    decoder = FrameDecoder()
    hello = Hello("", 0, "")
    try:
        while data := await reader.read(READ_BYTES):
            for frame in decoder.feed(data):
                if frame.kind == Kind.HELLO:
                    hello = msgspec.json.decode(frame.body, type=Hello)
                    if hello.nonce:
                        proof = auth_proof(token, hello.nonce)
                        writer.write(encode_header(Kind.AUTH, len(proof)) + proof)
                    writer.write(encode_header(kind, 0, a=a(hello)))
                elif frame.kind == Kind.REPLY:
                    return hello, frame.body
        raise ConnectionError("the engine closed the connection")
    finally:
        writer.close()
