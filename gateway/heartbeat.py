"""Tells control that this gateway is alive, and ends it when control says that it must not be.

Limits hold over several gateways only where all count in one place; control knows of all of them.
While control is away nobody is asked: the gateway serves from its copy, and is told later.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import NamedTuple

import httpx
import msgspec

from gateway.remotes import Remotes
from gateway.seals import Seals
from protocol.errors import STATUS, Code
from protocol.gateways import GatewayReport
from runtime.logs import logger
from runtime.start import StartError

INTERVAL_S = 2.0
CHANGES_S = 0.05
"""Changes of remote versions within this time are told at once."""
FIRST_TIMEOUT_S = 1.0
"""How long a start waits for control's word."""


class GatewayFigures(NamedTuple):
    """How the gateway is doing, as :class:`protocol.gateways.GatewayReport` says it."""

    position: int = 0
    requests: int = 0
    in_flight: int = 0


class _Problem(msgspec.Struct):
    detail: str = "control refuses this gateway"


class Heartbeat:
    """This gateway's reports."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        id: str,
        counters: str,
        version: str,
        remotes: Remotes,
        seals: Seals,
        figures: Callable[[], GatewayFigures] = GatewayFigures,
        now: Callable[[], float] = time.time,
    ) -> None:
        """``counters`` holds no credentials: it is shown to operators. ``figures`` tells how the
        gateway is doing."""
        self._client = client
        self._path = f"/internal/v1/gateways/{id}"
        self._report = GatewayReport(
            id=id, counters=counters, version=version, started_ms=int(now() * 1000)
        )
        self._remotes = remotes
        self._seals = seals
        self._figures = figures

    async def first(self) -> None:
        """Report before anything is served. Raises :class:`StartError` when control refuses; when
        it does not answer, the gateway starts unasked."""
        try:
            await self._send(FIRST_TIMEOUT_S)
        except httpx.HTTPError as error:
            logger("gateway").info(
                "control does not answer yet: serving by the configuration on disk meanwhile. "
                "Nothing is to be done while control is starting",
                error=repr(error),
            )

    async def run(self) -> None:
        """Report until cancelled. Raises :class:`StartError` when control refuses: another gateway
        is there, and both must not go on."""
        while True:
            with contextlib.suppress(TimeoutError):
                # Whoever deploys a remote version waits for the word that it can be reached.
                async with asyncio.timeout(INTERVAL_S):
                    await self._remotes.changed.wait()
                    await asyncio.sleep(CHANGES_S)
            with contextlib.suppress(httpx.HTTPError):  # the follower says that control is away
                await self._send(INTERVAL_S)

    async def goodbye(self) -> None:
        """Another gateway may start at once."""
        with contextlib.suppress(httpx.HTTPError):
            await self._client.delete(self._path, timeout=FIRST_TIMEOUT_S)

    async def _send(self, timeout_s: float) -> None:
        self._remotes.changed.clear()
        figures = self._figures()
        report = msgspec.structs.replace(
            self._report,
            remotes=self._remotes.reports(),
            unverified=self._seals.reports(),
            position=figures.position,
            requests=figures.requests,
            in_flight=figures.in_flight,
        )
        body = msgspec.json.encode(report)
        answer = await self._client.put(self._path, content=body, timeout=timeout_s)
        if answer.status_code == STATUS[Code.CONFLICT]:
            try:
                detail = msgspec.json.decode(answer.content, type=_Problem).detail
            except msgspec.DecodeError:
                detail = _Problem().detail
            raise StartError(detail)
        answer.raise_for_status()
