"""Keeps a connection open to every engine that the configuration names."""

import asyncio
from collections.abc import Iterable

from gateway.connection import EngineConnection
from gateway.upstream import Upstream
from protocol.configuration import EngineDoc, WorkerDoc

RECONNECT_MIN_S = 0.02
RECONNECT_MAX_S = 1.0
CONNECT_TIMEOUT_S = 5.0
CONNECTABLE = frozenset({"starting", "ready", "cold"})
"""States in which an engine listens, or will. A restarted engine keeps its address, so the gateway
finds it again even while control is away and the document is out of date."""


class Links:
    """One task per engine address: connect, wait for the end, connect again with back-off."""

    def __init__(self, upstream: Upstream, cluster_token: bytes) -> None:
        self._upstream = upstream
        self._token = cluster_token
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def reconcile(self, workers: Iterable[WorkerDoc]) -> None:
        """Connect to the engines that are new, let go of those that are gone."""
        wanted = {
            engine.address: engine
            for worker in workers
            for engine in worker.engines
            if engine.state in CONNECTABLE
        }
        for address in self._tasks.keys() - wanted.keys():
            self._tasks.pop(address).cancel()
        for address in wanted.keys() - self._tasks.keys():
            self._tasks[address] = asyncio.create_task(self._keep(wanted[address]))
        self._upstream.verify()

    async def close(self) -> None:
        """Close every connection; what is still in flight is answered 503."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._upstream.close()

    async def _keep(self, engine: EngineDoc) -> None:
        delay = RECONNECT_MIN_S
        while True:
            connection = await self._connect(engine.address)
            if connection is not None:
                try:
                    await asyncio.shield(connection.closed)
                finally:
                    # Cancelled: the engine left the configuration. It answers what is in flight,
                    # and closes the connection itself when it exits.
                    self._upstream.left(connection)
                    connection.draining = True
                delay = RECONNECT_MIN_S
            await asyncio.sleep(delay)
            delay = min(delay * 2, RECONNECT_MAX_S)

    async def _connect(self, address: str) -> EngineConnection | None:
        loop = asyncio.get_running_loop()
        scheme, _, rest = address.partition(":")
        connection: EngineConnection | None = None

        def protocol() -> EngineConnection:
            return EngineConnection(self._upstream, self._token)

        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                if scheme == "unix":
                    _, connection = await loop.create_unix_connection(protocol, rest)
                else:
                    host, _, port = rest.rpartition(":")
                    _, connection = await loop.create_connection(
                        protocol, host.strip("[]"), int(port)
                    )
                # A peer that accepts and says nothing is no engine.
                await connection.greeted
        except BaseException as error:
            # Also when the engine has left the configuration meanwhile: nobody holds this link.
            if connection is not None:
                connection.close()
            if isinstance(error, OSError | TimeoutError):
                return None
            raise
        return connection
