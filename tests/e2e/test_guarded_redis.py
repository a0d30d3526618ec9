"""Gateways on a Redis behind TLS and a password: the password gets nowhere but to Redis."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import psutil
import pytest

from tests.e2e.gateways import MoreGateways, refused_gateway
from tests.e2e.models import AFFINE_REQUEST, affine
from tests.e2e.stack import RunningStack, eventually
from tests.fixtures.certificates import contexts
from tests.fixtures.redis import RedisServer
from tests.fixtures.tls_proxy import TlsProxy

INFER = "/v2/models/affine/infer"
PASSWORD = "hunter2/of:redis@home"
WRONG = "hunter2-of-somebody-else"
SECRETS = tuple(
    secret.encode() for secret in (PASSWORD, quote(PASSWORD, safe=""), quote(PASSWORD), WRONG)
)


@pytest.fixture
def tls(own_redis: RedisServer, tmp_path: Path) -> Iterator[TlsProxy]:
    """TLS before a Redis that wants the password."""
    own_redis.command("CONFIG", "SET", "requirepass", PASSWORD)
    server, _ = contexts(tmp_path, "localhost")
    with TlsProxy(server, own_redis.port) as proxy:
        yield proxy


def url_file(path: Path, port: int | str, password: str) -> dict[str, str]:
    """The settings for this Redis, in a file as the guide has it."""
    authority = path.parent / "chain.pem"
    path.write_text(
        f"rediss://:{quote(password, safe='')}@localhost:{port}/0?ssl_ca_certs={authority}\n"
    )
    return {
        "TOLLWAY_COUNTERS": "redis",
        "TOLLWAY_REDIS_URL_FILE": str(path),
        "TOLLWAY_REDIS_TIMEOUT_MS": "5000",
        "TOLLWAY_LOG_LEVEL": "debug",
    }


def test_the_password_of_redis_gets_nowhere_but_to_redis(tmp_path: Path, tls: TlsProxy) -> None:
    log = tmp_path / "roles.log"
    settings = url_file(tmp_path / "redis.url", tls.port, PASSWORD)
    told: list[bytes] = []
    arguments = ("--log-level", "debug")
    with RunningStack(tmp_path / "data", *arguments, log=log, settings=settings) as stack:
        key = subscribed(stack)
        with stack.api(key) as caller:
            eventually(lambda: caller.post(INFER, json=AFFINE_REQUEST).status_code == 200)
            answer = caller.post(INFER, json=AFFINE_REQUEST)
            assert (answer.status_code, answer.headers["ratelimit"][:12]) == (200, '"many";r=998')
        assert tls.connections >= 1

        wrong = url_file(tmp_path / "wrong.url", tls.port, WRONG)
        with MoreGateways(stack, tmp_path, 1, log=log, settings=wrong) as more:
            # It starts as one whose Redis does not answer, and says what Redis says.
            (url,) = more.urls
            refused = httpx.post(
                url + INFER, json=AFFINE_REQUEST, headers={"X-API-Key": key}, trust_env=False
            )
            assert refused.status_code == 503
            assert "the counters of limits do not answer" in refused.text
            eventually(lambda: b"WRONGPASS" in log.read_bytes())
            token = {"Authorization": f"Bearer {stack.token}"}
            told += [
                httpx.get(base + path, headers=token, trust_env=False).content
                for path in ("/metrics", "/api/v1/gateways", "/v2/models/affine/stats")
                for base in (stack.url, url)
            ]
            assert b"tollway_counters_up 1.0" in told[0]
            assert b"tollway_counters_up 0.0" in told[1]
            told += [refused.content, *seen_by_others(stack, more)]

        unread = url_file(tmp_path / "unread.url", "none", PASSWORD)
        said = refused_gateway(stack, tmp_path / "unread", unread)
        assert said.startswith("tollwayd: the URL of Redis")
        assert said.count("\n") == 1
        told.append(said.encode())
    told.append(log.read_bytes())
    told += [path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert not [text[:200] for text in told if any(secret in text for secret in SECRETS)]


def subscribed(stack: RunningStack) -> str:
    """The key of an application whose plan must count."""
    with stack.client() as client:
        client.deploy(affine(), name="affine")
    rate = {"name": "many", "requests": 1000, "window_s": 3600}
    with stack.api() as api:
        for path, content in (
            ("/plans/counted", {"rates": [rate]}),
            ("/applications/shop", {}),
            ("/subscriptions/shop/affine", {"plan": "counted"}),
        ):
            assert api.put(f"/api/v1{path}", json=content).is_success
        secret: str = api.post("/api/v1/keys", json={"application": "shop"}).json()["secret"]
    return secret


def seen_by_others(stack: RunningStack, more: MoreGateways) -> list[bytes]:
    """Command lines and environments of every process of both."""
    assert stack.process is not None
    found = []
    for pid in (stack.process.pid, *stack.all_pids(), *more.pids()):
        process = psutil.Process(pid)
        found.append(repr((process.cmdline(), process.environ())).encode())
    return found
