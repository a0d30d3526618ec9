"""Time, injected: a clock is a function that gives UNIX milliseconds."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], int]


def system_clock() -> int:
    """UNIX milliseconds now."""
    return time.time_ns() // 1_000_000


def rfc3339(at_ms: int) -> str:
    """``at_ms`` as the API writes times: ``2026-11-23T08:00:00.000Z``."""
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at_ms % 1000:03d}Z"
