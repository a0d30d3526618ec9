"""JSON Web Tokens of configured issuers on the management API. Knows no web framework."""

import asyncio
import time
from collections.abc import Callable

import anyio.to_thread
from anyio import CapacityLimiter

from control.settings import ControlSettings
from control.store.failures import DatabaseError
from control.store.issuers import Issuers
from policies.jwt.fetch import JwksClient
from policies.jwt.jwks import JwksCache
from policies.jwt.verifier import TokenVerifier, VerifiedToken
from registry.clock import Clock
from runtime.logs import logger

FETCH_TIMEOUT_S = 3.0
LEARN_S = 5.0
"""Between looks at which issuers there are: keys are here before the first token comes."""


class IssuerTokens:
    """Verifies tokens by the issuers that are configured now. Lives on one event loop."""

    def __init__(
        self,
        settings: ControlSettings,
        issuers: Issuers,
        clock: Clock,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``monotonic``: seconds, by which fetches are spaced."""
        self._issuers = issuers
        self._client = JwksClient(
            timeout_s=FETCH_TIMEOUT_S,
            allow_http=settings.jwks_allow_http,
            ca_file=settings.jwks_ca_file,
        )
        self.keys = JwksCache(self._client.fetch, monotonic=monotonic)
        self._verifier = TokenVerifier(self.keys, lambda: clock() / 1000)
        # One thread of its own: tokens do not wait for uploads, and many are one query at a time.
        self._thread = CapacityLimiter(1)

    async def verified(self, token: bytes) -> VerifiedToken:
        """What the token proves. Raises ``UNAUTHENTICATED``."""
        await self._learn()
        return await self._verifier.verified(token)

    async def run(self) -> None:
        """Keep the keys of the issuers that are configured here and fresh until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.keys.run())
                group.create_task(self._keep_learning())
        finally:
            await self._client.close()

    async def _keep_learning(self) -> None:
        while True:
            try:
                await self._learn()
            except DatabaseError as error:
                logger("jwks").warning("the issuers cannot be read", reason=type(error).__name__)
            await asyncio.sleep(LEARN_S)

    async def _learn(self) -> None:
        documents = await anyio.to_thread.run_sync(self._issuers.documents, limiter=self._thread)
        self._verifier.replace(documents)
