"""JSON Web Tokens of configured issuers on the management API. Knows no web framework."""

import time

import anyio.to_thread
from anyio import CapacityLimiter

from control.settings import ControlSettings
from control.store.issuers import Issuers
from policies.jwt.fetch import JwksClient
from policies.jwt.jwks import JwksCache
from policies.jwt.verifier import TokenVerifier, VerifiedToken
from registry.clock import Clock

FETCH_TIMEOUT_S = 3.0


class IssuerTokens:
    """Verifies tokens by the issuers that are configured now. Lives on one event loop."""

    def __init__(self, settings: ControlSettings, issuers: Issuers, clock: Clock) -> None:
        self._issuers = issuers
        self._client = JwksClient(
            timeout_s=FETCH_TIMEOUT_S,
            allow_http=settings.jwks_allow_http,
            ca_file=settings.jwks_ca_file,
        )
        self._keys = JwksCache(self._client.fetch, monotonic=time.monotonic)
        self._verifier = TokenVerifier(self._keys, lambda: clock() / 1000)
        # One thread of its own: tokens do not wait for uploads, and many are one query at a time.
        self._thread = CapacityLimiter(1)

    async def verified(self, token: bytes) -> VerifiedToken:
        """What the token proves. Raises ``UNAUTHENTICATED``."""
        documents = await anyio.to_thread.run_sync(self._issuers.documents, limiter=self._thread)
        self._verifier.replace(documents)
        return await self._verifier.verified(token)

    async def run(self) -> None:
        """Keep the issuers' keys fresh until cancelled."""
        try:
            await self._keys.run()
        finally:
            await self._client.close()
