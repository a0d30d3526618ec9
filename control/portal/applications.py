"""What the pages of applications show, read from the management API."""

import asyncio
from datetime import UTC, datetime
from typing import Final

import msgspec

from control.plans import Plan
from control.portal.api import ApiRefusal
from control.portal.session import Visit
from control.portal.usage import days_until, requests_chart
from control.resources import Application, Key, Page, Subscription
from control.usage_resources import QuotaUse, UsageItem, UsagePage
from protocol.errors import Code, TollwayError
from protocol.names import check_name
from protocol.problems import of_error

MANY: Final = 100
"""Keys, subscriptions and plans that a page of an application shows."""
SHOWN_DAYS: Final = 7


class ApplicationShown(msgspec.Struct, frozen=True):
    """An application's first page."""

    application: Application
    keys: list[Key]
    more_keys: bool
    subscriptions: list["SubscriptionShown"]
    days: list[UsageItem]
    """Usage of the last days, day by day; days without any are left out."""
    chart: dict[str, object]
    """The requests of these days."""

    @property
    def working_keys(self) -> list[Key]:
        """Keys that are not revoked."""
        return [key for key in self.keys if key.revoked_at is None]

    @property
    def requests(self) -> int:
        """Requests of the days."""
        return sum(day.requests for day in self.days)

    @property
    def errors(self) -> int:
        """Of these, answers of status 400 and above."""
        return sum(day.errors for day in self.days)


class SubscriptionShown(msgspec.Struct, frozen=True):
    """A subscription, with what is left of its quota."""

    subscription: Subscription
    quota: QuotaUse | None
    plan: Plan | None
    """Null: it is not among the first plans."""


async def read_application(visit: Visit, name: str) -> ApplicationShown:
    """An application with its keys, subscriptions and last days."""
    path = f"/applications/{name}"
    found, keys, shown, usage = await asyncio.gather(
        visit.api.get(path, Application),
        visit.api.get("/keys", Page[Key], application=name, limit=MANY),
        read_subscriptions(visit, name),
        visit.api.get(
            "/usage", UsagePage, application=name, step="day", limit=MANY, **last_days(visit)
        ),
    )
    return ApplicationShown(
        found,
        keys.items,
        keys.next is not None,
        shown,
        usage.items,
        requests_chart(usage.items, days_until(visit.now_ms, SHOWN_DAYS)),
    )


async def read_subscriptions(visit: Visit, name: str) -> list[SubscriptionShown]:
    """An application's subscriptions, with their plans and quotas: three calls, however many."""
    found, quotas, plans = await asyncio.gather(
        visit.api.get("/subscriptions", Page[Subscription], application=name, limit=MANY),
        visit.api.get("/quotas", Page[QuotaUse], application=name, limit=MANY),
        visit.api.get("/plans", Page[Plan], limit=MANY),
    )
    used = {quota.model: quota for quota in quotas.items}
    known = {plan.name: plan for plan in plans.items}
    return [SubscriptionShown(one, used.get(one.model), known.get(one.plan)) for one in found.items]


async def make_application(visit: Visit, name: str, body: object) -> None:
    """Make an application that is not there yet. Raises :class:`ApiRefusal`, beside ``name``."""
    try:
        check_name(name, "application")
    except TollwayError as error:  # it would be another path
        raise ApiRefusal(of_error(error)).beside("name") from None
    try:
        await visit.api.put(f"/applications/{name}", body, Application, if_none_match="*")
    except ApiRefusal as refusal:
        if refusal.problem.code == Code.PRECONDITION_FAILED:
            taken = of_error(TollwayError(Code.CONFLICT, f"you have an application {name!r}"))
            raise ApiRefusal(taken).beside("name") from None
        raise refusal.beside("name") from None


def last_days(visit: Visit, days: int = SHOWN_DAYS) -> dict[str, str]:
    """The span of the last days, today included, as the API takes it."""
    first = days_until(visit.now_ms, days)[0]
    return {"from": datetime.fromtimestamp(first, UTC).isoformat()}


def suggested_name(visit: Visit, taken: set[str]) -> str:
    """A name for a new application that is likely to be free: names are one space for all."""
    me = visit.me
    base = "app" if me is None else f"{(me.consumer or me.name)[:50]}-app"
    number = 1
    while (name := base if number == 1 else f"{base}-{number}") in taken:
        number += 1
    return name
