"""Redis behind a password, a Unix socket and TLS; and what of it may be told."""

import asyncio
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from structlog.testing import capture_logs

from policies.limits import Limits
from policies.stores.base import ADMITTED, NOTHING, UNREACHABLE, Verdict
from policies.stores.outbox import KEPT, End, Outbox
from policies.stores.redis import RedisCounters
from policies.stores.redis_connection import parse_address
from protocol.configuration import PlanDoc, QuotaDoc
from tests.fixtures.certificates import contexts
from tests.fixtures.redis import RedisServer
from tests.fixtures.tls_proxy import TlsProxy
from tests.policies.stores.conftest import SHOP, admitted, running

PASSWORD = "hunter2/of:redis@home"
LIMITS = Limits(PlanDoc(name="rows", quota=QuotaDoc(limit=10, unit="rows"), max_rows=4))


@pytest.fixture
def guarded(own_redis: RedisServer) -> RedisServer:
    """A Redis that wants a password."""
    own_redis.command("CONFIG", "SET", "requirepass", PASSWORD)
    assert own_redis.command("GET", "x").startswith(b"-NOAUTH")
    return own_redis


@pytest.fixture
def tls(guarded: RedisServer, tmp_path: Path) -> Iterator[TlsProxy]:
    server, _ = contexts(tmp_path, "localhost")
    with TlsProxy(server, guarded.port) as proxy:
        yield proxy


async def counted_at(url: str) -> None:
    """Hold that calls are counted in the Redis at ``url``."""
    async with running(RedisCounters(parse_address(url), timeout_s=5)) as store:
        assert "hunter2" not in store.kind
        verdict = await admitted(store.take(SHOP, LIMITS, 0.0))
        assert verdict.refused == ADMITTED
        assert verdict.numbers[0] == 6


async def test_the_password_is_given_over_tcp(guarded: RedisServer) -> None:
    await counted_at(f"redis://:{quote(PASSWORD, safe='')}@127.0.0.1:{guarded.port}/1")


async def test_a_user_of_redis_is_let_in_by_name(guarded: RedisServer) -> None:
    url = f"redis://default:{quote(PASSWORD, safe='')}@127.0.0.1:{guarded.port}/0"
    await counted_at(url)


async def test_a_unix_socket_is_as_good(short_folder: Path) -> None:
    path = short_folder / "redis.sock"
    server = RedisServer(short_folder, "--unixsocket", str(path), "--requirepass", PASSWORD)
    server.start()
    try:
        url = f"unix://:{quote(PASSWORD, safe='')}@{path}?db=2"
        await counted_at(url)
        assert parse_address(url).shown == f"unix:{path}/2"
    finally:
        server.stop()


async def test_tls_is_checked_by_the_authority_that_the_url_names(
    tls: TlsProxy, tmp_path: Path
) -> None:
    url = f"rediss://:{quote(PASSWORD, safe='')}@localhost:{tls.port}/0"
    await counted_at(f"{url}?ssl_ca_certs={tmp_path / 'chain.pem'}")
    assert tls.connections == 1


@pytest.mark.parametrize(
    ("credentials", "authority", "host", "told"),
    [
        (":hunter2-wrong@", True, "localhost", "WRONGPASS"),
        ("", True, "localhost", "NOAUTH"),
        (f":{quote(PASSWORD, safe='')}@", False, "localhost", "CERTIFICATE_VERIFY_FAILED"),
        (f":{quote(PASSWORD, safe='')}@", True, "127.0.0.1", "CERTIFICATE_VERIFY_FAILED"),
    ],
)
async def test_what_redis_or_its_certificate_refuses_is_told_without_the_password(
    tls: TlsProxy, tmp_path: Path, credentials: str, authority: bool, host: str, told: str
) -> None:
    trusted = f"?ssl_ca_certs={tmp_path / 'chain.pem'}" if authority else ""
    url = f"rediss://{credentials}{host}:{tls.port}/0{trusted}"
    store = RedisCounters(parse_address(url), timeout_s=5)
    with capture_logs() as logged:
        task = asyncio.create_task(store.run())
        async with asyncio.timeout(10):
            while not logged:  # noqa: ASYNC110 -- the log of another task
                await asyncio.sleep(0.005)
        assert (await admitted(store.take(SHOP, LIMITS, 0.0))).refused == UNREACHABLE
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert told in logged[0]["error"]
    assert "hunter2" not in str(logged)


async def left(store: RedisCounters) -> int:
    """Rows of the quota that nobody has used or reserved."""
    return (await admitted(store.take(SHOP, LIMITS, 0.0, charge=False))).numbers[0]


