"""The engine's process: reads its order, loads, replays the golden rows, warms, and serves."""

import asyncio
import contextlib
import gc
import os
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol, TypeVar

import msgspec

from protocol.configuration import AlertDoc
from protocol.frames import Hello
from runtime.priority import lowered_threads, step_back, take_short_turns, thread_ids
from runtime.process import run, set_title
from serving.background import BackgroundError
from serving.background import read as read_background
from serving.batcher import Batcher
from serving.cost import Cost
from serving.engine import Engine
from serving.explanations import ExplainLimits, ExplainSetup
from serving.golden import GoldenError, read, replay
from serving.launch import EngineNews, EngineOrder, EngineWord
from serving.listening import listen
from serving.meter import Meter
from serving.orders import Orders
from serving.scores import UnknownGraphError, with_scores
from serving.sentinel import Output, Sentinel
from serving.session import LoadError, Session, runtime_of
from serving.signature import Signature
from serving.threads import chosen
from serving.v2_json import V2Json
from serving.v2_reply import V2Replies
from serving.warmup import Typical, warm

Result = TypeVar("Result")

SCORES: Final = "scores.onnx"
CROSSING_S: Final = 0.25
"""After DRAIN, requests that were on their way when the gateway read it may still arrive."""


def main(orders: Orders, order: EngineOrder, loaded: Callable[[], None]) -> None:
    """Serve until SIGTERM or the agent's death; exit 1 when the model does not load. ``loaded`` is
    called before it takes traffic."""
    begun = time.monotonic()
    # Only the word to the agent goes to the agent; whatever a library prints goes to the log.
    word = os.dup(1)
    os.dup2(2, 1)
    set_title(f"engine {order.model}/{order.version}#{order.slot}")
    take_short_turns()

    def raise_alert(message: str) -> None:
        alert = AlertDoc(kind="batch_variance", message=message, since=int(time.time()))
        tell(word, EngineNews(alert=alert))

    try:
        engine = load(order, raise_alert)
    except (LoadError, GoldenError, BackgroundError) as error:
        say(word, EngineWord(ready=False, error=str(error)))
        sys.exit(1)
    gc.collect()
    loaded()
    gc.freeze()  # what is loaded stays: the collector need not walk it again

    async def serve(stop: asyncio.Event) -> None:
        # Before anybody can ask: what has changed since the order holds for the first request.
        orders.follow(lambda change: engine.contracts.obey(change.contract))
        server = await listen(engine, order.address)
        load_ms = int((time.monotonic() - begun) * 1000)
        say(word, EngineWord(ready=True, load_ms=load_ms, threads=engine.threads[0]))
        os.set_blocking(word, False)
        Meter(engine, lambda load: tell(word, EngineNews(load=load)))
        await stop.wait()
        await drain(engine, server, order.drain_s)
        engine.close()

    run(serve)


def say(descriptor: int, word: EngineWord | EngineNews) -> None:
    """Tell the agent."""
    os.write(descriptor, msgspec.json.encode(word) + b"\n")


def tell(descriptor: int, news: EngineNews) -> None:
    """Tell the agent, if it listens: one that is gone takes this process with it, and one that does
    not come to reading has many lines to read already."""
    with contextlib.suppress(OSError):
        say(descriptor, news)


def load(order: EngineOrder, raise_alert: Callable[[str], None]) -> Engine:
    """Everything between an order and an engine that may take traffic."""
    if order.urgent:
        return _load(order, raise_alert, lambda work: work())
    with lowered_threads(1, "load") as low:
        return _load(order, raise_alert, lambda work: low.submit(work).result())


