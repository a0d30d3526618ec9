"""One attempt: to the checked address, within its time, following nothing."""

import asyncio
import ssl
from pathlib import Path

import pytest

from control.webhooks.sender import MAX_RESPONSE_BYTES, Sender
from runtime.targets import Resolver, Targets, networks, system_resolver
from tests.control.webhooks.receivers import Received, Writer, receiving, status
from tests.fixtures.certificates import contexts
from tests.runtime.test_targets import FakeResolver

LOOPBACK = "127.0.0.0/8,::1/128"


def sender(
    resolver: Resolver = system_resolver,
    allowed: str = LOOPBACK,
    *,
    timeout_s: float = 5.0,
    verify: ssl.SSLContext | None = None,
) -> Sender:
    return Sender(
        Targets(networks(allowed), "TOLLWAY_WEBHOOK_ALLOWED_NETWORKS", resolver),
        connect_timeout_s=1.0,
        timeout_s=timeout_s,
        user_agent="Tollway/test",
        verify=verify or ssl.create_default_context(),
    )


async def test_a_delivery_is_posted_as_json_with_its_headers() -> None:
    async with receiving() as receiver, sender() as one:
        url = f"http://127.0.0.1:{receiver.port}/in?a=b"
        outcome = await one.send(url, {"webhook-id": "evt_1"}, b'{"a":1}')

    request = receiver.received[0]
    assert (outcome.delivered, outcome.status, outcome.error) == (True, 204, "")
    assert request.line == "POST /in?a=b HTTP/1.1"
    assert request.body == b'{"a":1}'
    assert request.headers["webhook-id"] == "evt_1"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"] == "Tollway/test"
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"


async def test_nothing_is_sent_to_an_address_inside_when_none_is_allowed() -> None:
    async with receiving() as receiver, sender(allowed="") as one:
        for host in ("127.0.0.1", "localhost", "2130706433"):
            outcome = await one.send(f"http://{host}:{receiver.port}/", {}, b"{}")
            assert outcome.refused
            assert not outcome.delivered

    assert receiver.received == []


async def test_the_connection_goes_to_the_checked_address_not_to_a_second_answer() -> None:
    """A rebinding name: public when it is checked, this machine when it is asked again."""
    resolver = FakeResolver(["127.0.0.2"], ["127.0.0.1"])
    async with receiving() as receiver, sender(resolver, "127.0.0.2/32") as one:
        outcome = await one.send(f"http://hooks.example:{receiver.port}/", {}, b"{}")

        assert resolver.asked == [("hooks.example", receiver.port)]
        assert outcome.error == "the connection could not be made"
        later = await one.send(f"http://hooks.example:{receiver.port}/", {}, b"{}")

    assert later.refused
    assert receiver.received == []


async def test_the_certificate_is_checked_against_the_name_while_the_address_is_pinned(
    tmp_path: Path,
) -> None:
    server, client = contexts(tmp_path, "hooks.example")
    resolver = FakeResolver(["127.0.0.1"])
    async with receiving(tls=server) as receiver, sender(resolver, verify=client) as one:
        good = await one.send(f"https://hooks.example:{receiver.port}/", {}, b"{}")
        asked = receiver.name_asked
        bad = await one.send(f"https://other.example:{receiver.port}/", {}, b"{}")

    assert good.delivered
    assert asked == "hooks.example"
    assert receiver.received[0].headers["host"] == f"hooks.example:{receiver.port}"
    assert not bad.delivered
    assert "certificate is not valid" in bad.error
    assert len(receiver.received) == 1


async def test_a_connection_is_not_used_again_for_another_name_on_the_same_address(
    tmp_path: Path,
) -> None:
    server, client = contexts(tmp_path, "hooks.example")
    resolver = FakeResolver(["127.0.0.1"])
    keep = status(200, "Connection: keep-alive")
    async with receiving(keep, tls=server) as receiver, sender(resolver, verify=client) as one:
        await one.send(f"https://hooks.example:{receiver.port}/", {}, b"{}")
        other = await one.send(f"https://elsewhere.example:{receiver.port}/", {}, b"{}")

    assert not other.delivered
    assert len(receiver.received) == 1


