"""Builds the parts of webhooks from settings."""

import ssl
from importlib.metadata import PackageNotFoundError, version

from control.metrics import Metrics
from control.settings import ControlSettings
from control.store.deliveries import Deliveries
from control.store.delivery_queue import DeliveryQueue
from control.store.stream import ObservedDatabase
from control.store.webhook_events import EventLog
from control.store.webhooks import Endpoints
from control.webhooks.dispatcher import Dispatcher
from control.webhooks.sender import Sender
from control.webhooks.service import Webhooks
from control.webhooks.signing import Signer
from registry.clock import Clock
from runtime.files import secret_file
from runtime.targets import Resolver, Targets, networks, system_resolver

_DAY_MS = 24 * 3600 * 1000


def build_webhooks(
    settings: ControlSettings,
    database: ObservedDatabase,
    clock: Clock,
    metrics: Metrics,
    *,
    resolver: Resolver = system_resolver,
    verify: ssl.SSLContext | None = None,
) -> Webhooks:
    """Webhooks on a database that is migrated. Nothing runs before the dispatcher is opened.

    ``verify`` are the certificates to trust; None: those of the system's usual bundle.
    """
    signer = Signer(secret_file(settings.webhook_secret_path))
    targets = Targets(
        networks(settings.webhook_allowed_networks), "TOLLWAY_WEBHOOK_ALLOWED_NETWORKS", resolver
    )
    events = EventLog(database, clock)
    events.begin()
    deliveries = Deliveries(database, clock)

    def make_sender() -> Sender:
        return Sender(
            targets,
            connect_timeout_s=settings.webhook_connect_timeout_s,
            timeout_s=settings.webhook_timeout_s,
            user_agent=f"Tollway/{_version()}",
            verify=verify,
        )

    dispatcher = Dispatcher(
        events=events,
        queue=DeliveryQueue(database, clock, round(settings.webhook_disable_after_d * _DAY_MS)),
        deliveries=deliveries,
        make_sender=make_sender,
        signer=signer,
        clock=clock,
        metrics=metrics,
        concurrency=settings.webhook_concurrency,
        timeout_s=settings.webhook_timeout_s,
        poll_s=settings.webhook_poll_ms / 1000,
    )
    database.observe(dispatcher.committed)
    return Webhooks(
        endpoints=Endpoints(database, clock),
        deliveries=deliveries,
        targets=targets,
        signer=signer,
        dispatcher=dispatcher,
        resolve_timeout_s=settings.webhook_connect_timeout_s,
        retention_ms=round(settings.webhook_retention_d * _DAY_MS),
        clock=clock,
    )


def _version() -> str:
    try:
        return version("tollwayd")
    except PackageNotFoundError:
        return "0"
