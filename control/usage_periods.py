"""Days, months and quota periods in UTC: what usage is billed and limited by. Pure."""

import re
from datetime import MAXYEAR, UTC, date, datetime, timedelta
from typing import Final, NamedTuple

from protocol.configuration import QuotaPeriod
from protocol.errors import Code, TollwayError

MINUTE_MS: Final = 60_000
DAY_MINUTES: Final = 1440
DAY_MS: Final = DAY_MINUTES * MINUTE_MS
_EPOCH: Final = date(1970, 1, 1)
_MONTH: Final = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")


class Period(NamedTuple):
    """A calendar day or month: days (UNIX time / 86400) ``first`` up to, not including, ``end``."""

    name: str
    """``2027-01-15`` or ``2027-01``."""
    first: int
    end: int


def day_of(at_ms: int) -> int:
    """The UTC day that ``at_ms`` is in."""
    return at_ms // DAY_MS


def month_of(day: int) -> int:
    """The month that a day is in, as year * 100 + month."""
    on = _EPOCH + timedelta(days=day)
    return on.year * 100 + on.month


def month_before(month: int) -> int:
    """The month before."""
    return month - 1 if month % 100 > 1 else month - 89


def month_days(month: int) -> Period:
    """The days of a month."""
    first = date(month // 100, month % 100, 1)
    after = (first + timedelta(days=31)).replace(day=1)
    return Period(month_name(month), (first - _EPOCH).days, (after - _EPOCH).days)


def month_name(month: int) -> str:
    """``2027-01``."""
    return f"{month // 100:04d}-{month % 100:02d}"


def parse_month(text: str) -> int:
    """The month that ``YYYY-MM`` names, or ``INVALID``."""
    match = _MONTH.fullmatch(text)
    if match is None or not _EPOCH.year <= int(match[1]) < MAXYEAR:
        raise TollwayError(Code.INVALID, f"{text[:20]!r} is not a month: write it as 2027-01")
    return int(match[1]) * 100 + int(match[2])


def period_of(day: int, kind: QuotaPeriod) -> Period:
    """The period of a quota that a day is in."""
    if kind == "month":
        return month_days(month_of(day))
    return Period((_EPOCH + timedelta(days=day)).isoformat(), day, day + 1)


def day_start_ms(day: int) -> int:
    """When a day begins."""
    return day * DAY_MS


def month_name_at(at_ms: int) -> str:
    """The month of a moment, as ``2027-01``."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m")
