"""Calls of an application in the same process."""

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from control.portal.in_process import answer_of


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    body = b""
    while True:
        message = await receive()
        body += message["body"]
        if not message["more_body"]:
            break
    said = b"|".join((scope["method"].encode(), scope["raw_path"], scope["query_string"], body))
    headers = [(b"x-asked", dict(scope["headers"])[b"x-more"])]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    await send({"type": "http.response.body", "body": said[:3], "more_body": True})
    await send({"type": "http.response.body", "body": said[3:]})
    assert (await receive())["type"] == "http.disconnect"


@pytest.mark.parametrize("content", [b"", b"{}"])
async def test_request_and_answer_arrive_whole(content: bytes) -> None:
    request = httpx.Request(
        "PUT", "http://control/api/a%20b?c=%26", headers={"X-More": "1"}, content=content
    )
    answer = await answer_of(echo, request)
    assert answer.status_code == 201
    assert answer.headers["x-asked"] == "1"
    assert answer.content == b"PUT|/api/a%20b|c=%26|" + content


async def test_a_defect_of_the_application_is_not_hidden() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        await answer_of(broken, httpx.Request("GET", "http://control/"))
