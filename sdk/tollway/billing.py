"""Usage, quotas and statements: what was used, what is left, and what it costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tollway.errors import InvalidRequestError
from tollway.registry import check_name, listing
from tollway.resources import UsageRow
from tollway.transport import Transport

_USAGE = "/api/v1/usage"
_QUOTAS = "/api/v1/quotas"
_PAGE_ITEMS = 1_000
"""A report is read whole: larger pages take fewer requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaUse:
    """What a subscription has used of its plan's quota in the present period."""

    application: str
    model: str
    plan: str
    unit: str
    period: str
    limit: int
    used: int
    left: int
    resets_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementLine:
    """What was used of a model in a month, under one plan at one price. ``amount`` is a decimal."""

    month: str
    model: str
    plan: str
    requests: int
    failed_requests: int
    rows: int
    compute_ms: float
    price_per_thousand: str | None = None
    currency: str | None = None
    amount: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementTotal:
    """What a statement adds up to in one currency."""

    currency: str
    amount: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What an application has to pay for a month. A closed one never changes; ``late`` is usage of
    earlier months that arrived after their statements were closed."""

    id: str
    application: str
    month: str
    state: str
    start: str
    end: str
    closed_at: str | None = None
    lines: list[StatementLine]
    late: list[StatementLine]
    totals: list[StatementTotal]
    digest: str | None = None


class Billing:
    """The part of the management API about what was used."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def usage(
        self,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        by: Sequence[str] = (),
        step: str | None = None,
        only: Mapping[str, str | int | None] | None = None,
    ) -> list[UsageRow]:
        """Requests, rows, errors and times, by what ``by`` names, in steps of ``step``; ``only``
        narrows by ``application``, ``key``, ``model`` and ``status``."""
        params: dict[str, str | int] = {
            **_report(start, end, by, step, only),
            "limit": _PAGE_ITEMS,
        }
        return list(listing(self._transport, _USAGE, UsageRow, params))

    def usage_csv(
        self,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        by: Sequence[str] = (),
        step: str | None = None,
        only: Mapping[str, str | int | None] | None = None,
    ) -> str:
        """The same report as CSV, whole."""
        params = {**_report(start, end, by, step, only), "format": "csv"}
        return self._transport.request("GET", _USAGE, params=params).text

    def quotas(self, application: str | None = None) -> list[QuotaUse]:
        """What subscriptions have used of their quotas, of one application if named."""
        params = {} if application is None else {"application": application}
        return list(listing(self._transport, _QUOTAS, QuotaUse, params))

    def statements(self, application: str) -> list[str]:
        """The months (``2027-01``) of which the application has a statement, the newest first."""
        return list(listing(self._transport, _statements(application), str))

    def statement(self, application: str, month: str) -> Statement:
        """The application's statement of a month (``2027-01``)."""
        found = self._transport.request("GET", _statement(application, month))
        return self._transport.read(found, Statement)

    def statement_csv(self, application: str, month: str) -> str:
        """The statement's lines as CSV."""
        path = _statement(application, month)
        return self._transport.request("GET", path, params={"format": "csv"}).text


def _statement(application: str, month: str) -> str:
    if not month.replace("-", "").isdecimal() or not month.isascii():
        raise InvalidRequestError(f"{month!r} is not a month: write it as 2027-01")
    return f"{_statements(application)}/{month}"


def _statements(application: str) -> str:
    return f"/api/v1/applications/{check_name(application, 'application')}/statements"


def narrowed(
    start: datetime | None, end: datetime | None, only: Mapping[str, str | int | None]
) -> dict[str, str]:
    """The query of a report from ``start`` to ``end`` with what of ``only`` is not None."""
    wish: dict[str, str | int | None] = {"from": _moment(start), "to": _moment(end), **only}
    return {key: str(value) for key, value in wish.items() if value is not None}


def _report(
    start: datetime | None,
    end: datetime | None,
    by: Sequence[str],
    step: str | None,
    only: Mapping[str, str | int | None] | None,
) -> dict[str, str]:
    return narrowed(start, end, {"by": ",".join(by) or None, "step": step, **(only or {})})


def _moment(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    if moment.tzinfo is None:
        moment = moment.astimezone()
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
