"""Keys for tests: made, rotated, and as gateways know them."""

from typing import Any

import httpx

from tests.control.running import Control

DAY_S = 86_400


async def make(control: Control, **fields: object) -> dict[str, Any]:
    """A key of application ``shop``, as it was answered."""
    await control.admin.put("/api/v1/applications/shop")
    await control.admin.put("/api/v1/models/risk")
    answer = await control.admin.post("/api/v1/keys", json={"application": "shop", **fields})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def rotate(control: Control, id: str, overlap_s: int, **send: Any) -> httpx.Response:
    return await control.admin.post(
        f"/api/v1/keys/{id}/rotate", json={"overlap_s": overlap_s}, **send
    )
