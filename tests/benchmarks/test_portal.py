"""The benchmark of the portal: what is copied, what a page weighs, and when it passes."""

from pathlib import Path

import httpx
import msgspec
import pytest
import sqlalchemy as sa

from benchmarks.portal import PageCost, Side, judge
from benchmarks.portal_filling import Size, database_of, fill_callers, fill_directory
from benchmarks.portal_pages import Reader, Wanted
from control.store import schema
from control.store.canary_callers import CanaryCallers
from control.store.tables import api_keys, applications, consumers, subscriptions
from registry.clock import system_clock
from registry.store.tables import models

SIZE = Size(models=20, applications=200, requests=0, days=1)
STAMPS = {"created_ms": 1, "updated_ms": 1}


def test_what_is_there_is_copied_for_many_owners(tmp_path: Path) -> None:
    database = database_of(tmp_path)
    schema.upgrade(database)
    with database.write() as connection:
        for table, row in (
            (models, {"name": "one", "title": "", "description": "", "owner": "me",
                      "created_at": 1, "updated_at": 1}),
            (consumers, {"name": "mine", "title": "", **STAMPS}),
            (applications, {"name": "app", "consumer": "mine", "title": "", **STAMPS}),
            (subscriptions, {"application": "app", "model": "one", "plan": "free", **STAMPS}),
            (api_keys, {"id": "key-1", "hash": "h", "prefix": "tw_", "application": "app",
                        "label": "", "environment": "live", "created_ms": 1, "created_by": "me",
                        "idempotency_key": "k"}),
        ):  # fmt: skip
            connection.execute(sa.insert(table).values(row))
    fill_directory(database, SIZE, model="one", application="app", publisher="me")
    with database.read() as connection:

        def count(column: sa.Column[str], value: str | None = None) -> int:
            query = sa.select(sa.func.count()).select_from(column.table)
            if value is not None:
                query = query.where(column == value)
            return int(connection.execute(query).scalar_one())

        assert count(models.c.name) == 21
        assert count(models.c.owner, "me") == 1 + 4
        assert count(applications.c.name) == count(api_keys.c.id) == 201
        assert count(applications.c.consumer, "mine") == 1 + 2
        assert count(subscriptions.c.model, "one") == 1 + 20
    database.close()


def test_every_application_has_called_the_model_within_a_week(tmp_path: Path) -> None:
    database = database_of(tmp_path)
    schema.upgrade(database)
    with database.write() as connection:
        row = {"name": "one", "title": "", "description": "", "owner": "me",
               "created_at": 1, "updated_at": 1}  # fmt: skip
        connection.execute(sa.insert(models).values(row))
    fill_callers(database, SIZE, "one")
    found = CanaryCallers(database, system_clock).of("one", 8, 10)
    assert (found.applications, found.requests) == (SIZE.applications, SIZE.applications)
    database.close()


def test_a_page_weighs_what_it_loads_once_each() -> None:
    asked: list[str] = []

    def portal(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        if request.url.path == "/portal":
            assert request.headers.get("cookie") == "tollway_session=s"
            page = '<link href="/portal/assets/1/a.css"><script src="/portal/assets/2/b.js">'
            page += '<link href="/portal/assets/1/a.css">'
            return httpx.Response(200, stream=httpx.ByteStream(page.encode()))
        return httpx.Response(200, stream=httpx.ByteStream(b"x" * 1000))

    reader = Reader("http://portal", httpx.MockTransport(portal))
    wanted = Wanted("front", "consumer", "/portal", "s")
    for _ in range(2):
        answer = reader.get(wanted)
        assert reader.weight(answer) == len(answer.content) + 2000
    assert sorted(asked) == [
        "/portal",
        "/portal",
        "/portal/assets/1/a.css",
        "/portal/assets/2/b.js",
    ]
    reader.close()


PAGE = PageCost(
    page="front", role="", path="/portal", status=200, cpu_ms=20.0, worst_ms=30.0, weight=50_000
)


@pytest.mark.parametrize(
    ("changes", "p99_ms", "missed"),
    [
        ({}, 5.0, []),
        ({"cpu_ms": 201.0}, 5.0, [0]),
        ({"weight": 300_001}, 5.0, [1]),
        ({}, 6.1, [2]),
        ({"status": 500}, 5.0, [3]),
    ],
)
def test_a_page_or_a_prediction_over_its_target_is_told(
    changes: dict[str, object], p99_ms: float, missed: list[int]
) -> None:
    verdicts = judge(
        [PAGE, msgspec.structs.replace(PAGE, **changes)], Side(p99_ms=[5.0]), Side(p99_ms=[p99_ms])
    )
    assert [n for n, verdict in enumerate(verdicts) if not verdict.passed] == missed
