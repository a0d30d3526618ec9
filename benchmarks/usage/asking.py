"""The management API in this process, asked by an admin, a consumer and a publisher."""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

import httpx
import msgspec
import sqlalchemy as sa

from benchmarks.usage.cases import Case, Viewer
from benchmarks.usage.traffic import APPLICATIONS, MODELS, application_name, model_name
from control.app import create_app
from control.settings import ControlSettings
from control.store.tables import applications, consumers
from registry.store.database import Database
from registry.store.tables import models

CONSUMERS: Final = 30
"""Each has ten applications."""
PUBLISHERS: Final = 10
"""Each has five models."""
PASSWORD: Final = "correct horse battery staple"
"""Of accounts in a database that the benchmark has made."""


class Timed(msgspec.Struct, frozen=True, kw_only=True):
    """A report, and what it took: medians over the rounds."""

    case: Case
    items: int
    wall_ms: float
    cpu_ms: float
    """Of control, and of PostgreSQL where it is the database."""


class Asking:
    """Control's whole application, without its jobs, and a client for each viewer."""

    def __init__(
        self, database: Database, url: str, folder: Path, now: datetime, cpu_s: Callable[[], float]
    ) -> None:
        """``cpu_s()``: seconds that control and its database have used so far."""
        _people(database)
        self._now = now
        self._cpu_s = cpu_s
        settings = ControlSettings(data_dir=folder, database_url=url)
        self._app = create_app(settings, clock=lambda: int(now.timestamp() * 1000))
        self._admin = settings.admin_token_path.read_text().strip()

    def measure(self, cases: list[Case], rounds: int, told: Callable[[Case], None]) -> list[Timed]:
        """Ask for each report once, and then ``rounds`` times by the clock."""
        return asyncio.run(self._measure(cases, rounds, told))

    async def _measure(
        self, cases: list[Case], rounds: int, told: Callable[[Case], None]
    ) -> list[Timed]:
        transport = httpx.ASGITransport(app=self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://control") as client:
            tokens = {"admin": self._admin}
            for viewer in ("consumer", "publisher"):
                tokens[viewer] = await self._token(client, viewer)
            found = []
            for case in cases:
                told(case)
                found.append(await self._timed(client, case, tokens[case.viewer], rounds))
            return found

    async def _token(self, client: httpx.AsyncClient, viewer: Viewer) -> str:
        admin = {"Authorization": f"Bearer {self._admin}"}
        user = {"role": viewer, "password": PASSWORD}
        if viewer == "consumer":
            user["consumer"] = "consumer-0"
        name = f"{viewer}-0"
        made = await client.put(f"/api/v1/users/{name}", json=user, headers=admin)
        made.raise_for_status()
        session = await client.post("/api/v1/sessions", json={"name": name, "password": PASSWORD})
        return str(session.raise_for_status().json()["secret"])

    async def _timed(self, client: httpx.AsyncClient, case: Case, token: str, rounds: int) -> Timed:
        request = client.build_request(
            "GET",
            "/api/v1/usage",
            params=case.parameters(self._now),
            headers={"Authorization": f"Bearer {token}"},
        )
        walls, cpus = [], []
        items = 0
        for _ in range(rounds):
            wall, cpu = time.perf_counter(), self._cpu_s()
            answer = await client.send(request)
            walls.append((time.perf_counter() - wall) * 1000)
            cpus.append((self._cpu_s() - cpu) * 1000)
            items = len(answer.raise_for_status().json()["items"])
        middle = len(walls) // 2
        return Timed(
            case=case, items=items, wall_ms=sorted(walls)[middle], cpu_ms=sorted(cpus)[middle]
        )


def _people(database: Database) -> None:
    """Consumers with their applications, and models with their owners."""
    with database.write() as connection:
        if connection.execute(
            sa.select(consumers.c.name).where(consumers.c.name == "consumer-0")
        ).first():
            return
        stamps = {"created_ms": 0, "updated_ms": 0}
        names = [f"consumer-{number}" for number in range(CONSUMERS)]
        connection.execute(sa.insert(consumers), [{"name": n, "title": n, **stamps} for n in names])
        connection.execute(
            sa.insert(applications),
            [
                {
                    "name": application_name(n),
                    "consumer": names[n % CONSUMERS],
                    "title": "",
                    **stamps,
                }
                for n in range(APPLICATIONS)
            ],
        )
        connection.execute(
            sa.insert(models),
            [
                {
                    "name": model_name(n),
                    "title": "",
                    "description": "",
                    "owner": f"publisher-{n % PUBLISHERS}",
                    "created_at": 0,
                    "updated_at": 0,
                }
                for n in range(MODELS)
            ],
        )
