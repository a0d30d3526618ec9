"""Streams of events: how many each may open, and what whoever has too many is sent."""

from collections.abc import AsyncIterator

import pytest

from control.portal import streams as module
from control.portal.streams import MAX_OF_ADDRESS, MAX_OF_SESSION, Event, Streams, Watcher
from tests.control.portal.conftest import Visiting
from tests.control.running import Control


async def look() -> list[Event]:
    return [Event("now", "42")]


async def opened(streams: Streams, session: str, address: str) -> tuple[AsyncIterator[bytes], bool]:
    """A stream that has begun, and whether it goes on."""
    stream = streams.events(look, Watcher(session, address), every_s=60.0)
    first = await anext(stream)
    return stream, first == f"retry: {module.RETRY_MS}\n\n".encode()


async def closed(stream: AsyncIterator[bytes]) -> None:
    assert hasattr(stream, "aclose")
    await stream.aclose()


async def test_a_session_watches_so_many_and_others_go_on() -> None:
    streams = Streams()
    mine = [await opened(streams, "mine", f"192.0.2.{at}") for at in range(MAX_OF_SESSION + 1)]
    assert [goes_on for _, goes_on in mine] == [True] * MAX_OF_SESSION + [False]
    assert (await opened(streams, "theirs", "192.0.2.1"))[1]


async def test_an_address_watches_so_many_whatever_cookies_it_shows() -> None:
    streams = Streams()
    found = [await opened(streams, f"s{at}", "192.0.2.1") for at in range(MAX_OF_ADDRESS + 1)]
    assert [goes_on for _, goes_on in found] == [True] * MAX_OF_ADDRESS + [False]
    assert (await opened(streams, "other", "192.0.2.2"))[1]


async def test_streams_are_bounded_in_all() -> None:
    streams = Streams(most=2)
    found = [await opened(streams, f"s{at}", f"192.0.2.{at}") for at in range(3)]
    assert [goes_on for _, goes_on in found] == [True, True, False]


async def test_what_ends_makes_room_again() -> None:
    streams = Streams()
    found = [await opened(streams, "mine", "192.0.2.1") for _ in range(MAX_OF_SESSION)]
    assert streams.open == MAX_OF_SESSION
    await closed(found[0][0])
    assert (await opened(streams, "mine", "192.0.2.1"))[1]
    for stream, _ in found[1:]:
        await closed(stream)
    assert streams.open == 1


async def test_whoever_has_too_many_is_sent_the_present_once_and_asks_again_later() -> None:
    streams = Streams(most=0)
    sent = [piece async for piece in streams.events(look, Watcher("s", "a"), every_s=60.0)]
    assert sent == [
        b"retry: 10000\n\n",
        b"event: polled\ndata: 10000\n\n",
        b"event: now\ndata: 42\n\n",
    ]
    assert streams.open == 0


@pytest.mark.parametrize("role", ["admin", "auditor"])
async def test_a_page_that_may_not_stream_still_gets_its_figures(
    control: Control, visiting: Visiting, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    monkeypatch.setattr(module, "MAX_OF_SESSION", 0)
    visitor = await visiting(role)
    answer = await visitor.get("/portal/operate/events")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.startswith(f"retry: {module.POLL_MS}\n\n")
    assert "event: workers\n" in answer.text
    assert control.services.streams.open == 0
