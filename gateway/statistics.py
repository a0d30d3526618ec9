"""Asks engines for their counts."""

import asyncio
from typing import NamedTuple

import msgspec

from gateway.connection import EngineConnection, Exchange, VersionKey
from gateway.upstream import Upstream
from protocol.errors import Code, TollwayError
from protocol.frames import EngineStats, Frame, Kind

STATS_TIMEOUT_S = 2.0


class Statistics(NamedTuple):
    """The counts of a version, by engine."""

    present: list[EngineStats]
    """Of the engines that take requests."""
    gone: list[EngineStats]
    """What others have counted: those that drain, and those that have ended."""


async def ask_engines(upstream: Upstream, key: VersionKey) -> Statistics:
    """The counts of every engine that a version has or had, as far as this gateway has heard of
    them. Raises ``UNAVAILABLE`` when one does not answer in time."""
    asked = upstream.connections(key)
    answers = await asyncio.gather(*(_ask(upstream, connection) for connection in asked))
    present = {
        connection.hello.instance: stats
        for connection, stats in zip(asked, answers, strict=True)
        if stats is not None and connection.hello is not None
    }
    return Statistics(list(present.values()), upstream.counts.others(key, present))


async def _ask(upstream: Upstream, connection: EngineConnection) -> EngineStats | None:
    """What it answers; None when it is lost meanwhile."""
    loop = asyncio.get_running_loop()
    replied: asyncio.Future[EngineStats | None] = loop.create_future()

    def reply(answer: Frame | TollwayError) -> None:
        found = None
        if isinstance(answer, Frame):
            # At once, so that what a DRAIN tells right after it comes after it.
            found = msgspec.json.decode(answer.body, type=EngineStats)
            upstream.counted(connection, found)
        if not replied.done():
            replied.set_result(found)

    deadline = loop.time() + STATS_TIMEOUT_S
    id_ = connection.send(Exchange(b"", deadline, reply, kind=Kind.STATS))
    try:
        return await asyncio.wait_for(replied, STATS_TIMEOUT_S)
    except TimeoutError:
        raise TollwayError(Code.UNAVAILABLE, "an engine did not answer in time") from None
    finally:
        connection.cancel(id_)
