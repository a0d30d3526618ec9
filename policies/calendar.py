"""Calendar periods in UTC: which one a moment is in, and when it ends."""

from datetime import UTC, datetime

DAY_S = 86_400


def day_of(unix_s: float) -> int:
    """Days since 1970-01-01 UTC."""
    return int(unix_s // DAY_S)


def month_of(unix_s: float) -> int:
    """Months since year 0 UTC: ``12 * year + month - 1``."""
    moment = datetime.fromtimestamp(unix_s, UTC)
    return 12 * moment.year + moment.month - 1


def day_start(day: int) -> int:
    """UNIX seconds at which a day begins."""
    return day * DAY_S


def month_start(month: int) -> int:
    """UNIX seconds at which a month begins."""
    return int(datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC).timestamp())
