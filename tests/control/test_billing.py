"""Statements and quotas: billed once, by the price of the minute, and never changed afterwards."""

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from control import csv_text
from control.charges import BILLED, Price, amount, charges_of
from control.reach import Reach
from control.statements import digest
from control.usage import aggregate
from control.usage_periods import month_before, month_days, month_name, month_of, period_of
from control.usage_resources import Statement
from policies.plan_limits import PAID
from protocol.errors import Code, TollwayError
from protocol.usage import UsageRecord
from registry.access import Actor
from registry.store.audit import audit
from registry.store.tables import models
from tests.control.acting import Cast
from tests.control.running import Control
from tests.control.test_usage import lines, record

MONTH = "2027-01"
STATEMENT = f"/api/v1/applications/shop/statements/{MONTH}"


async def subscribed(control: Control, plan: str = "gold", **terms: Any) -> None:
    """Application shop, model risk, and a subscription under the plan."""
    admin = control.admin
    await price(control, plan, **terms)
    (await admin.put("/api/v1/applications/shop", json={})).raise_for_status()
    publish(control)
    (await admin.put("/api/v1/subscriptions/shop/risk", json={"plan": plan})).raise_for_status()


def publish(control: Control) -> None:
    """A model ``risk``, if there is none."""
    row = {"title": "", "description": "", "created_at": 0, "updated_at": 0}
    with control.services.database.write() as connection:
        if connection.execute(sa.select(models.c.name)).first() is None:
            connection.execute(sa.insert(models).values(name="risk", **row))


async def price(control: Control, plan: str, cost: str | None = "2.50", **terms: Any) -> None:
    priced = None if cost is None else {"amount": cost, "currency": "EUR"}
    answer = await control.admin.put(
        f"/api/v1/plans/{plan}", json={"price_per_thousand": priced, **terms}
    )
    answer.raise_for_status()


def take_in(control: Control, records: list[UsageRecord], segment: str) -> None:
    body = lines(records)
    assert control.services.usage.store.ingest("g1", segment, 0, body).next == len(body)


def many(control: Control, count: int, plan: str = "gold", **changes: Any) -> list[UsageRecord]:
    moment = {"at_ms": control.clock(), "plan": plan}
    return [record(0, **{**moment, **changes}) for _ in range(count)]


async def read(control: Control, path: str = STATEMENT) -> dict[str, Any]:
    answer = await control.admin.get(path)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_statement_bills_what_was_answered_and_not_what_failed_or_was_refused(
    control: Control,
) -> None:
    await subscribed(control)
    statuses = {200: 1000, 400: 20, 422: 1, 500: 3, 503: 7, 401: 5, 403: 5, 404: 5, 429: 50}
    records = [one for s, n in statuses.items() for one in many(control, n, status=s)]
    take_in(control, [*records, *many(control, 9, application="")], "s1")

    statement = await read(control)

    (line,) = statement["lines"]
    assert (line["requests"], line["failed_requests"]) == (1021, 10)
    assert (line["plan"], line["price_per_thousand"], line["currency"]) == ("gold", "2.50", "EUR")
    assert line["amount"] == "2.55"
    assert statement["totals"] == [{"currency": "EUR", "amount": "2.55"}]
    assert (statement["state"], statement["digest"]) == ("open", None)


async def test_usage_is_billed_by_the_price_and_plan_of_its_minute_however_late_it_arrives(
    control: Control,
) -> None:
    await subscribed(control)
    early = many(control, 1000)
    control.clock.advance(120)
    await price(control, "gold", "5.00")
    control.clock.advance(120)
    late = many(control, 1000)
    await subscribed(control, "platinum", cost="10")
    control.clock.advance(120)
    upgraded = many(control, 1000, plan="platinum")
    take_in(control, [*upgraded, *late, *early], "s1")

    lines_ = (await read(control))["lines"]

    assert [(one["plan"], one["price_per_thousand"], one["amount"]) for one in lines_] == [
        ("gold", "2.50", "2.50"),
        ("gold", "5.00", "5.00"),
        ("platinum", "10", "10.00"),
    ]


