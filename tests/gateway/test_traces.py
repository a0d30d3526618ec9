"""Traces of predictions: from the client through the gateway and the engine to a collector."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx
import msgspec
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from pydantic import ValidationError

from gateway import observation
from gateway.app import Gateway, GatewaySecrets
from gateway.lane import read_headers
from gateway.settings import GatewaySettings
from gateway.trace_export import TraceExport
from gateway.tracing import Span, Tracing
from policies.base import Call
from protocol.frames import TRACED, EngineTrace, Frame, Kind, encode_header
from runtime.start import StartError
from tests.fixtures.collector import FakeCollector
from tests.gateway.conftest import until
from tests.gateway.documents import World
from tests.gateway.fake_engine import FakeEngine

INFER = "/v2/models/iris/infer"
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "tracestate": "congo=t61"}
UNSAMPLED = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-00"}
TOLD = EngineTrace(
    decode_us=10, queue_us=20, run_us=30, encode_us=5, total_us=70, batch_rows=8, batch_requests=3
)


def telling(engine: FakeEngine, transport: asyncio.Transport, frame: Frame) -> None:
    """An engine that tells where the time went, when it is asked to."""
    if frame.flags & TRACED:
        body = msgspec.json.encode(TOLD)
        transport.write(encode_header(Kind.TRACE, len(body), id=frame.id) + body)
    engine.reply(transport, frame, 200, frame.body)


@pytest.fixture
async def collector() -> AsyncIterator[FakeCollector]:
    async with FakeCollector() as running:
        yield running


@pytest.fixture
def settings(settings: GatewaySettings, collector: FakeCollector) -> GatewaySettings:
    return settings.model_copy(update={"otlp_endpoint": collector.url})


async def test_one_trace_leads_from_the_client_through_gateway_and_engine(
    client: httpx.AsyncClient, engine: FakeEngine, collector: FakeCollector
) -> None:
    engine.behave = telling
    answer = await client.post(INFER, content=b"{}", headers={**PARENT, "x-request-id": "r-1"})
    assert answer.status_code == 200
    await until(lambda: len(collector.spans) >= 8)
    assert set(collector.paths) == {"/v1/traces"}
    spans = {span.name: span for span in collector.spans}
    assert {span.trace for span in collector.spans} == {TRACE}
    assert {span.state for span in collector.spans} == {"congo=t61"}
    parents = {
        name: next((s.name for s in collector.spans if s.id == span.parent), span.parent)
        for name, span in spans.items()
    }
    assert parents == {
        "predict": "b7ad6b7169203331",
        "policies": "predict",
        "upstream": "predict",
        "engine": "upstream",
        "decode": "engine",
        "queue": "engine",
        "infer": "engine",
        "encode": "engine",
    }
    ours = ("predict", "policies", "upstream")
    for name, span in spans.items():
        assert span.service == ("tollway-gateway" if name in ours else "tollway-engine")
        assert span.start <= span.end
        assert spans["predict"].start <= span.start
        assert span.end <= spans["predict"].end + 1000  # nanoseconds that rounding costs
    assert spans["infer"].attributes == {"tollway.batch.rows": 8, "tollway.batch.requests": 3}
    assert [spans[n].kind for n in ("predict", "upstream", "engine")] == [
        "server", "client", "server",
    ]  # fmt: skip
    told = spans["predict"].attributes
    assert told["http.request.method"] == "POST"
    assert told["http.route"] == "/v2/models/{model}/infer"
    assert told["http.response.status_code"] == 200
    assert (told["tollway.model"], told["tollway.version"]) == ("iris", 2)
    assert told["tollway.request_id"] == "r-1"
    assert told["tollway.prediction_id"] == answer.headers["tollway-prediction-id"]


async def test_no_span_begins_before_its_parent_though_the_loops_clock_is_behind(
    client: httpx.AsyncClient, collector: FakeCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "time", lambda: time.monotonic() - 0.05)
    await client.post(INFER, content=b"{}", headers=PARENT)
    await until(lambda: bool(collector.named("predict")))

    (predict,), (upstream,) = collector.named("predict"), collector.named("upstream")
    assert predict.start <= upstream.start


async def test_spans_hold_neither_the_key_nor_the_body(
    client: httpx.AsyncClient, world: World, collector: FakeCollector
) -> None:
    await client.post(INFER, content=b'{"private": 1}', headers=PARENT)
    await until(lambda: bool(collector.named("predict")))
    shown = " ".join(str(span.attributes) for span in collector.spans)
    assert world.key not in shown
    assert "private" not in shown


@pytest.mark.parametrize("headers", [UNSAMPLED, {}, {"traceparent": "nonsense"}])
async def test_what_nobody_samples_is_neither_traced_nor_refused(
    client: httpx.AsyncClient,
    engine: FakeEngine,
    collector: FakeCollector,
    headers: dict[str, str],
) -> None:
    assert (await client.post(INFER, content=b"{}", headers=headers)).status_code == 200
    assert (await client.post(INFER, content=b"{}", headers=PARENT)).status_code == 200
    await until(lambda: bool(collector.named("predict")))
    assert len(collector.named("predict")) == 1
    assert [bool(frame.flags & TRACED) for frame in engine.frames] == [False, True]


async def test_a_refusal_is_traced_once_the_caller_is_known(
    client: httpx.AsyncClient, collector: FakeCollector
) -> None:
    stranger = {**PARENT, "x-api-key": "tw_live_nobody"}
    assert (await client.post(INFER, content=b"{}", headers=stranger)).status_code == 401
    path = "/v2/models/iris/versions/1/infer"
    assert (await client.post(path, content=b"{}", headers=PARENT)).status_code == 503
    await until(lambda: bool(collector.named("predict")))
    (span,) = collector.named("predict")
    assert span.failed
    assert span.attributes["error.type"] == "503"
    assert {s.name for s in collector.spans} == {"predict", "policies"}


@pytest.fixture
async def hanging(collector: FakeCollector) -> FakeCollector:
    collector.hanging = True
    return collector


async def test_a_collector_that_hangs_holds_nobody(
    hanging: FakeCollector, client: httpx.AsyncClient, gateway: Gateway
) -> None:
    for _ in range(3):
        assert (await client.post(INFER, content=b"{}", headers=PARENT)).status_code == 200
    await until(lambda: bool(hanging.paths))
    assert (await client.post(INFER, content=b"{}", headers=PARENT)).status_code == 200
    assert gateway.observation.export is not None
    assert gateway.observation.export.exported == 0


class Gate:
    """An exporter that is stuck until it is let go, and then says what it was told to."""

    def __init__(self, answer: bool) -> None:
        self.open = threading.Event()
        self.answer = answer
        self.batches: list[Sequence[Span]] = []

    def export(self, spans: Sequence[Span]) -> bool:
        self.batches.append(spans)
        assert self.open.wait(10)
        return self.answer

    def shutdown(self) -> None:
        self.open.set()


def span(number: int) -> Span:
    return Span("s", "internal", "x", 1, number, 0, False, 0, 1, {}, False, [])


def scraped(export: TraceExport) -> str:
    registry = CollectorRegistry()
    registry.register(export)
    return generate_latest(registry).decode()


async def test_spans_that_find_no_place_are_dropped_and_counted() -> None:
    gate = Gate(answer=True)
    export = TraceExport(gate, capacity=4, interval_s=0.001)
    export.start()
    export.put([span(1)])
    await until(lambda: bool(gate.batches))  # the thread is stuck with the first
    for number in range(2, 10):
        export.put([span(number)])
    assert export.overflowed == 4
    gate.open.set()
    await until(lambda: export.exported == 5)
    assert 'spans_dropped_total{reason="queue_full"} 4.0' in scraped(export)
    export.close()


async def test_spans_that_the_collector_refuses_are_counted_and_said_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    gate = Gate(answer=False)
    gate.open.set()
    export = TraceExport(gate, interval_s=0.001)
    export.start()
    for number in (1, 2, 3):
        export.put([span(number)])
        await until(lambda number=number: export.refused == number)  # type: ignore[misc]
    export.close()
    assert 'spans_dropped_total{reason="not_taken"} 3.0' in scraped(export)
    said = capsys.readouterr()
    assert (said.out + said.err).count("does not take traces") == 1


class Kept:
    """A sink."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def put(self, spans: Sequence[Span]) -> None:
        self.spans += spans


