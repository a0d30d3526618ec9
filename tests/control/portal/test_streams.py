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
    assert sent == [b"retry: 10000\n\n", b"event: now\ndata: 42\n\n"]
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


async def test_who_prefers_not_to_wait_is_sent_the_present_at_once(
    control: Control, visiting: Visiting
) -> None:
    visitor = await visiting("admin")
    answer = await visitor.get("/portal/operate/events", headers={"Prefer": "wait=0"})
    assert answer.text.startswith(f"retry: {module.POLL_MS}\n\n")
    for part in ("findings", "gateways", "workers", "data"):  # the page has this one stream
        assert f"event: {part}\n" in answer.text
    assert 'data-live="/portal/operate/events"' in (await visitor.get("/portal/operate")).text
    assert control.services.streams.open == 0


async def test_a_stream_under_way_says_that_the_session_has_ended_and_ends(
    control: Control, visiting: Visiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = await visiting("admin")
    looked = 0
    pause = Streams._pause

    async def soon(streams: Streams, _seconds: float) -> None:
        nonlocal looked
        looked += 1
        if looked == 1:
            await control.admin.delete("/api/v1/sessions", params={"user": "robin-admin"})
        await pause(streams, 0.001)

    monkeypatch.setattr(Streams, "_pause", soon)
    answer = await visitor.get("/portal/operate/events")
    assert "event: workers\n" in answer.text
    assert answer.text.endswith("event: signed-out\ndata: The session has ended.\n\n")
    assert looked == 2


async def test_who_has_no_session_is_told_so_in_a_stream_and_not_led_to_a_page(
    visiting: Visiting,
) -> None:
    nobody = await visiting(None)
    answer = await nobody.get("/portal/operate/events", headers={"Accept": "text/event-stream"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text == "event: signed-out\ndata: The session has ended.\n\n"