async def test_charging_goes_on_under_a_gateway_that_does_not_tell_the_plan(
    control: Control,
) -> None:
    """Gateways of an earlier version write records without a plan."""
    await subscribed(control)
    old = [msgspec.json.encode(list(msgspec.structs.astuple(one))[:-1]) for one in many(control, 4)]
    body = b"".join(line + b"\n" for line in old)

    assert control.services.usage.store.ingest("g1", "old", 0, body).records == 4

    (line,) = (await read(control))["lines"]
    assert (line["requests"], line["plan"], line["price_per_thousand"]) == (4, "gold", "2.50")


async def test_a_closed_statement_never_changes_and_late_usage_goes_to_a_later_one(
    control: Control,
) -> None:
    await subscribed(control)
    january = many(control, 1000)
    take_in(control, january, "s1")
    control.clock.advance(16 * 86_400)
    assert control.services.usage.statements.close_months() == 0
    control.clock.advance(4 * 86_400)
    assert control.services.usage.statements.close_months() == 1
    closed = await read(control)
    take_in(control, january[:200], "late")
    await price(control, "gold", "99")
    take_in(control, many(control, 100), "february")

    assert await read(control) == closed
    assert closed["state"] == "closed"
    parsed = Statement.model_validate(closed)
    assert closed["digest"] == digest(parsed)
    february = await read(control, "/api/v1/applications/shop/statements/2027-02")
    assert [(one["month"], one["amount"]) for one in february["late"]] == [("2027-01", "0.50")]
    assert [(one["month"], one["requests"]) for one in february["lines"]] == [("2027-02", 100)]
    months = await read(control, "/api/v1/applications/shop/statements")
    assert months["items"] == ["2027-02", "2027-01"]


async def test_statements_come_as_csv(control: Control) -> None:
    await subscribed(control)
    take_in(control, many(control, 10), "s1")

    answer = await control.admin.get(STATEMENT, headers={"accept": "text/csv"})

    assert answer.headers["content-type"].startswith("text/csv")
    header, line = answer.text.splitlines()
    assert header.startswith("statement,section,month,model,plan,requests")
    assert line.startswith("shop/2027-01,month,2027-01,risk,gold,10,0,20")


async def test_statements_that_cannot_be_are_refused(control: Control) -> None:
    await subscribed(control)
    for path, status in (
        ("/api/v1/applications/none/statements/2027-01", 404),
        ("/api/v1/applications/shop/statements/2027-02", 404),
        ("/api/v1/applications/shop/statements/2027-13", 422),
        ("/api/v1/applications/shop/statements/now", 422),
    ):
        assert (await control.admin.get(path)).status_code == status, path


def thresholds(control: Control) -> list[dict[str, Any]]:
    with control.services.database.read() as connection:
        found = connection.execute(
            sa.select(audit.c.after, audit.c.kind, audit.c.key)
            .where(audit.c.action == "quota.threshold_reached")
            .order_by(audit.c.seq)
        ).all()
    assert {(row.kind, row.key) for row in found} <= {("subscription", "shop/risk")}
    return [json.loads(row.after) for row in found]


async def test_a_quotas_thresholds_are_told_once_in_each_period(control: Control) -> None:
    await subscribed(control, quota={"limit": 10, "unit": "requests", "period": "day"})
    take_in(control, many(control, 7), "s1")
    assert thresholds(control) == []
    take_in(control, [*many(control, 1), *many(control, 5, status=429)], "s2")
    take_in(control, many(control, 1), "s3")
    take_in(control, many(control, 2), "s4")
    take_in(control, many(control, 2), "s5")
    day = {"limit": 10, "unit": "requests", "period": "2027-01-15"}
    assert thresholds(control) == [
        {"percent": 80, "used": 8, **day},
        {"percent": 100, "used": 11, **day},
    ]

    control.clock.advance(86_400)
    take_in(control, many(control, 10), "s6")
    assert [one["period"] for one in thresholds(control)[2:]] == ["2027-01-16"] * 2


