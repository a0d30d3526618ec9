"""What the outermost layer logs and answers when a request does not end well."""

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send
from structlog.testing import capture_logs

from control.middleware import ErrorBoundary

SCOPE: Scope = {"type": "http", "method": "PUT", "path": "/internal/v1/gateways/g1"}


@pytest.mark.parametrize(
    ("error", "logged", "statuses"),
    [(ClientDisconnect(), 0, []), (ZeroDivisionError("of the inside"), 1, [500])],
)
async def test_a_client_that_went_away_is_no_defect(
    error: Exception, logged: int, statuses: list[int]
) -> None:
    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise error

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    with capture_logs() as lines:
        await ErrorBoundary(app, lambda _scope: None)(SCOPE, receive, send)
    assert len(lines) == logged
    assert [m["status"] for m in sent if m["type"] == "http.response.start"] == statuses
    assert b"inside" not in b"".join(m.get("body", b"") for m in sent)
