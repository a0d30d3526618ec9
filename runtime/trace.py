"""What is noted of a sampled request on its way, until its spans are made."""

from protocol.frames import EngineTrace
from protocol.trace_context import TraceContext


class Trace:
    """One sampled request. Times are seconds of the monotonic clock; 0: it did not get there."""

    __slots__ = ("admitted", "context", "engine", "parent", "sends", "sent", "state", "upstream")

    def __init__(
        self,
        context: TraceContext,
        upstream: TraceContext,
        parent: TraceContext | None,
        state: list[tuple[str, str]],
    ) -> None:
        self.context = context
        """The request's own span."""
        self.upstream = upstream
        """The span of what was sent to whoever answers, which theirs are children of."""
        self.parent = parent
        """The caller's; None when the trace begins here."""
        self.state = state
        """Members of ``tracestate``."""
        self.admitted = 0.0
        self.sent = 0.0
        self.sends = 0
        """How often it was sent: again when an engine was lost, or turned it away."""
        self.engine: EngineTrace | None = None
