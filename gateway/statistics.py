"""Asks engines for their counts."""

import asyncio

import msgspec

from gateway.connection import EngineConnection, Exchange, VersionKey
from gateway.upstream import Upstream
from protocol.errors import Code, TollwayError
from protocol.frames import EngineStats, Frame, Kind

STATS_TIMEOUT_S = 2.0


async def ask_engines(upstream: Upstream, key: VersionKey) -> list[EngineStats]:
    """The counts of every engine of a version. Raises ``UNAVAILABLE`` when one does not answer."""
    return list(await asyncio.gather(*map(_ask, upstream.connections(key))))


async def _ask(connection: EngineConnection) -> EngineStats:
    loop = asyncio.get_running_loop()
    replied: asyncio.Future[Frame | TollwayError] = loop.create_future()

    def reply(frame: Frame | TollwayError) -> None:
        if not replied.done():
            replied.set_result(frame)

    deadline = loop.time() + STATS_TIMEOUT_S
    id_ = connection.send(Exchange(b"", deadline, reply, kind=Kind.STATS))
    try:
        frame = await asyncio.wait_for(replied, STATS_TIMEOUT_S)
    except TimeoutError:
        raise TollwayError(Code.UNAVAILABLE, "an engine did not answer in time") from None
    finally:
        connection.cancel(id_)
    if isinstance(frame, TollwayError):
        raise frame
    return msgspec.json.decode(frame.body, type=EngineStats)
