"""A gateway with a remote version on a server that misbehaves when it is told to."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from gateway.app import Gateway, GatewaySecrets
from gateway.settings import GatewaySettings
from protocol.configuration import KeyDoc, ModelDoc, PlanDoc, SubscriptionDoc, VersionDoc
from protocol.manifest import Manifest, Remote, Tensor
from protocol.usage import UsageRecord
from tests.fixtures.remote_server import (
    FakeRemote,
    serving,
    tensor,
)
from tests.fixtures.seals import sealed
from tests.gateway.conftest import until
from tests.gateway.documents import World, key

ROW = [1.0, 2.0, 3.0, 4.0]
MODEL = "/v2/models/flowers"
ANSWER = {"outputs": [tensor("label", "INT64", [1], data=[0])]}


def remote_version(port: int, **fields: Any) -> VersionDoc:
    stated = {"binary": True, **fields}
    remote = Remote(url=f"http://127.0.0.1:{port}", model="flowers", **stated)
    manifest = Manifest(
        model="flowers",
        platform="open_inference_remote",
        remote=remote,
        inputs=(Tensor(name="input", datatype="FP32", shape=(-1, 4)),),
        outputs=(Tensor(name="label", datatype="INT64", shape=(-1,)),),
    )
    document = VersionDoc(
        model="flowers", number=1, digest="", state="published", loaded=True, manifest=manifest
    )
    return sealed(document)


class Stage:
    """A gateway, its remote server, and a client."""

    def __init__(
        self, gateway: Gateway, remote: FakeRemote, client: httpx.AsyncClient, usage: Path
    ) -> None:
        self._usage = usage
        self.gateway = gateway
        self.remote = remote
        self.client = client

    def configure(self, **fields: Any) -> None:
        doc = remote_version(self.remote.port, **fields)
        self.gateway.catalog.apply([("version", "flowers/1", doc)], False)

    @property
    def state(self) -> str:
        found = self.gateway.remotes.get(("flowers", 1))
        return "" if found is None else found.state

    async def ready(self) -> None:
        await until(lambda: self.state == "ready")

    async def infer(
        self, rows: int = 1, headers: dict[str, str] | None = None, **fields: Any
    ) -> httpx.Response:
        given = tensor("input", "FP32", [rows, 4], data=[ROW] * rows)
        body = {"inputs": [given], **fields}
        return await self.client.post(f"{MODEL}/infer", json=body, headers=headers)

    def records(self) -> list[UsageRecord]:
        lines = b"".join(path.read_bytes() for path in sorted(self._usage.iterdir()))
        return [msgspec.json.decode(line, type=UsageRecord) for line in lines.splitlines()]


def documents(world: World) -> list[tuple[str, str, msgspec.Struct | None]]:
    def subscription(application: str, plan: str) -> tuple[str, str, SubscriptionDoc]:
        doc = SubscriptionDoc(application=application, model="flowers", plan=plan)
        return "subscription", f"{application}/flowers", doc

    keys: list[KeyDoc] = [
        key("k1", world.key, application="shop"),
        key("k10", world.page_key, application="small"),
    ]
    return [
        ("model", "flowers", ModelDoc(name="flowers", aliases={"stable": 1})),
        ("plan", "unlimited", PlanDoc(name="unlimited")),
        ("plan", "small", PlanDoc(name="small", max_rows=2)),
        subscription("shop", "unlimited"),
        subscription("small", "small"),
        *((("key", one.id, one)) for one in keys),
    ]


def remote_settings(settings: GatewaySettings) -> GatewaySettings:
    """Small limits, so that tests reach them."""
    return settings.model_copy(
        update={
            "remote_allowed_networks": "127.0.0.0/8",
            "remote_max_response_bytes": 20_000,
            "remote_check_interval_s": 0.2,
            "remote_connections": 2,
            "max_in_flight_per_engine": 3,
        }
    )


@asynccontextmanager
async def staged(settings: GatewaySettings, world: World) -> AsyncIterator[Stage]:
    """A gateway that runs, and its remote version is ready."""
    async with AsyncExitStack() as stack:
        remote = await stack.enter_async_context(serving())
        gateway = Gateway(settings, GatewaySecrets.read(settings))
        await stack.enter_async_context(gateway.running())
        client = await stack.enter_async_context(
            httpx.AsyncClient(
                transport=httpx.ASGITransport(gateway.application),
                base_url="http://gateway",
                headers={"x-api-key": world.key},
            )
        )
        gateway.catalog.apply(documents(world), True)
        gateway.follower.synchronised.set()
        built = Stage(gateway, remote, client, settings.data_dir / "gateway" / "usage")
        built.configure()
        await built.ready()
        yield built
