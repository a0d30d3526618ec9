"""Request ids: every request has one, in its answer and in every line of the log about it."""

import re
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import structlog

from protocol.keys import holds_credential, holds_token
from protocol.trace_context import parse_traceparent

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

HEADER: Final = b"x-request-id"
_SANE: Final = re.compile(rb"[A-Za-z0-9._:/+=@~-]{1,128}")


def is_sane(value: bytes) -> bool:
    """Whether a client's id may be repeated: in answers, in the log, to other services."""
    return (
        _SANE.fullmatch(value) is not None
        and not holds_credential(value)
        and not holds_token(value)
    )


class RequestIds:
    """An ASGI layer: the client's id where it is sane, else one made here. The application sees it
    as ``X-Request-Id``, the client in the answer, and people in the log, with the trace's id."""

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request that has an id."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: list[tuple[bytes, bytes]] = list(scope["headers"])
        given = dict(headers).get(HEADER, b"")
        id_ = given if is_sane(given) else secrets.token_hex(8).encode()
        if not given:
            # What is not sane stays: the application refuses what nobody should send anywhere.
            headers.append((HEADER, id_))
        bound = {"request_id": id_.decode()}
        parents = [value for name, value in headers if name == b"traceparent"]
        if len(parents) == 1 and (parent := parse_traceparent(parents[0])) is not None:
            bound["trace_id"] = f"{parent.trace_id:032x}"

        async def answering(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                answered: list[tuple[bytes, bytes]] = list(message.get("headers", ()))
                if all(name.lower() != HEADER for name, _ in answered):
                    message = {**message, "headers": [*answered, (HEADER, id_)]}
            await send(message)

        structlog.contextvars.bind_contextvars(**bound)
        await self._app({**scope, "headers": headers}, receive, answering)
