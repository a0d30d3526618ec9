"""A peer over TCP that has not proven the cluster token costs next to nothing."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from protocol.frames import Frame, Hello, Kind, encode_header
from serving import connection
from serving.connection import UNPROVEN_FRAME_BYTES, Connection
from tests.serving.peer import Peer

LARGE = bytes(100_000)


class Guarded:
    """An engine's service that demands the token, and what it was asked."""

    def __init__(self) -> None:
        self.hello = Hello("m", 1, "sha256:0")
        self.cluster_token: bytes | None = b"right"
        self.max_frame_bytes = 1 << 20
        self.connections: set[Connection] = set()
        self.inferred: list[Frame] = []

    def infer(self, _: Connection, frame: Frame) -> None:
        """Remember the request."""
        self.inferred.append(frame)

    def stats(self) -> bytes:
        """Nothing to tell."""
        return b"{}"


@pytest.fixture
async def guarded() -> AsyncIterator[Any]:
    service = Guarded()
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(service), "127.0.0.1", 0
    )
    port = server.sockets[0].getsockname()[1]
    yield SimpleNamespace(service=service, address=f"tcp:127.0.0.1:{port}")
    server.close()
    await server.wait_closed()


async def unproven(address: str) -> Peer:
    """A connection that has said nothing yet."""
    host, _, port = address.removeprefix("tcp:").rpartition(":")
    peer = Peer(*await asyncio.open_connection(host, int(port)))
    hello = await peer.read()
    assert hello is not None
    assert hello.kind == Kind.HELLO
    return peer


async def test_a_large_frame_before_the_proof_is_cut_off_at_its_header(guarded: Any) -> None:
    peer = await unproven(guarded.address)
    peer.writer.write(encode_header(Kind.AUTH, UNPROVEN_FRAME_BYTES))
    assert await peer.read() is None
    peer.writer.close()


async def test_a_large_frame_right_after_the_proof_is_taken(guarded: Any) -> None:
    peer, _ = await Peer.connect(guarded.address, b"right")
    peer.infer(1, LARGE)
    peer.send(Kind.STATS, id=2)
    assert (await peer.reply(2)).body == b"{}"
    assert guarded.service.inferred[0].body == LARGE
    peer.writer.close()


async def test_a_peer_that_proves_nothing_is_cut_off_in_time(
    guarded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "AUTH_WITHIN_S", 0.01)
    peer = await unproven(guarded.address)
    assert await peer.read() is None
    assert not guarded.service.connections
    peer.writer.close()


async def test_who_has_not_proven_the_token_learns_no_counts_of_an_engine_that_drains(
    guarded: Any,
) -> None:
    peer = await unproven(guarded.address)
    for one in guarded.service.connections:
        one.drain()
    frame = await peer.read()
    assert frame is not None
    assert (frame.kind, frame.body) == (Kind.DRAIN, b"")
    peer.writer.close()
