"""Spans of time as pages offer them, and moments as people type them. Pure."""

from typing import Final

import msgspec

from registry.clock import rfc3339

HOUR_MS: Final = 3_600_000


class Span(msgspec.Struct, frozen=True):
    """A choice of a page: the last so many hours."""

    key: str
    label: str
    hours: int

    def begin(self, now_ms: int) -> str:
        """When it begins (RFC 3339)."""
        return rfc3339(now_ms - self.hours * HOUR_MS)


SPANS: Final = (
    Span("1h", "Last hour", 1),
    Span("6h", "Last 6 hours", 6),
    Span("24h", "Last 24 hours", 24),
    Span("7d", "Last 7 days", 168),
    Span("30d", "Last 30 days", 720),
    Span("90d", "Last 90 days", 2160),
)
_BY_KEY: Final = {span.key: span for span in SPANS}


def span_of(key: str, otherwise: str = "24h") -> Span:
    """The span of that key, or the one that a page begins with."""
    return _BY_KEY.get(key, _BY_KEY[otherwise])


def as_moment(text: str) -> str:
    """What a browser's field for dates and times gives, as RFC 3339 in UTC: ``2026-11-25`` and
    ``2026-11-25T10:30`` are completed; anything else goes as it is, for the API to judge."""
    if len(text) == len("2026-11-25"):
        return f"{text}T00:00:00Z"
    if len(text) == len("2026-11-25T10:30") and "T" in text:
        return f"{text}:00Z"
    if len(text) == len("2026-11-25T10:30:00") and "T" in text:
        return f"{text}Z"
    return text
