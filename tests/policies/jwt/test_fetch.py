"""What a key endpoint may do, and where keys may come from."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from policies.jwt.fetch import JwksClient, JwksError, check_uri
from protocol.errors import TollwayError
from tests.fixtures.jwks_server import Behaviour, JwksServer


@pytest.fixture
async def server() -> AsyncIterator[JwksServer]:
    async with JwksServer(b'{"keys": []}').running() as running:
        yield running


@pytest.fixture
async def client() -> AsyncIterator[JwksClient]:
    built = JwksClient(timeout_s=0.3)
    yield built
    await built.close()


async def test_a_body_is_fetched_as_it_is(client: JwksClient, server: JwksServer) -> None:
    assert await client.fetch(server.uri) == server.body


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("hangs", "no answer within"),
        ("drips", "no answer within"),
        ("errs", "status 500"),
        ("redirects", "status 302"),
        ("resets", "Error"),
        ("floods", "more than 262144 bytes"),
        ("compresses", "compressed"),
        ("cuts", "Error"),
    ],
)
async def test_an_endpoint_that_misbehaves_is_an_error_in_bounded_time(
    client: JwksClient, server: JwksServer, behaviour: Behaviour, reason: str
) -> None:
    server.behaviour = behaviour
    async with asyncio.timeout(2):
        with pytest.raises(JwksError, match=reason):
            await client.fetch(server.uri)
    assert server.requests == 1
    server.behaviour = "answers"
    assert await client.fetch(server.uri) == server.body


async def test_an_endpoint_of_one_connection_at_a_time_serves_everybody() -> None:
    """It keeps a connection until its client closes it, and takes no other meanwhile."""
    one, serving = asyncio.Lock(), set[asyncio.Task[None] | None]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        async with one:
            while await reader.readline():
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        uri = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/keys"
        gateway, control = JwksClient(timeout_s=1), JwksClient(timeout_s=1)
        for client in (gateway, control, gateway):
            assert await client.fetch(uri) == b"{}"
        await asyncio.gather(*(task for task in serving if task is not None))
        await gateway.close()
        await control.close()


async def test_nobody_who_listens_is_an_error(client: JwksClient) -> None:
    with pytest.raises(JwksError, match="ConnectError"):
        await client.fetch("http://127.0.0.1:1/keys")


async def test_the_address_is_judged_again_when_keys_are_fetched(client: JwksClient) -> None:
    with pytest.raises(JwksError, match="must be https"):
        await client.fetch("http://login.example/keys")


async def test_own_certificates_are_read_when_they_are_needed(tmp_path: Path) -> None:
    client = JwksClient(timeout_s=1, ca_file=tmp_path / "none.pem")
    with pytest.raises(JwksError, match="FileNotFoundError"):
        await client.fetch("https://127.0.0.1:1/keys")


@pytest.mark.parametrize(
    "uri",
    [
        "https://login.example/keys",
        "https://login.example:8443/a?b=c",
        "http://localhost:8000/keys",
        "http://127.0.0.1/keys",
        "http://127.8.8.8/keys",
        "http://[::1]:80/keys",
    ],
)
def test_keys_come_by_https_or_from_this_machine(uri: str) -> None:
    assert check_uri(uri, allow_http=False) == uri


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "login.example/keys",
        "/keys",
        "file:///etc/passwd",
        "ftp://login.example/keys",
        "https://",
        "https:///keys",
        "https://user:secret@login.example/keys",
        "https://login.example/keys#part",
        "https://login.example/\n",
        "https://" + "a" * 3000,
        "http://login.example/keys",
        "http://localhost.evil.example/keys",
        "http://127.0.0.1.evil.example/keys",
        "http://127.1/keys",
        "http://10.0.0.1/keys",
    ],
)
def test_other_addresses_are_refused(uri: str) -> None:
    with pytest.raises(TollwayError) as caught:
        check_uri(uri, allow_http=False)
    assert "secret" not in caught.value.public


def test_http_from_elsewhere_needs_a_setting() -> None:
    uri = "http://login.example/keys"
    assert check_uri(uri, allow_http=True) == uri