def _load(order: EngineOrder, raise_alert: Callable[[str], None], quietly: "_Do") -> Engine:
    folder = Path(order.folder)
    signature = Signature(order.manifest, order.version)
    golden, background = None, None
    decoder = V2Json(signature, V2Replies(signature))
    if order.background is not None:
        data = (folder / order.background).read_bytes()
        background = read_background(data, signature, decoder)
    if order.golden is not None:
        golden = read((folder / order.golden).read_bytes(), decoder)
    rows = golden[1].feeds if golden else None

    def with_threads(threads: int) -> Typical:
        known = thread_ids()
        session = Session(folder / order.artifact, signature, threads)
        step_back(order.processors, thread_ids() - known)  # what they are worth is tried
        return Typical(session, signature, rows)

    typical, threads, why = quietly(lambda: chosen(with_threads, order.threads, order.cores))
    if threads > 1 and not order.urgent:
        # Threads of the runtime keep the priority of the thread that made them, so those that serve
        # are made here. The first are let go before: two may not fit.
        del typical
        typical = with_threads(threads)
    session = typical.session
    if golden is not None:
        document, call = golden
        quietly(lambda: replay(document, call, session, signature))
    cost = Cost()
    merging, why_not = quietly(lambda: warm(session, signature, cost, rows))
    if order.finding is not None:
        merging, why_not = False, order.finding.message
    batcher = Batcher(
        session,
        time.monotonic_ns,
        merging=merging,
        why_not=why_not,
        cost=cost,
        max_requests=order.max_queue_requests,
        max_bytes=order.max_queue_bytes,
        max_rows=order.max_batch_rows,
    )
    outputs = [Output(spec.name, spec.datatype) for spec in signature.outputs]
    engine = Engine(
        signature,
        batcher,
        Hello(
            order.model,
            order.version,
            order.digest,
            instance=secrets.token_hex(8),
            runtime=runtime_of(threads, order.software),
        ),
        threads=(threads, why),
        sentinel=Sentinel(session, outputs, time.monotonic_ns),
        raise_alert=raise_alert,
        cluster_token=order.cluster_token.encode() if order.address.startswith("tcp:") else None,
        max_frame_bytes=order.max_frame_bytes,
        explain=ExplainSetup(
            background,
            ExplainLimits(
                max_rows=order.explain_max_rows, max_evaluations=order.explain_max_evaluations
            ),
            None if background is None else quietly(lambda: _scores(order, folder, signature)),
        ),
        report_defect=lambda error: _log_defect(order, error),
    )
    engine.contracts.obey(order.contract)
    return engine


class _Do(Protocol):
    """Carries work out, waits for it, and returns or raises what it did."""

    def __call__(self, work: Callable[[], Result]) -> Result: ...


def _scores(order: EngineOrder, folder: Path, signature: Signature) -> Session | None:
    """The model with scores in place of probabilities, where explanations are exact for these."""
    linked = [found for found in order.manifest.additive or () if found.link != "identity"]
    if len(linked) != 1 or order.manifest.files:
        return None
    path = folder / SCORES
    try:
        path.write_bytes(with_scores((folder / order.artifact).read_bytes(), linked[0].output))
        return Session(path, signature)
    except (UnknownGraphError, LoadError) as error:
        _log_defect(order, error)  # its probabilities can be explained all the same
        return None


def _log_defect(order: EngineOrder, error: BaseException) -> None:
    # Imported when there is something to say: most engines never log, and memory counts per engine.
    from runtime.logs import configure_logs, logger  # noqa: PLC0415

    configure_logs("engine", order.log_level, order.log_format)
    logger("engine").error(
        "internal error", model=order.model, version=order.version, exc_info=error
    )


async def drain(engine: Engine, server: asyncio.Server, within_s: float) -> None:
    """Tell the gateways to send nothing new, answer what is in flight, and close."""
    server.close()
    engine.shadows.close()
    for connection in list(engine.connections):
        connection.drain()
    loop = asyncio.get_running_loop()
    until = loop.time() + within_s
    quiet_since = loop.time()
    while engine.connections and loop.time() < until:
        if not engine.idle:
            quiet_since = loop.time()
        elif loop.time() - quiet_since > CROSSING_S:
            break
        await asyncio.sleep(0.01)
    for connection in list(engine.connections):
        connection.drain()  # with the counts of all that was answered meanwhile
        connection.close()
    # Let what was written leave; a peer that does not read cannot hold the process.
    while engine.connections and loop.time() < until:  # noqa: ASYNC110 -- bounded, and at the end
        await asyncio.sleep(0.01)
