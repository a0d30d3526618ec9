"""Control's port refuses what is no proper HTTP/1.1 as the gateways' do: a proxy before it might
read such requests in another way."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from control.app import create_app
from control.main import serve
from control.settings import ControlSettings
from tests.gateway.bad_requests import BODIES, HEADS, TOO_LARGE, spelled
from tests.gateway.sockets import request, talk

TARGET = b"/api/v1/consumers/acme"


@pytest.fixture
async def port(settings: ControlSettings) -> AsyncIterator[int]:
    """Control on a TCP port, served as its process serves it."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(create_app(settings), listener, stop))
    yield listener.getsockname()[1]
    stop.set()
    await asyncio.wait_for(serving, 20)


async def test_bad_requests_end_in_400_or_431_and_neither_they_nor_what_follows_is_done(
    settings: ControlSettings, port: int
) -> None:
    token = settings.admin_token_path.read_text().strip()
    keyed = {"Authorization": f"Bearer {token}"}
    put = request("", b"{}", method=b"PUT", path=TARGET, headers=keyed)
    for name, bad in (HEADS | BODIES | TOO_LARGE).items():
        sent = spelled(bad, TARGET, token).replace(b"POST ", b"PUT ", 1)
        sent = sent.replace(b"X-API-Key: ", b"Authorization: Bearer ")
        answer = await talk(port, sent + put)
        assert answer.startswith(b"HTTP/1.1 %d " % (431 if name in TOO_LARGE else 400)), name
        assert answer.count(b"HTTP/1.1 ") == 1, (name, answer)
        assert b"\r\nconnection: close\r\n" in answer, name

    closing = keyed | {"Connection": "close"}
    listed = request(
        "", b"", method=b"GET", path=b"/api/v1/consumers", headers=closing, length=False
    )
    assert (await talk(port, listed)).endswith(b'{"items":[],"next":null}')
    assert (await talk(port, put + listed)).startswith(b"HTTP/1.1 201 ")