async def test_a_lifted_quota_is_told_of_again(control: Control) -> None:
    await subscribed(control, quota={"limit": 10})
    take_in(control, many(control, 10), "s1")
    await price(control, "gold", quota={"limit": 20})
    take_in(control, many(control, 6), "s2")
    told = [(one["limit"], one["percent"]) for one in thresholds(control)]
    assert told == [(10, 80), (10, 100), (20, 80)]


@pytest.mark.parametrize(("unit", "used"), [("requests", 3), ("rows", 6), ("compute_ms", 30)])
async def test_quotas_show_what_is_left_in_their_unit(
    control: Control, unit: str, used: int
) -> None:
    await subscribed(control, quota={"limit": 100, "unit": unit, "period": "month"})
    take_in(control, many(control, 3, infer_us=10_000), "s1")

    (item,) = (await read(control, "/api/v1/quotas?application=shop"))["items"]

    assert item == {
        "application": "shop",
        "model": "risk",
        "plan": "gold",
        "unit": unit,
        "period": "2027-01",
        "limit": 100,
        "used": used,
        "left": 100 - used,
        "resets_at": "2027-02-01T00:00:00.000Z",
    }
    assert (await read(control, "/api/v1/quotas?application=other"))["items"] == []


async def test_a_bill_outlives_its_application_for_whoever_could_read_it(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    await control.admin.put("/api/v1/consumers/acme")
    await control.admin.put("/api/v1/applications/shop", json={"consumer": "acme"})
    await subscribed(control)
    take_in(control, many(control, 1000), "s1")
    cast = Cast(control, monkeypatch)
    admin = cast.client(Actor("root", "admin"))
    acme = cast.client(Actor("ann", "consumer", consumer="acme"))
    may = [admin, cast.client(Actor("aud", "auditor")), acme]
    may_not = [
        cast.client(Actor("bob", "consumer", consumer="globex")),
        cast.client(Actor("pub", "publisher", "press", frozenset({"risk"}))),
        cast.client(Actor("new", "consumer")),
    ]
    before = (await acme.get(STATEMENT)).json()
    assert before["totals"] == [{"currency": "EUR", "amount": "2.50"}]

    assert (await acme.delete("/api/v1/applications/shop")).status_code == 204

    async def readers_see(statement: dict[str, Any]) -> None:
        months = STATEMENT.rpartition("/")[0]
        for client in may:
            assert (await client.get(STATEMENT)).json() == statement
            assert (await client.get(months)).json()["items"] == [MONTH]
            table = await client.get(STATEMENT, params={"format": "csv"})
            assert "risk,gold,1000" in table.text
            usage = await client.get("/api/v1/usage", params={"by": "application"})
            (item,) = usage.json()["items"]
            assert (item["application"], item["requests"]) == ("shop", 1000)
        for client in may_not:
            for path in (STATEMENT, months, f"{STATEMENT}?format=csv"):
                assert (await client.get(path)).status_code == 404

    await readers_see(before)
    control.clock.advance(20 * 86_400)
    assert control.services.usage.statements.close_months() == 1
    closed = (await acme.get(STATEMENT)).json()
    assert (closed["state"], closed["totals"]) == ("closed", before["totals"])
    control.clock.advance(-20 * 86_400)  # the report's usual span holds the usage again
    await readers_see(closed)

    for client, body, status in (
        (may_not[0], {}, 404),
        (admin, {"consumer": "default"}, 409),
        (acme, {}, 201),
    ):
        made = await client.put("/api/v1/applications/shop", json=body)
        assert made.status_code == status, made.text
        await readers_see(closed)


async def test_usage_that_arrives_after_its_application_was_deleted_is_billed(
    control: Control,
) -> None:
    await subscribed(control)
    under_way = many(control, 1000)
    await control.admin.delete("/api/v1/applications/shop")

    take_in(control, under_way, "s1")

    assert (await read(control))["totals"] == [{"currency": "EUR", "amount": "2.50"}]


async def test_who_reaches_neither_application_nor_model_sees_nothing(control: Control) -> None:
    await subscribed(control, quota={"limit": 100})
    take_in(control, many(control, 3), "s1")
    parts = control.services.usage
    from control.usage_report import parse_query

    query = parse_query(None, None, "application", None, control.clock())
    stranger = Reach("stranger", frozenset())
    owner = Reach("default", frozenset())
    publisher = Reach("stranger", frozenset({"risk"}))
    for reach, seen in ((stranger, 0), (owner, 1), (publisher, 1)):
        assert len(parts.reports.page(reach, query, 10).items) == seen
        assert len(parts.quotas.list(reach, 10, "", None, None).items) == seen
    assert parts.statements.get(owner, "shop", MONTH).id == "shop/2027-01"
    for reach in (stranger, publisher):
        with pytest.raises(TollwayError) as refused:
            parts.statements.get(reach, "shop", MONTH)
        assert refused.value.code is Code.NOT_FOUND


async def test_usage_comes_as_csv_whole_and_filtered(control: Control) -> None:
    await subscribed(control)
    take_in(control, [*many(control, 2), *many(control, 1, key="key-2", status=503)], "s1")
    params = {"by": "key,status", "format": "csv", "limit": "1"}

    whole = await control.admin.get("/api/v1/usage", params=params)
    filtered = await control.admin.get("/api/v1/usage", params={**params, "key": "key-2"})

    assert whole.text.splitlines()[0].startswith("key,status,requests,rows,errors,p50_ms")
    assert [line[:12] for line in whole.text.splitlines()[1:]] == ["key-1,200,2,", "key-2,503,1,"]
    assert len(filtered.text.splitlines()) == 2


@given(st.integers(0, 10**12), st.decimals("0", "999999999", places=6))
def test_an_amount_is_the_exact_product_rounded_half_to_even(requests: int, cost: Decimal) -> None:
    found = amount(Price(str(cost), "EUR"), requests)
    assert abs(found * 1000 - cost * requests) <= 5
    assert found.as_tuple().exponent == -2


@pytest.mark.parametrize(
    ("cost", "currency", "requests", "result"),
    [
        ("1", "EUR", 25, "0.02"),
        ("1", "EUR", 35, "0.04"),
        ("1", "JPY", 1500, "2"),
        ("1", "KWD", 1, "0.001"),
        ("", "", 10**9, "0.00"),
    ],
)
def test_money_is_rounded_by_its_currency(
    cost: str, currency: str, requests: int, result: str
) -> None:
    assert str(amount(Price(cost, currency), requests)) == result


@given(st.integers(0, 2_900_000))
def test_every_day_is_in_one_month(day: int) -> None:
    month = month_of(day)
    period = month_days(month)
    assert period.first <= day < period.end
    assert period.name == month_name(month)
    assert period_of(day, "day").first == day
    if period.first:
        assert month_days(month_before(month)).end == period.first


def test_what_is_billed_is_what_gateways_count_against_quotas() -> None:
    assert BILLED == PAID


def test_charges_are_of_applications_and_models_only() -> None:
    places = aggregate([record(0, application=""), record(0, model="", status=200), record(0)])
    assert [(one.application, one.model) for one in charges_of(places)] == [("shop", "risk")]


@given(st.lists(st.lists(st.text(max_size=8), min_size=2, max_size=2), max_size=5))
def test_no_cell_begins_like_a_formula(rows: list[list[str]]) -> None:
    import csv
    import io

    text = "".join(csv_text.lines(["a", "b"], rows))
    found = list(csv.reader(io.StringIO(text, newline="")))[1:]
    assert len(found) == len(rows)
    for cells, given_cells in zip(found, rows, strict=True):
        for cell, original in zip(cells, given_cells, strict=True):
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
            assert cell.removeprefix("'") == original.removeprefix("'")
