"""Webhooks as the routes use them: targets are checked before an endpoint is stored."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

import anyio.to_thread

from control.preconditions import Precondition
from control.store.deliveries import Deliveries
from control.store.webhooks import Endpoints
from control.webhooks.dispatcher import Dispatcher
from control.webhooks.resources import NewWebhook, Webhook, WebhookChange, WebhookRequest
from control.webhooks.signing import Signer
from registry.access import Actor
from registry.clock import Clock
from runtime.targets import Targets

Result = TypeVar("Result")


class Webhooks(NamedTuple):
    """The parts of webhooks, and what takes more than one of them."""

    endpoints: Endpoints
    deliveries: Deliveries
    targets: Targets
    signer: Signer
    dispatcher: Dispatcher
    resolve_timeout_s: float
    retention_ms: int
    clock: Clock

    async def create(
        self, request: WebhookRequest, actor: Actor, idempotency_key: str | None
    ) -> NewWebhook:
        """Make an endpoint, and show its secret this once."""
        await self.targets.check(request.url, self.resolve_timeout_s)
        made = await _blocking(partial(self.endpoints.create, request, actor, idempotency_key))
        return self.shown(made)

    async def change(
        self, id: str, change: WebhookChange, actor: Actor, condition: Precondition
    ) -> Webhook:
        """Change an endpoint."""
        # First whether it is there at all: nobody resolves names for what they do not reach.
        await _blocking(partial(self.endpoints.get, id, actor))
        if change.url is not None:
            await self.targets.check(change.url, self.resolve_timeout_s)
        return await _blocking(partial(self.endpoints.change, id, change, actor, condition))

    def expire(self) -> int:
        """Forget deliveries that ended long enough ago. Returns how many."""
        return self.deliveries.expire(self.clock() - self.retention_ms)

    def shown(self, webhook: Webhook) -> NewWebhook:
        """The endpoint with its present secret."""
        secret = self.signer.secret(webhook.id, webhook.secret_generation)
        return NewWebhook(**webhook.model_dump(), secret=secret)


async def _blocking(call: Callable[[], Result]) -> Result:
    return await anyio.to_thread.run_sync(call)
