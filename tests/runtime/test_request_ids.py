"""Every request has an id: in what the application sees, in its answer, in the log."""

import json
from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest

from protocol.keys import generate
from runtime.logs import logger
from runtime.request_ids import RequestIds, is_sane
from tests.fixtures.logs import json_logs

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = (b"traceparent", f"00-{TRACE}-b7ad6b7169203331-00".encode())
Headers = list[tuple[bytes, bytes]]


async def exchange(sent: Headers, own: Headers | None = None) -> tuple[Headers, Headers]:
    """Headers that the application gets, and those that the client gets."""
    got: Headers = []
    answered: Headers = []

    async def application(scope: Any, _receive: Any, send: Any) -> None:
        got.extend(scope["headers"])
        logger("test").error("a line")
        await send({"type": "http.response.start", "status": 200, "headers": own or []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answered.extend(message["headers"])

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request"}

    await RequestIds(application)({"type": "http", "headers": sent}, receive, send)
    return got, answered


def line(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    (text,) = capsys.readouterr().out.splitlines()
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.fixture(autouse=True)
def _logs() -> Iterator[None]:
    with json_logs():
        yield


async def test_a_sane_id_is_kept_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    got, answered = await exchange([(b"x-request-id", b"r-1"), PARENT])
    assert dict(got)[b"x-request-id"] == dict(answered)[b"x-request-id"] == b"r-1"
    written = line(capsys)
    assert (written["request_id"], written["trace_id"]) == ("r-1", TRACE)


async def test_a_request_without_one_gets_one(capsys: pytest.CaptureFixture[str]) -> None:
    got, answered = await exchange([])
    id_ = dict(got)[b"x-request-id"]
    assert dict(answered)[b"x-request-id"] == id_
    assert line(capsys)["request_id"] == id_.decode()


@pytest.mark.parametrize("value", [b"a b", b"", b"x" * 129, b"\xff", b"a\x1b[31m"])
async def test_what_is_not_sane_is_neither_logged_nor_answered(
    value: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    _, answered = await exchange([(b"x-request-id", value)])
    assert is_sane(dict(answered)[b"x-request-id"])
    assert line(capsys)["request_id"].encode() == dict(answered)[b"x-request-id"]


def test_a_credential_is_no_id() -> None:
    assert not is_sane(generate("live").encode())


async def test_an_answer_that_has_an_id_keeps_it(capsys: pytest.CaptureFixture[str]) -> None:
    _, answered = await exchange([], [(b"x-request-id", b"theirs")])
    assert answered == [(b"x-request-id", b"theirs")]
    capsys.readouterr()
