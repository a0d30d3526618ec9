"""Control built whole, on SQLite and on PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
import uvicorn

from control.app import create_app
from control.settings import ControlSettings
from control.store import schema
from registry.store.database import Database
from tests.control.running import Control, FakeClock, connect
from tests.fixtures.postgres import prepared


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database as the migrations leave it; the test runs on both kinds.

    Its tables are made from the metadata, which is quicker than by migrations; that both are the
    same is what ``test_migrations.py`` proves.
    """
    made = prepared(database_url)
    with made.write() as connection:
        connection.execute(sa.text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        connection.execute(sa.text(f"INSERT INTO alembic_version VALUES ('{schema.HEAD}')"))
    yield made
    made.close()


@pytest.fixture
def settings(tmp_path: Path, database: Database, database_url: str) -> ControlSettings:
    """Settings of a control whose database has its tables already."""
    database.close()
    return ControlSettings(data_dir=tmp_path / "data", database_url=database_url)


@pytest.fixture
async def control(settings: ControlSettings, clock: FakeClock) -> AsyncIterator[Control]:
    """Control with its lifespan running."""
    app = create_app(settings, clock=clock)
    async with (
        app.router.lifespan_context(app),
        connect(app, settings.admin_token_path.read_text().strip()) as admin,
        connect(app, settings.cluster_token_path.read_text().strip()) as cluster,
        connect(app, None) as anonymous,
    ):
        yield Control(app, app.state.services, settings, clock, admin, cluster, anonymous)


@pytest.fixture
async def control_url(control: Control) -> AsyncIterator[str]:
    """Where the control of the test listens; its lifespan is the fixture's."""
    config = uvicorn.Config(control.app, port=0, lifespan="off", log_level="critical")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 -- uvicorn tells by this flag alone
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    await task


@pytest.fixture
def environment(control_url: str, control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    """Client and command line find the control of the test, as its administrator."""
    monkeypatch.setenv("TOLLWAY_URL", control_url)
    monkeypatch.setenv("TOLLWAY_TOKEN", control.settings.admin_token_path.read_text().strip())
