"""What is not the data plane's goes to control, as it is, and comes back as it is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from gateway.app import Gateway, GatewaySecrets
from gateway.settings import GatewaySettings
from runtime.server import serve_until
from tests.gateway.conftest import until


def control_app() -> FastAPI:
    app = FastAPI()

    @app.api_route("/api/echo/{rest:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    async def echo(request: Request) -> Response:
        return JSONResponse(
            {
                "method": request.method,
                "path": request.scope["raw_path"].decode(),
                "query": request.scope["query_string"].decode(),
                "headers": dict(request.headers),
                "size": len(await request.body()),
            },
            status_code=201,
            headers={"etag": '"7"', "location": "/somewhere"},
        )

    @app.get("/login")
    async def login(request: Request) -> Response:
        answer = JSONResponse(dict(request.cookies))
        answer.set_cookie("tollway_oidc", "of-one-browser")
        return answer

    @app.get("/stream")
    async def stream() -> Response:
        async def parts() -> AsyncIterator[bytes]:
            for n in range(3):
                yield b"part %d\n" % n

        return StreamingResponse(parts(), media_type="text/plain")

    return app


@pytest.fixture
async def client(settings: GatewaySettings, run_dir: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Of a gateway whose control is :func:`control_app`."""
    async with before_control(settings, run_dir) as built:
        yield built


@asynccontextmanager
async def before_control(
    settings: GatewaySettings, run_dir: Path
) -> AsyncIterator[httpx.AsyncClient]:
    stop = asyncio.Event()
    socket = run_dir / "no-control.sock"
    config = uvicorn.Config(control_app(), uds=str(socket), log_config=None, lifespan="off")
    control = asyncio.create_task(serve_until(stop, config))
    await until(socket.exists)
    gateway = Gateway(settings, GatewaySecrets.read(settings))
    async with gateway.running():
        transport = httpx.ASGITransport(gateway.application)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as built:
            yield built
    stop.set()
    await control


async def test_control_s_date_is_not_passed_on_beside_that_of_the_gateway_s_server(
    client: httpx.AsyncClient,
) -> None:
    assert "date" not in (await client.get("/api/echo/x")).headers


async def test_request_and_answer_pass_unchanged(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "/api/echo/a%2Fb?x=1&y=%20",
        content=b"z" * 300_000,
        headers={"authorization": "Bearer t", "connection": "x-drop", "x-drop": "1"},
    )
    assert answer.status_code == 201
    assert (answer.headers["etag"], answer.headers["location"]) == ('"7"', "/somewhere")
    seen = answer.json()
    assert (seen["method"], seen["path"], seen["query"]) == (
        "POST",
        "/api/echo/a%2Fb",
        "x=1&y=%20",
    )
    assert seen["size"] == 300_000
    assert seen["headers"]["authorization"] == "Bearer t"
    assert "x-drop" not in seen["headers"]


async def test_a_cookie_that_control_sets_is_its_browsers_alone(
    client: httpx.AsyncClient,
) -> None:
    first = await client.get("/login")
    assert "of-one-browser" in first.headers["set-cookie"]
    client.cookies.clear()  # somebody else
    assert (await client.get("/login")).json() == {}
    own = await client.get("/login", headers={"cookie": "tollway_oidc=mine"})
    assert own.json() == {"tollway_oidc": "mine"}


async def test_claimed_addresses_are_not_believed(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/echo/x", headers={"x-forwarded-for": "6.6.6.6"})
    assert answer.json()["headers"]["x-forwarded-for"] == "127.0.0.1"


async def test_only_a_trusted_proxy_says_that_its_client_came_over_tls(
    client: httpx.AsyncClient, settings: GatewaySettings, run_dir: Path
) -> None:
    claims = {"x-forwarded-proto": "https"}
    answer = await client.get("/api/echo/x", headers=claims)
    assert answer.json()["headers"]["x-forwarded-proto"] == "http"
    trusting = GatewaySettings(
        **settings.model_dump()
        | {"data_dir": settings.data_dir / "second", "trusted_proxies": "127.0.0.1"}
    )
    async with before_control(trusting, run_dir) as behind:
        for claimed, passed in (("https", "https"), ("ftp", "http"), ("http, HTTPS", "https")):
            answer = await behind.get("/api/echo/x", headers={"x-forwarded-proto": claimed})
            assert answer.json()["headers"]["x-forwarded-proto"] == passed


async def test_answers_stream(client: httpx.AsyncClient) -> None:
    answer = await client.get("/stream")
    assert answer.text == "part 0\npart 1\npart 2\n"


@pytest.mark.parametrize("path", ["/internal", "/internal/v1/changes", "/internal/v1/workers/w"])
async def test_internal_routes_are_not_reachable(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "path", ["/%69nternal/v1/changes", "//internal/v1/changes", "/x/../internal/v1/changes"]
)
async def test_spellings_of_internal_routes_do_not_help(
    settings: GatewaySettings, path: str
) -> None:
    """Sent raw, as a hostile client would: httpx itself would tidy them."""
    # 404 from the gateway; 503 would mean that it tried to pass it on
    assert await status_of(settings, unquote(path), path) == 404


async def status_of(
    settings: GatewaySettings,
    path: str,
    raw_path: str,
    headers: list[tuple[bytes, bytes]] | None = None,
    *,
    leaves: bool = False,
) -> object:
    """The status of a request that no client library would send."""
    gateway = Gateway(settings, GatewaySecrets.read(settings))
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        if leaves:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(event: dict[str, object]) -> None:
        sent.append(event)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET",
        "scheme": "http", "path": path, "raw_path": raw_path.encode(), "query_string": b"",
        "root_path": "", "headers": headers or [], "client": ("127.0.0.1", 1),
        "server": ("gateway", 80),
    }  # fmt: skip
    async with gateway.running():
        await gateway.application(scope, receive, send)  # type: ignore[arg-type]
    return sent[0]["status"]


async def test_control_being_away_is_503_with_a_plain_reason(settings: GatewaySettings) -> None:
    gateway = Gateway(settings, GatewaySecrets.read(settings))
    async with gateway.running():
        transport = httpx.ASGITransport(gateway.application)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            answer = await client.get("/api/v1/models")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["code"] == "unavailable"


async def test_header_values_pass_as_bytes(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/echo/x", headers={"x-name": "né".encode()})
    assert answer.json()["headers"]["x-name"] == "né".encode().decode("latin-1")


async def test_target_that_is_no_path_is_refused(settings: GatewaySettings) -> None:
    assert await status_of(settings, "*", "*") == 400


async def test_client_that_leaves_during_an_upload_is_no_failure(
    settings: GatewaySettings,
) -> None:
    headers = [(b"content-length", b"10")]
    assert await status_of(settings, "/api/v1/x", "/api/v1/x", headers, leaves=True) in {400, 503}
