"""How the portal writes numbers, times, sizes and money. Pure."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from control.portal.catalogue import limits_words
from control.portal.directions import formatted, isolated, isolated_value, isolated_words
from control.portal.plain_words import better_when, condition_words, metric_name

NONE: Final = "\N{EN DASH}"
"""What stands where there is no value."""
_SIZES: Final = ("B", "kB", "MB", "GB", "TB")
_THOUSAND: Final = 1000
_SPANS: Final = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))
_SHORT: Final = ((1_000_000_000, "G"), (1_000_000, "M"), (10_000, "k"))


def number(value: float | None, digits: int = 0) -> str:
    """``1,234``; with ``digits`` after the point."""
    return NONE if value is None else f"{value:,.{digits}f}"


def short_number(value: float | None) -> str:
    """``12.3 k``: for cards and axes."""
    if value is None:
        return NONE
    for size, unit in _SHORT:
        if abs(value) >= size:
            scale = _THOUSAND if unit == "k" else size
            return f"{value / scale:.1f}".removesuffix(".0") + f" {unit}"
    return f"{value:,.0f}"


def figure(value: float | None) -> str:
    """A measure with four significant digits: ``0.9312``."""
    return NONE if value is None else f"{value:.4g}"


def percent(value: float | None, digits: int = 1) -> str:
    """A share of 0 to 1 as ``12.5 %``."""
    return NONE if value is None else f"{value * 100:.{digits}f} %"


def share(value: float | None) -> str:
    """Percent in steps of 0.1 as ``12.5 %``, ``5 %``."""
    return NONE if value is None else f"{round(value, 1):g} %"


def milliseconds(value: float | None) -> str:
    """``0.42 ms``, ``12 ms``, ``1.2 s``."""
    if value is None:
        return NONE
    if value >= _THOUSAND:
        return f"{value / _THOUSAND:.3g} s"
    return f"{value:.3g} ms"


def size(value: float | None) -> str:
    """Bytes as ``1.5 MB`` (powers of 1000)."""
    if value is None:
        return NONE
    for unit in _SIZES:
        if value < _THOUSAND or unit == _SIZES[-1]:
            return f"{value:.3g} {unit}"
        value /= _THOUSAND
    return NONE


def money(amount: str | None, currency: str | None = None) -> str:
    """An exact decimal with at least two digits after the point, and its currency."""
    if amount is None:
        return NONE
    whole, _, cents = format(Decimal(amount), "f").partition(".")
    text = f"{int(whole):,}.{cents.ljust(2, '0')}"
    return f"{text} {currency}" if currency else text


def duration(seconds: float | None) -> str:
    """``3 days``, ``2 hours``, ``45 seconds``: the largest unit that fits."""
    if seconds is None:
        return NONE
    for span, unit in _SPANS:
        if seconds >= span or span == 1:
            count = int(seconds // span)
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return NONE


def day(value: str | None) -> Markup:
    """A time (RFC 3339) as its date."""
    return _time(value, "%-d %b %Y")


def moment(value: str | int | None) -> Markup:
    """A time (RFC 3339, or UNIX milliseconds) as date and minute, in UTC."""
    return _time(value, "%-d %b %Y, %H:%M")


@pass_context
def ago(context: Context, value: str | int | None) -> Markup:
    """``3 hours ago``, ``in 2 days``, with the exact time as its title."""
    at = _read(value)
    if at is None:
        return escape(NONE)
    seconds = context["now"] / 1000 - at.timestamp()
    if abs(seconds) < 5:  # noqa: PLR2004
        words = "just now"
    else:
        words = f"{duration(seconds)} ago" if seconds > 0 else f"in {duration(-seconds)}"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        at.isoformat(), at.strftime("%-d %b %Y, %H:%M:%S UTC"), words
    )


def _read(value: str | int | None) -> datetime | None:
    if value is None or value == "":
        return None
    if isinstance(value, int):
        return datetime.fromtimestamp(value / 1000, UTC)
    return datetime.fromisoformat(value).astimezone(UTC)


def _time(value: str | int | None, form: str) -> Markup:
    at = _read(value)
    if at is None:
        return escape(NONE)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        at.isoformat(), at.strftime("%-d %b %Y, %H:%M:%S UTC"), at.strftime(form)
    )


def code_words(text: str) -> Markup:
    """A text in which `code` stands between backticks, as API documents write it."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # one that opens and never closes is a backtick
        return escape(text)
    return Markup().join(
        Markup("<code>{}</code>").format(part) if index % 2 else escape(part)
        for index, part in enumerate(parts)
    )


FILTERS: Final[dict[str, Callable[..., Any]]] = {
    "number": number,
    "short": short_number,
    "figure": figure,
    "percent": percent,
    "share": share,
    "ms": milliseconds,
    "size": size,
    "money": money,
    "duration": duration,
    "day": day,
    "moment": moment,
    "ago": ago,
    "code_words": code_words,
    "format": formatted,
    "isolated": isolated,
    "isolated_value": isolated_value,
    "isolated_words": isolated_words,
    "metric": metric_name,
    "better": better_when,
    "limits": limits_words,
    "condition": condition_words,
}
"""Filters by the name that templates use."""
