"""Server-sent events: what moves on a page without loading it again."""

from collections.abc import Awaitable, Callable
from typing import Final

from fastapi.responses import Response, StreamingResponse

from control.identity.failed_logins import network
from control.middleware import client_address
from control.portal.api import ApiRefusal
from control.portal.session import Visit
from control.portal.streams import Event, Watcher

MEDIA_TYPE: Final = "text/event-stream"


def live(
    visit: Visit, look: Callable[[], Awaitable[list[Event] | None]], *, every_s: float = 2.0
) -> Response:
    """A stream that calls ``look`` every so often and sends what has changed since.

    A refusal by the API ends it, and None from ``look``. Whoever has too many open is sent what
    there is once, and asks again a while later.
    """
    streams = visit.services.streams
    # The forms' token tells sessions apart, and is no secret of them.
    watcher = Watcher(visit.csrf, network(client_address(visit.request.scope)))

    async def looked() -> list[Event] | None:
        try:
            return await look()
        except ApiRefusal:  # the session has ended, or what was watched
            return None

    return StreamingResponse(
        streams.events(looked, watcher, every_s=every_s),
        media_type=MEDIA_TYPE,
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )
