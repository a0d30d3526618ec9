"""A gateway with fake engines behind it, and a client that talks ASGI to it."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from gateway.app import Gateway, GatewaySecrets
from gateway.settings import GatewaySettings
from tests.fixtures.seals import public_key_file
from tests.gateway.documents import PEPPER, World, digest, worker
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.sockets import serving


@pytest.fixture
def run_dir() -> Iterator[Path]:
    """Short enough for Unix sockets, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="tw-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def settings(tmp_path: Path, run_dir: Path) -> GatewaySettings:
    (tmp_path / "token").write_text("cluster-token-of-the-tests")
    (tmp_path / "pepper").write_bytes(PEPPER)
    return GatewaySettings(
        data_dir=tmp_path,
        control_url=f"unix:{run_dir}/no-control.sock",
        cluster_token_file=tmp_path / "token",
        key_pepper_file=tmp_path / "pepper",
        seal_public_key_file=public_key_file(tmp_path),
        max_body_bytes=100_000,
        default_deadline_ms=2_000,
    )


@pytest.fixture
async def engine(run_dir: Path) -> AsyncIterator[FakeEngine]:
    """The engine of iris version 2."""
    fake = FakeEngine(run_dir / "e1.sock", "iris", 2, digest("iris", 2))
    await fake.start()
    yield fake
    await fake.kill()


@pytest.fixture
async def gateway(
    settings: GatewaySettings, world: World, engine: FakeEngine
) -> AsyncIterator[Gateway]:
    built = Gateway(settings, GatewaySecrets.read(settings))
    async with built.running():
        built.catalog.apply([*world.changes(), worker((2, engine.path))], True)
        built.follower.synchronised.set()
        await until(lambda: built.upstream.is_ready(("iris", 2)) and built.routes.started)
        yield built


@pytest.fixture
async def client(gateway: Gateway, world: World) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(gateway.application)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://gateway", headers={"x-api-key": world.key}
    ) as built:
        yield built


@pytest.fixture
async def ports(gateway: Gateway) -> AsyncIterator[dict[str, int]]:
    """The port of each lane."""
    async with serving(gateway) as found:
        yield found


async def until(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    """Wait for what another task or process brings about."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 -- another process's state
            await asyncio.sleep(0.002)
