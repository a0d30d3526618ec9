"""Times and durations as they are written on the command line."""

import re
from datetime import UTC, datetime, timedelta

import typer

_UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}


def moment(text: str, option: str, *, future: bool = False) -> datetime:
    """A time given as such, or as a distance from now."""
    if match := re.fullmatch(r"(\d{1,6})([mhd])", text.strip()):
        distance = int(match[1]) * _UNITS[match[2]]
        now = datetime.now(UTC)
        return now + distance if future else now - distance
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is neither like 90d, 12h or 30m, nor an ISO 8601 time", param_hint=option
        ) from None
    return moment if moment.tzinfo is not None else moment.astimezone()


def seconds(text: str, option: str) -> int:
    """A duration: 24h, 30m, 90s, 7d, or 0."""
    if text.strip() == "0":
        return 0
    if match := re.fullmatch(r"(\d{1,6})([smhd])", text.strip()):
        return int(match[1]) * int(_UNITS[match[2]].total_seconds())
    raise typer.BadParameter(f"{text!r} is not like 24h, 30m, 90s, 7d, or 0", param_hint=option)