@pytest.mark.parametrize(
    ("ratio", "low", "sampled"),
    [(0.0, 0, False), (0.25, 0, True), (0.25, 2**62 - 1, True), (0.25, 2**62, False),
     (1.0, 2**64 - 1, True)],
)  # fmt: skip
def test_the_ratio_decides_of_traces_that_begin_here(ratio: float, low: int, sampled: bool) -> None:
    tracing = Tracing(
        Kept(),
        ratio,
        now=lambda: 0.0,
        monotonic=lambda: 0.0,
        bits=lambda n: (1 << 127) + low if n == 128 else 7,
    )
    call = Call(model="m")
    tracing.begin(call, lambda _: None)
    assert (call.trace is not None) == sampled
    if call.trace is not None:
        assert call.trace.parent is None
        assert call.trace.context.trace_id == (1 << 127) + low


def test_two_parents_are_none() -> None:
    call = Call(model="m")
    read_headers(call, [(b"traceparent", PARENT["traceparent"].encode())] * 2)
    Tracing(Kept(), 0.0, now=lambda: 0.0, monotonic=lambda: 0.0).begin(call, lambda _: None)
    assert call.trace is None


async def test_without_a_collector_nothing_of_opentelemetry_is_made(tmp_path: Path) -> None:
    settings = GatewaySettings(
        data_dir=tmp_path,
        control_url="unix:/none",
        cluster_token_file=tmp_path,
        key_pepper_file=tmp_path,
    )
    built = observation.Observation(settings, instance="g", now=lambda: 0.0)
    assert built.export is None


async def test_a_gateway_without_the_extra_says_what_to_install(
    settings: GatewaySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_name: str) -> object:
        raise ModuleNotFoundError("opentelemetry")

    monkeypatch.setattr(observation, "import_module", missing)
    with pytest.raises(StartError, match=r"tollwayd\[otel\]"):
        Gateway(settings, GatewaySecrets.read(settings))


@pytest.mark.parametrize("url", ["collector:4318", "http://u:p@host", "ftp://host", "http://h/?a"])
def test_an_endpoint_is_a_plain_base_url(url: str, settings: GatewaySettings) -> None:
    with pytest.raises(ValidationError):
        GatewaySettings.model_validate({**settings.model_dump(), "otlp_endpoint": url})
