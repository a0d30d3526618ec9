"""A client that leaves, or is sent away, before its request is whole is no defect."""

import logging

import pytest
from structlog.testing import capture_logs

from tests.gateway.documents import World
from tests.gateway.sockets import INFER, LANES, connection, request, talk

CHUNKED = {"Transfer-Encoding": "chunked"}
PATHS = (b"/v2/repository/index", INFER, b"/v1/models/iris:predict", b"/api/v1/models", b"/login")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("lane", LANES)
async def test_nothing_is_logged_as_an_error(
    lane: str, path: bytes, world: World, ports: dict[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    begun = request(world.key, b'2\r\n{"\r\n', path=path, headers=CHUNKED, length=False)
    with capture_logs() as logs:
        answer = await talk(ports[lane], begun, b"zz\r\n")
        assert answer.startswith(b"HTTP/1.1 400 "), answer
        assert answer.count(b"HTTP/1.1 ") == 1
        async with connection(ports[lane]) as (_, writer):
            writer.write(begun)
            await writer.drain()
        live = request(world.key, b"", path=b"/v2/health/live", method=b"GET")
        assert b"200 OK" in await talk(ports[lane], live)
    assert [record.getMessage() for record in caplog.records] == []
    assert [line for line in logs if line["log_level"] in ("error", "critical")] == []
