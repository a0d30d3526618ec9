"""OpenTelemetry's own exporter (OTLP over HTTP), for spans of ours.

The only module that imports OpenTelemetry, and imported only where a collector is configured.
"""

import logging
from collections.abc import Sequence
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)

from gateway.tracing import ENGINE, GATEWAY, Span

TRACES_PATH: Final = "/v1/traces"
ATTEMPTS_S: Final = 10.0
"""Time that one batch gets, with the exporter's repetitions."""
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_KINDS: Final = {
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "internal": SpanKind.INTERNAL,
}


class OtlpExporter:
    """A :class:`gateway.trace_export.Exporter`."""

    def __init__(self, endpoint: str, *, version: str, instance: str) -> None:
        """``endpoint``: the collector's base URL. Headers, certificates and compression are read
        from OpenTelemetry's own ``OTEL_EXPORTER_OTLP_...`` variables."""
        # What it says at every attempt is said once, by the thread that sends, and counted.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self._exporter = OTLPSpanExporter(
            endpoint=endpoint.rstrip("/") + TRACES_PATH, timeout=ATTEMPTS_S
        )
        self._scope = InstrumentationScope("tollway", version)
        self._resources = {
            service: Resource.create(
                {
                    "service.name": service,
                    "service.version": version,
                    "service.instance.id": instance,
                }
            )
            for service in (GATEWAY, ENGINE)
        }

    def export(self, spans: Sequence[Span]) -> bool:
        """Whether the collector has taken them."""
        taken = self._exporter.export([self._readable(span) for span in spans])
        return taken is SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Give up what is being sent."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def _readable(self, span: Span) -> ReadableSpan:
        state = TraceState(span.state)
        parent = None
        if span.parent_id:
            parent = SpanContext(span.trace_id, span.parent_id, span.remote_parent, _SAMPLED, state)
        return ReadableSpan(
            name=span.name,
            context=SpanContext(span.trace_id, span.span_id, False, _SAMPLED, state),
            parent=parent,
            resource=self._resources[span.service],
            attributes=span.attributes,
            kind=_KINDS[span.kind],
            status=Status(StatusCode.ERROR if span.failed else StatusCode.UNSET),
            start_time=span.start_ns,
            end_time=span.end_ns,
            instrumentation_scope=self._scope,
        )
