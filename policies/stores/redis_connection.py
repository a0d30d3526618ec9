"""One connection to Redis that many calls share.

What is asked within one tick of the event loop leaves in one write; replies come back in the same
order. No task and no future per command: an answer is a call-back, as on the engines' connections.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import hiredis
from redis.asyncio.connection import parse_url
from redis.exceptions import RedisError

Reply = object
"""What hiredis makes of a reply; an error is an instance of ``hiredis.ReplyError``."""
Answered = Callable[[Reply], None]
"""Gets the reply, or :data:`LOST`."""
LOST: Reply = object()
"""In place of a reply: the connection is gone, and nobody knows what became of the command."""


class RedisAddress(NamedTuple):
    """Where Redis is, and what it takes to be let in. Never shown whole."""

    host: str
    port: int
    path: str
    """Of a Unix socket; empty for TCP."""
    database: int
    username: str
    password: str
    tls: ssl.SSLContext | None

    def __repr__(self) -> str:
        return self.shown  # a tuple's own would hold the password

    @property
    def shown(self) -> str:
        """The address without credentials, the same whether or not it is reached by TLS."""
        place = f"unix:{self.path}" if self.path else f"redis://{self.host}:{self.port}"
        return f"{place}/{self.database}"


def parse_address(url: str) -> RedisAddress:
    """Read ``redis://``, ``rediss://`` (TLS) or ``unix://`` URLs as redis-py does, its
    ``ssl_ca_certs``, ``ssl_certfile`` and ``ssl_keyfile`` included. Raises ``ValueError`` with a
    text that does not repeat the URL."""
    try:
        found: dict[str, Any] = dict(parse_url(url))
    except (ValueError, RedisError):
        raise ValueError("is not a redis://, rediss:// or unix:// URL") from None
    tls = None
    if url.startswith("rediss:"):
        tls = ssl.create_default_context(cafile=found.get("ssl_ca_certs"))
        if "ssl_certfile" in found:
            tls.load_cert_chain(found["ssl_certfile"], found.get("ssl_keyfile"))
    return RedisAddress(
        host=found.get("host", "localhost"),
        port=found.get("port", 6379),
        path=found.get("path", ""),
        database=int(found.get("db", 0)),
        username=found.get("username") or "",
        password=found.get("password") or "",
        tls=tls,
    )


class RedisConnection(asyncio.Protocol):
    """An open connection. Not reconnected: whoever uses it opens the next one."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._waiting: deque[tuple[float, Answered]] = deque()
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self.watched = False
        """Whether somebody looks after :attr:`oldest`."""
        self.writes = 0
        """Writes so far: each is one round trip, whatever it carries."""

    @property
    def oldest(self) -> float | None:
        """Loop time at which the command was sent that has waited longest for its reply."""
        return self._waiting[0][0] if self._waiting else None

    def send(self, packed: bytes, answered: Answered) -> None:
        """Put a command (see :func:`pack`) into this tick's write."""
        if self._transport is None:
            answered(LOST)
            return
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(packed)
        self._waiting.append((self._loop.time(), answered))

    async def ask(self, *command: str | bytes | int) -> Reply:
        """Send one command and wait for its reply. For the first words on a connection."""
        reply: asyncio.Future[Reply] = self._loop.create_future()
        self.send(pack(*command), lambda found: None if reply.done() else reply.set_result(found))
        return await reply

    def abort(self) -> None:
        """Close at once; what is unanswered is :data:`LOST`."""
        if self._transport is not None:
            self._transport.abort()
            self._lose()

    def close(self) -> None:
        """Write what was sent, then close; what is unanswered is :data:`LOST`."""
        if self._transport is not None:
            self._flush()
            self._transport.close()
            self._lose()

    def _flush(self) -> None:
        out, self._out = self._out, []
        if out and self._transport is not None:
            self.writes += 1
            self._transport.write(b"".join(out))

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast: uvloop's transports are not subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        reader.feed(data)
        try:
            while (reply := reader.gets()) is not False:
                if not self._waiting:
                    raise hiredis.ProtocolError("a reply to nothing")
                self._waiting.popleft()[1](reply)
        except hiredis.ProtocolError:
            self.abort()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._lose()

    def _lose(self) -> None:
        self._transport = None
        waiting, self._waiting = self._waiting, deque()
        for _, answered in waiting:
            answered(LOST)
        if not self.closed.done():
            self.closed.set_result(None)


def pack(*command: str | bytes | int) -> bytes:
    """A command as it is written."""
    return cast("bytes", hiredis.pack_command(command))  # type: ignore[arg-type]  # its stub is wrong


def bulk(part: str | int) -> bytes:
    """One part of a command as :func:`pack` writes it: RESP's bulk string."""
    encoded = str(part).encode()
    return b"$%d\r\n%b\r\n" % (len(encoded), encoded)


async def connect(address: RedisAddress) -> RedisConnection:
    """Open a connection and log in. Raises ``OSError``; ``ConnectionError`` where Redis refuses."""
    loop = asyncio.get_running_loop()
    connection: RedisConnection
    if address.path:
        _, connection = await loop.create_unix_connection(RedisConnection, address.path)
    else:
        _, connection = await loop.create_connection(
            RedisConnection,
            address.host,
            address.port,
            ssl=address.tls,
            server_hostname=address.host if address.tls else None,
        )
    try:
        if address.password:
            user = (address.username,) if address.username else ()
            _expect(await connection.ask("AUTH", *user, address.password))
        _expect(await connection.ask("SELECT", address.database))
    except BaseException:
        connection.abort()
        raise
    return connection


def _expect(reply: Reply) -> None:
    if isinstance(reply, hiredis.ReplyError):
        # Redis' own words name no password.
        raise ConnectionError(f"Redis refuses: {reply}")
    if reply is LOST:
        raise ConnectionError("Redis closed the connection")
