"""Webhooks for tests: what happens, and deliveries as they are looked at."""

import asyncio
from collections.abc import Awaitable, Callable

from registry.store import audit
from tests.control.running import Control
from tests.control.webhooks.receivers import Received, Receiver
from tollway.webhooks import Event, verify

HOOKS = "/api/v1/webhooks"
DAY = 24 * 3600


def happen(
    control: Control, action: str = "key.created", key: str = "key-1", **after: object
) -> None:
    """Something happens to a resource."""
    with control.services.database.write() as connection:
        audit.record(
            connection, action, action.partition(".")[0], key,
            at_ms=control.clock.now_ms, after={"application": "shop", **after},
        )  # fmt: skip


async def make(control: Control, receiver: Receiver, **more: object) -> dict[str, str]:
    body = {"url": f"http://127.0.0.1:{receiver.port}/in", **more}
    answer = await control.admin.post(HOOKS, json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, str] = answer.json()
    return made


async def until(look: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):  # a busy machine takes its time
        while not await look():  # noqa: ASYNC110 -- what is looked at is behind the API
            await asyncio.sleep(0.01)


async def deliveries(control: Control, id: str, **query: str) -> list[dict[str, object]]:
    answer = await control.admin.get(f"{HOOKS}/{id}/deliveries", params=query)
    items: list[dict[str, object]] = answer.json()["items"]
    return items


async def in_state(
    control: Control, id: str, state: str, attempts: int = 1, **query: str
) -> dict[str, object]:
    """The newest delivery (of those that ``query`` picks), once it is in this state after so many
    attempts."""

    async def look() -> bool:
        items = await deliveries(control, id, **query)
        return bool(items) and items[0]["state"] == state and len(items[0]["attempts"]) == attempts  # type: ignore[arg-type]

    await until(look)
    return (await deliveries(control, id, **query))[0]


def opened(control: Control, request: Received, secret: str) -> Event:
    return verify(request.headers, request.body, secret, now=lambda: control.clock.now_ms / 1000)
