"""Users, sessions and tokens for tests, and what is kept of them."""

import json

import httpx
import sqlalchemy as sa

from tests.control.running import Control, connect

SECRET = "correct horse battery staple"


async def make(control: Control, name: str, role: str = "publisher", **more: object) -> None:
    body = {"role": role, "password": SECRET, **more}
    done = await control.admin.put(f"/api/v1/users/{name}", json=body)
    assert done.status_code == 201, done.text


async def log_in(control: Control, name: str, password: str = SECRET) -> httpx.Response:
    return await control.anonymous.post(
        "/api/v1/sessions", json={"name": name, "password": password}
    )


async def session(control: Control, name: str, password: str = SECRET) -> httpx.AsyncClient:
    answer = await log_in(control, name, password)
    assert answer.status_code == 201, answer.text
    return connect(control.app, answer.json()["secret"])


async def new_token(client: httpx.AsyncClient, **wish: object) -> dict[str, str]:
    made = await client.post("/api/v1/tokens", json=wish)
    assert made.status_code == 201, made.text
    found: dict[str, str] = made.json()
    return found


def audited(control: Control, action: str) -> list[dict[str, object]]:
    with control.services.database.read() as connection:
        rows = connection.execute(
            sa.text("SELECT * FROM audit WHERE action = :action ORDER BY seq"), {"action": action}
        )
        return [dict(row._mapping) for row in rows]


def published(control: Control, id: str) -> dict[str, object] | None:
    """The newest document of a key on the change stream."""
    found: dict[str, object] | None = None
    for change in control.services.stream.rows(0, 10_000):
        if (change.kind, change.key) == ("key", id):
            found = json.loads(bytes(change.doc))
    return found


async def works(client: httpx.AsyncClient) -> bool:
    return (await client.get("/api/v1/users/me")).status_code == 200
