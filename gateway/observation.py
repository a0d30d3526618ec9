"""Builds what operators see of single predictions, as the settings say, and runs its threads."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib import import_module

from prometheus_client import CollectorRegistry

from gateway.access_log import AccessLog
from gateway.observer import Observer
from gateway.settings import GatewaySettings
from gateway.trace_export import Exporter, TraceExport
from gateway.tracing import Tracing
from runtime.release import software_version
from runtime.start import StartError


class Observation:
    """The access log, and the traces where a collector is configured."""

    def __init__(
        self, settings: GatewaySettings, *, instance: str, now: Callable[[], float]
    ) -> None:
        """``instance``: this gateway's name in traces; ``now`` gives UNIX seconds. Raises
        :class:`StartError` when traces are wanted and the extra for them is not installed."""
        self.access = AccessLog(settings.access_log)
        self.export: TraceExport | None = None
        tracing: Tracing | None = None
        if settings.otlp_endpoint is not None:
            self.export = TraceExport(_exporter(settings.otlp_endpoint, instance))
            tracing = Tracing(
                self.export, settings.trace_sample_ratio, now=now, monotonic=time.monotonic
            )
        self.observer = Observer(self.access, tracing, now)

    def register(self, registry: CollectorRegistry) -> None:
        """Show what is dropped in this registry's scrapes."""
        registry.register(self.access)
        if self.export is not None:
            registry.register(self.export)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write and send while the block runs; what waits then gets a bounded time."""
        self.access.start()
        if self.export is not None:
            self.export.start()
        try:
            yield
        finally:
            await asyncio.to_thread(self.access.close)
            if self.export is not None:
                await asyncio.to_thread(self.export.close)


def _exporter(endpoint: str, instance: str) -> Exporter:
    # Imported only here: without traces OpenTelemetry costs neither memory nor time.
    try:
        otlp = import_module("gateway.otlp")
    except ModuleNotFoundError:
        raise StartError(
            "TOLLWAY_OTLP_ENDPOINT is set, and OpenTelemetry is not installed: "
            "pip install 'tollwayd[otel]', or unset it"
        ) from None
    exporter: Exporter = otlp.OtlpExporter(endpoint, version=software_version(), instance=instance)
    return exporter