async def lost(store: RedisCounters, server: RedisServer) -> None:
    """Cut every connection, and wait until the store knows."""
    server.command("CLIENT", "KILL", "TYPE", "normal")
    async with asyncio.timeout(10):
        # At each turn of the loop: the store may be connected again a few turns later.
        while store.ready.is_set():  # noqa: ASYNC110 -- the connection's state
            await asyncio.sleep(0)


async def test_calls_that_end_while_redis_is_away_are_counted_when_it_is_back(
    redis_server: RedisServer,
) -> None:
    redis_server.command("FLUSHALL")
    store = RedisCounters(parse_address(redis_server.url), timeout_s=5)
    async with running(store):
        one = await admitted(store.take(SHOP, LIMITS, 0.0))
        assert await left(store) == 6
        await lost(store, redis_server)
        store.settle(one, (1, 1, 0))
        assert (store.settlements_waiting, store.settlements_lost) == (1, 0)
        await store.ready.wait()
        assert await left(store) == 9
        assert (store.settlements_waiting, store.settlements_lost) == (0, 0)


@pytest.mark.parametrize("seed", range(3))
async def test_ends_count_once_however_often_the_connection_breaks(
    own_redis: RedisServer, seed: int
) -> None:
    chance = random.Random(seed)
    limits = Limits(PlanDoc(name="p", quota=QuotaDoc(limit=1_000_000, unit="rows"), max_rows=50))
    store = RedisCounters(parse_address(own_redis.url), timeout_s=1)
    used = 0
    async with running(store):
        for _ in range(6):
            await store.ready.wait()
            calls = [await admitted(store.take(SHOP, limits, 0.0)) for _ in range(30)]
            # Frozen, it reads later what was written before the connection was given up.
            freezes = chance.random() < 0.5
            if freezes:
                own_redis.freeze()
            for call in calls:
                assert call.refused == ADMITTED
                rows = chance.randrange(50)
                used += rows
                store.settle(call, (1, rows, 0))
                if chance.random() < 0.05:
                    await asyncio.sleep(0)
            await asyncio.sleep(chance.random() * 0.002)
            assert store._connection is not None
            store._connection.abort()
            if freezes:
                own_redis.thaw()
            if chance.random() < 0.3:
                own_redis.command("SCRIPT", "FLUSH")
            while store.ready.is_set():  # noqa: ASYNC110 -- the connection's state
                await asyncio.sleep(0)
        await store.ready.wait()
        async with asyncio.timeout(10):
            while store.settlements_waiting:  # noqa: ASYNC110 -- Redis' answers
                await asyncio.sleep(0.002)
        found = await admitted(store.take(SHOP, limits, 0.0, charge=False))
    assert (found.numbers[0], store.settlements_lost) == (1_000_000 - used, 0)


async def test_an_end_that_redis_will_never_count_is_given_up(redis_server: RedisServer) -> None:
    redis_server.command("FLUSHALL")
    store = RedisCounters(parse_address(redis_server.url), timeout_s=5)
    async with running(store):
        one = await admitted(store.take(SHOP, LIMITS, 0.0))
        redis_server.command("SET", "tollway:{shop/iris}:used", "another's")
        store.settle(one, (1, 1, 0))
        async with asyncio.timeout(10):
            while store.settlements_waiting:  # noqa: ASYNC110 -- Redis' answer
                await asyncio.sleep(0.001)
        assert store.settlements_lost == 1
        assert store.ready.is_set()


async def test_a_redis_that_has_lost_its_memory_counts_nothing_below_zero(
    redis_server: RedisServer,
) -> None:
    redis_server.command("FLUSHALL")
    store = RedisCounters(parse_address(redis_server.url), timeout_s=5)
    async with running(store):
        one = await admitted(store.take(SHOP, LIMITS, 0.0))
        redis_server.command("FLUSHALL")
        store.settle(one, (1, 1, 0))
        assert await left(store) == 10


def test_of_too_many_ends_the_oldest_are_given_up() -> None:
    outbox = Outbox()
    verdict = Verdict(SHOP, LIMITS, ADMITTED)
    numbers = [outbox.add(End(verdict, NOTHING)) for _ in range(KEPT + 2)]
    assert numbers == sorted(numbers)
    assert (len(outbox), outbox.lost) == (KEPT, 2)
    assert outbox.unconfirmed(1) == [(numbers[2], End(verdict, NOTHING))]
    again = outbox.renumbered(numbers[2])
    assert again is not None
    assert again[0] > numbers[-1]
    assert outbox.renumbered(numbers[2]) is None


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Short enough for a Unix socket, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="tw-"))
    yield path
    shutil.rmtree(path)
