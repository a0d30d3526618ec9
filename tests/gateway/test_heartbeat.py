"""A gateway that control refuses does not start, or ends when it hears of it."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec
import pytest

from gateway.heartbeat import GatewayFigures, Heartbeat
from gateway.remote import RemoteLimits
from gateway.remotes import Remotes
from gateway.seals import Seals
from runtime.start import StartError
from runtime.targets import Targets
from tests.fixtures.seals import KEYS


class Control:
    """Control's side of the reports."""

    def __init__(self) -> None:
        self.status = 204
        self.away = False
        self.reports: list[dict[str, object]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.away:
            raise httpx.ConnectError("no control")
        if request.method == "PUT":
            self.reports.append(msgspec.json.decode(request.content))
        return httpx.Response(self.status, json={"detail": "stop that gateway"})


def heartbeat(
    control: Control, figures: Callable[[], GatewayFigures] = GatewayFigures
) -> Heartbeat:
    client = httpx.AsyncClient(transport=httpx.MockTransport(control), base_url="http://control")
    return Heartbeat(
        client,
        id="g1",
        counters="memory",
        version="1.0",
        remotes=remotes(),
        seals=Seals(KEYS, Path("unused")),
        figures=figures,
        now=lambda: 12.5,
    )


def remotes() -> Remotes:
    limits = RemoteLimits(connections=1, in_flight=1, response_bytes=1, check_interval_s=1)
    return Remotes(Targets((), "TOLLWAY_X"), lambda _model, _remote: None, limits)


async def test_a_report_says_where_limits_are_counted() -> None:
    control = Control()
    await heartbeat(control).first()
    assert control.reports == [
        {
            "id": "g1",
            "counters": "memory",
            "version": "1.0",
            "started_ms": 12_500,
            "remotes": [],
            "unverified": [],
            "position": 0,
            "requests": 0,
            "in_flight": 0,
        }
    ]


async def test_a_report_says_how_the_gateway_is_doing() -> None:
    control = Control()
    told = iter([GatewayFigures(3, 10, 2), GatewayFigures(4, 25, 0)])
    beat = heartbeat(control, lambda: next(told))
    await beat.first()
    await beat.first()
    assert [(one["position"], one["requests"], one["in_flight"]) for one in control.reports] == [
        (3, 10, 2),
        (4, 25, 0),
    ]


async def test_a_refused_gateway_does_not_start() -> None:
    control = Control()
    control.status = 409
    with pytest.raises(StartError, match="stop that gateway"):
        await heartbeat(control).first()


@pytest.mark.parametrize("status", [None, 500, 503])
async def test_without_controls_word_a_gateway_starts_from_its_copy(status: int | None) -> None:
    control = Control()
    control.away = status is None
    control.status = status or 204
    await heartbeat(control).first()
    await heartbeat(control).goodbye()


async def test_a_gateway_that_started_unasked_ends_when_control_refuses_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.heartbeat.INTERVAL_S", 0.005)
    control = Control()
    control.away = True
    reports = heartbeat(control)
    await reports.first()
    running = asyncio.create_task(reports.run())
    await asyncio.sleep(0.03)
    assert not running.done()
    control.away, control.status = False, 409
    async with asyncio.timeout(5):
        with pytest.raises(StartError, match="stop that gateway"):
            await running
