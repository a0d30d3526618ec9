"""Connections go to checked addresses, whatever a name says later."""

import httpx
import pytest

from runtime.checked_transport import CheckedTransport
from runtime.targets import TargetRefused, Targets, networks
from tests.fixtures.remote_server import FakeRemote, serving
from tests.runtime.test_targets import FakeResolver


def client(
    resolver: FakeResolver, allowed: str, *, fresh_s: float = 0.0, clock: list[float] | None = None
) -> httpx.AsyncClient:
    now = clock or [0.0]
    transport = CheckedTransport(
        Targets(networks(allowed), "TOLLWAY_ALLOWED_NETWORKS", resolver),
        resolve_timeout_s=1.0,
        fresh_s=fresh_s,
        monotonic=lambda: now[0],
    )
    return httpx.AsyncClient(transport=transport)


async def ask(http: httpx.AsyncClient, remote: FakeRemote) -> int:
    return (await http.get(f"http://models.example:{remote.port}/v2/models/m")).status_code


async def test_the_connection_goes_to_the_checked_address_under_the_urls_name() -> None:
    async with serving() as remote, client(FakeResolver(["127.0.0.1"]), "127.0.0.1/32") as http:
        assert await ask(http, remote) == 200

    assert remote.asked[0].headers["host"] == f"models.example:{remote.port}"


async def test_of_several_addresses_the_next_is_tried() -> None:
    resolver = FakeResolver(["127.0.0.2", "127.0.0.1"])
    async with serving() as remote, client(resolver, "127.0.0.0/8") as http:
        assert await ask(http, remote) == 200


async def test_one_address_inside_among_several_refuses_the_name() -> None:
    resolver = FakeResolver(["127.0.0.1", "127.0.0.2"])
    async with serving() as remote, client(resolver, "127.0.0.1/32") as http:
        with pytest.raises(TargetRefused, match="https://"):
            await ask(http, remote)

    assert remote.connections == 0


async def test_a_name_is_asked_for_again_once_its_addresses_are_no_longer_fresh() -> None:
    resolver = FakeResolver(["127.0.0.1"], ["10.0.0.1"])
    clock = [0.0]
    async with (
        serving() as remote,
        client(resolver, "127.0.0.1/32", fresh_s=10.0, clock=clock) as http,
    ):
        assert [await ask(http, remote), await ask(http, remote)] == [200, 200]
        assert len(resolver.asked) == 1
        clock[0] = 10.0
        with pytest.raises(TargetRefused):
            await ask(http, remote)
