"""Server-sent events: what moves on a page without loading it again (``assets/live.js``)."""

from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from control.identity.failed_logins import network
from control.middleware import client_address
from control.portal.api import ApiRefusal
from control.portal.session import LoginNeeded, Visit
from control.portal.streams import SIGNED_OUT, Event, Watcher

MEDIA_TYPE: Final = "text/event-stream"
_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_UNAUTHENTICATED: Final = 401
SIGNED_IN: Final = "tollway-signed-in"
"""Header by which a page says that it was made for somebody who was logged in."""


def live(
    visit: Visit, look: Callable[[], Awaitable[list[Event] | None]], *, every_s: float = 2.0
) -> Response:
    """A stream that calls ``look`` every so often and sends what has changed since.

    A refusal by the API ends it, and None from ``look``; where the session has ended, the last
    event says so. Whoever has too many open, or prefers not to wait (RFC 7240, ``wait=0``), is sent
    what there is once, and asks again a while later.
    """
    if visit.me is None and SIGNED_IN in visit.request.headers:
        return signed_out()  # of a page that others may read, too: what it shows was theirs
    streams = visit.services.streams
    # The forms' token tells sessions apart, and is no secret of them.
    watcher = Watcher(visit.csrf, network(client_address(visit.request.scope)))

    over = False

    async def looked() -> list[Event] | None:
        nonlocal over
        if over:
            return None
        try:
            return await look()
        except LoginNeeded:
            over = True
        except ApiRefusal as refusal:
            if refusal.status != _UNAUTHENTICATED:  # what was watched is gone
                return None
            over = True
        return [SIGNED_OUT]

    return StreamingResponse(
        streams.events(looked, watcher, every_s=every_s, once=_waits_not(visit.request)),
        media_type=MEDIA_TYPE,
        headers=_HEADERS,
    )


def wants_events(request: Request) -> bool:
    """Whether a stream is asked for, and no page could be shown in its place."""
    return MEDIA_TYPE in request.headers.get("accept", "")


def signed_out() -> Response:
    """The stream of who is not logged in."""
    return Response(SIGNED_OUT.encode(), media_type=MEDIA_TYPE, headers=_HEADERS)


def _waits_not(request: Request) -> bool:
    preferences = request.headers.get("prefer", "").lower().split(",")
    return "wait=0" in (preference.strip() for preference in preferences)