async def test_a_redirect_is_a_failure_and_is_not_followed() -> None:
    async with receiving() as inside:
        moved = status(307, f"Location: http://127.0.0.1:{inside.port}/")
        async with receiving(moved) as receiver, sender() as one:
            outcome = await one.send(f"http://127.0.0.1:{receiver.port}/", {}, b"{}")

    assert (outcome.delivered, outcome.status) == (False, 307)
    assert inside.received == []


@pytest.mark.parametrize("code", [200, 201, 204, 299])
async def test_any_2xx_means_delivered(code: int) -> None:
    async with receiving(status(code)) as receiver, sender() as one:
        assert (await one.send(f"http://127.0.0.1:{receiver.port}/", {}, b"{}")).delivered


async def test_what_a_receiver_asks_for_is_told() -> None:
    async with receiving(status(429, "Retry-After: 17")) as receiver, sender() as one:
        url = f"http://127.0.0.1:{receiver.port}/"
        throttled = await one.send(url, {}, b"{}")
        receiver.answer = status(410)
        gone = await one.send(url, {}, b"{}")
        receiver.answer = status(503, "Retry-After: Wed, 21 Oct 2026 07:28:00 GMT")
        dated = await one.send(url, {}, b"{}")

    assert (throttled.retry_after_s, throttled.gone) == (17.0, False)
    assert gone.gone
    assert dated.retry_after_s is None


async def test_a_receiver_that_never_answers_is_given_up_in_time() -> None:
    async def hang(_request: Received, _writer: Writer) -> None:
        await asyncio.sleep(30)

    async with receiving(hang) as receiver, sender(timeout_s=0.2) as one:
        outcome = await one.send(f"http://127.0.0.1:{receiver.port}/", {}, b"{}")

    assert (outcome.delivered, outcome.status) == (False, None)
    assert outcome.duration_ms < 2000


async def test_a_receiver_that_drips_its_headers_is_given_up_in_time() -> None:
    async def drip(_request: Received, writer: Writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX: ")
        for _ in range(1000):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with receiving(drip) as receiver, sender(timeout_s=0.3) as one:
        outcome = await one.send(f"http://127.0.0.1:{receiver.port}/", {}, b"{}")

    assert outcome.error == "no answer within 0.3 s"


async def test_of_an_endless_answer_only_a_little_is_read() -> None:
    written = 0

    async def flood(_request: Received, writer: Writer) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
            written += 65536

    async with receiving(flood) as receiver, sender() as one:
        outcome = await one.send(f"http://127.0.0.1:{receiver.port}/", {}, b"{}")

    assert outcome.delivered
    assert written < 50 * MAX_RESPONSE_BYTES + (16 << 20)  # what the sockets buffer


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 ", b"\x00" * 500])
async def test_an_answer_that_is_not_http_is_a_failure(answer: bytes) -> None:
    async def say(_request: Received, writer: Writer) -> None:
        writer.write(answer)

    async with receiving(say) as receiver, sender() as one:
        outcome = await one.send(f"http://127.0.0.1:{receiver.port}/", {}, b"{}")

    assert (outcome.delivered, outcome.status) == (False, None)
    assert outcome.error


async def test_a_compressed_answer_is_not_unpacked() -> None:
    body = b"\x1f\x8bthis is no gzip"
    answer = status(200, "Content-Encoding: gzip", body=body)
    async with receiving(answer) as receiver, sender() as one:
        assert (await one.send(f"http://127.0.0.1:{receiver.port}/", {}, b"{}")).delivered


async def test_another_address_is_tried_where_the_first_takes_no_connection() -> None:
    resolver = FakeResolver(["127.0.0.9", "127.0.0.1"])
    async with receiving() as receiver, sender(resolver) as one:
        outcome = await one.send(f"http://hooks.example:{receiver.port}/", {}, b"{}")

    assert outcome.delivered


async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving() as receiver, receiving() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        async with sender() as one:
            await one.send(f"http://127.0.0.1:{receiver.port}/", {}, b"{}")

    assert (len(receiver.received), len(proxy.received)) == (1, 0)
