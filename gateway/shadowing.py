"""Mirrors requests to shadow versions, once their answers have left, within a budget.

A request that was answered 200 is put aside, and that is all that happens on its way. Some
milliseconds later what was put aside goes to an engine of the shadow version, many requests in one
frame; the next frame goes when the engine is done with the one before. So a shadow that cannot keep
up is felt here, and nowhere else: what finds no place is shed, and counted by its reason. Nothing
of a shadow counts as usage, against a plan, or as a request of any version.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Container, Iterator, Mapping
from functools import partial
from typing import Final, Protocol

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway.capture import may_keep
from gateway.catalog import ModelEntry
from gateway.connection import Exchange, VersionKey
from gateway.settings import GatewaySettings
from policies.base import Call
from protocol.errors import TollwayError
from protocol.frames import Frame, Kind, Operation
from protocol.shadowing import SHED, MirrorBatch, MirrorCount, Mirrored, Shed
from runtime.machine import occupied_ns

FLUSH_S: Final = 0.02
"""How long a request is put aside before it goes; those that come meanwhile go with it, and share
a run: one alone would cost the engine several times as much."""
PAUSE_S: Final = 0.005
"""How long the next frame waits once an engine is done with one, where a whole one waits."""
BATCH_REQUESTS: Final = 64
BATCH_BYTES: Final = 1 << 20
DEADLINE_S: Final = 5.0
"""Time that an engine has for a frame. It drops what it has not begun by then."""
SMOOTHING: Final = 0.125
TRICKLE_S: Final = 0.02
"""A request in this time is mirrored even where there is no time: 50 a second cost next to nothing,
and a report has something to rest on however busy a system always is."""
WAIT_US: Final = 10_000
"""Waits below this are nobody's concern, as where engines are scaled."""
WAIT_TO_RUN: Final = 0.5
"""An answer that waited for more than this part of its run's length has waited for an engine."""
WAIT_SMOOTHING: Final = 1 / 64
WAITING: Final = 0.5
"""Part of the answers from which on engines have no time."""
_OK: Final = 200
_PERMILLE: Final = 1000

_encode: Final = msgspec.msgpack.Encoder().encode


class Engines(Protocol):
    """The part of :class:`gateway.upstream.Upstream` that shadows need."""

    def offer(self, key: VersionKey, exchange: Exchange) -> bool:
        """Send what may as well not be sent; False where no engine takes it at once."""
        ...


class _Shadow:
    """One shadow version: what waits for it, and what became of the rest."""

    __slots__ = (
        "compared", "key", "next_at", "phase", "pressure", "shed", "size", "under_way", "waiting",
    )  # fmt: skip

    def __init__(self, key: VersionKey) -> None:
        self.key = key
        self.phase = 0
        self.next_at = 0.0
        """From when on a request is mirrored though there is no time."""
        self.pressure = 0.0
        """Part of the answers, lately, that had waited for their engine."""
        self.waiting: deque[Mirrored] = deque()
        self.size = 0
        """Bytes of what waits."""
        self.under_way = 0
        """Requests that an engine has."""
        self.compared = 0
        self.shed: dict[Shed, int] = dict.fromkeys(SHED, 0)


class Shadowing(Collector):
    """Of one gateway. Belongs to the thread of its event loop."""

    def __init__(
        self,
        settings: GatewaySettings,
        models: Mapping[str, ModelEntry],
        engines: Engines,
        monotonic: Callable[[], float] = time.monotonic,
        occupied: Callable[[], int] = occupied_ns,
        *,
        uncaptured: Container[str] = frozenset(),
    ) -> None:
        """``uncaptured``: applications whose rows are never shown as examples."""
        self._max_bytes = settings.shadow_bytes
        self._max_requests = settings.shadow_requests
        self._max_late_s = settings.shadow_late_ms / 1000
        self._max_occupation = settings.shadow_occupied_percent / 100
        self._models = models
        self._engines = engines
        self._uncaptured = uncaptured
        self._monotonic = monotonic
        self._loop = asyncio.get_running_loop()
        self._shadows: dict[VersionKey, _Shadow] = {}
        self._size = 0
        self._due = 0.0
        """When the next flush should happen; 0: none is needed."""
        self._late_s = 0.0
        self._occupied = occupied
        self._occupation = 0.0
        """Part of the time, lately, that this thread was running or waited for a processor."""
        self._measured = monotonic(), occupied()

    def answered(self, call: Call, reply: Frame | TollwayError, body: bytes) -> None:
        """A call has got its answer. Costs nothing worth mentioning where nothing is mirrored."""
        entry = self._models.get(call.model)
        if entry is None or not entry.shadows:
            return
        if not isinstance(reply, Frame) or reply.status != _OK:
            return
        if call.operation == Operation.V1_EXPLAIN:
            return
        item: Mirrored | None = None
        for shadow in entry.shadows:
            if shadow.version == call.version:
                continue
            found = self._shadow(call.model, shadow.version)
            found.phase += shadow.permille
            if found.phase < _PERMILLE:
                continue
            found.phase -= _PERMILLE
            waited = reply.a > WAIT_US and reply.a > reply.b * WAIT_TO_RUN
            found.pressure += WAIT_SMOOTHING * (waited - found.pressure)
            item = item or _mirrored(call, reply, body, self._kept(call, entry))
            self._put(found, item)

    def _kept(self, call: Call, entry: ModelEntry) -> bool:
        return may_keep(call, entry.capture_permille, self._uncaptured)

    def _shadow(self, model: str, version: int) -> _Shadow:
        key = (model, version)
        found = self._shadows.get(key)
        if found is None:
            found = self._shadows[key] = _Shadow(key)
        return found

    def _put(self, shadow: _Shadow, item: Mirrored) -> None:
        size = len(item.body) + len(item.answer)
        if not self._has_time(shadow):
            shadow.shed["busy"] += 1
        elif len(shadow.waiting) >= self._max_requests or self._size + size > self._max_bytes:
            shadow.shed["budget"] += 1
        else:
            shadow.waiting.append(item)
            shadow.size += size
            self._size += size
        # Also for what was shed: the timer says when there is time again.
        self._flush_within(FLUSH_S)

    def _has_time(self, shadow: _Shadow) -> bool:
        """Whether there is time for more than the traffic, or it is the turn of the trickle."""
        if (
            self._late_s <= self._max_late_s
            and self._occupation <= self._max_occupation
            and shadow.pressure <= WAITING
        ):
            return True
        now = self._monotonic()
        if now < shadow.next_at:
            return False
        shadow.next_at = now + TRICKLE_S
        return True

    def _flush_within(self, seconds: float) -> None:
        if not self._due:
            self._due = self._monotonic() + seconds
            self._loop.call_later(seconds, self._flush)

    def _flush(self) -> None:
        self._measure()
        late_s = self._monotonic() - self._due
        self._late_s += SMOOTHING * (late_s - self._late_s)
        self._due = 0.0
        for shadow in self._shadows.values():
            if shadow.waiting and not shadow.under_way:
                self._send(shadow)

    def _measure(self) -> None:
        now, occupied = self._monotonic(), self._occupied()
        seconds = now - self._measured[0]
        if seconds > 0:
            part = (occupied - self._measured[1]) * 1e-9 / seconds
            self._occupation += SMOOTHING * (min(part, 1.0) - self._occupation)
        self._measured = now, occupied

    def _shed(self, shadow: _Shadow, reason: Shed) -> None:
        shadow.shed[reason] += len(shadow.waiting)
        shadow.waiting.clear()
        self._size -= shadow.size
        shadow.size = 0

    def _send(self, shadow: _Shadow) -> None:
        entry = self._models.get(shadow.key[0])
        if entry is None or all(one.version != shadow.key[1] for one in entry.shadows):
            self._shed(shadow, "no_engine")
            return
        items = self._take(shadow)
        exchange = Exchange(
            _encode(MirrorBatch(entry.segments, items)),
            self._loop.time() + DEADLINE_S,
            partial(self._done, shadow),
            kind=Kind.SHADOW,
        )
        shadow.under_way = len(items)
        if not self._engines.offer(shadow.key, exchange):
            shadow.under_way = 0
            shadow.shed["no_engine"] += len(items)
            self._shed(shadow, "no_engine")

    def _take(self, shadow: _Shadow) -> list[Mirrored]:
        items: list[Mirrored] = []
        size = 0
        while shadow.waiting and len(items) < BATCH_REQUESTS and size < BATCH_BYTES:
            item = shadow.waiting.popleft()
            items.append(item)
            size += len(item.body) + len(item.answer)
        shadow.size -= size
        self._size -= size
        return items

    def _done(self, shadow: _Shadow, reply: Frame | TollwayError) -> None:
        """The engine is done with a frame, or lost."""
        compared = min(reply.a, shadow.under_way) if isinstance(reply, Frame) else 0
        shadow.compared += compared
        shadow.shed["engine"] += shadow.under_way - compared
        shadow.under_way = 0
        if shadow.waiting:
            self._flush_within(PAUSE_S if len(shadow.waiting) >= BATCH_REQUESTS else FLUSH_S)

    def counts(self) -> dict[VersionKey, MirrorCount]:
        """What became of the requests that were to be mirrored, since the gateway started."""
        return {
            key: MirrorCount(
                model=key[0], version=key[1], compared=one.compared, shed=dict(one.shed)
            )
            for key, one in self._shadows.items()
        }

    def collect(self) -> Iterator[Metric]:
        """Prometheus' view, built at each scrape."""
        labels = ["model", "version"]
        compared = CounterMetricFamily(
            "tollway_shadow_requests",
            "Requests that engines of a shadow version have taken in and compared.",
            labels=labels,
        )
        shed = CounterMetricFamily(
            "tollway_shadow_shed",
            "Requests that were to be mirrored to a shadow version, and were not compared.",
            labels=[*labels, "reason"],
        )
        waiting = GaugeMetricFamily(
            "tollway_shadow_waiting_bytes", "What waits to be mirrored.", labels=labels
        )
        for (model, version), shadow in self._shadows.items():
            names = [model, str(version)]
            compared.add_metric(names, shadow.compared)
            waiting.add_metric(names, shadow.size)
            for reason, count in shadow.shed.items():
                shed.add_metric([*names, reason], count)
        yield from (compared, shed, waiting)


def _mirrored(call: Call, reply: Frame, body: bytes, kept: bool) -> Mirrored:
    identity = call.identity
    return Mirrored(
        call.version,
        "" if identity is None else identity.application,
        call.prediction_id,
        call.operation,
        call.header_length,
        body,
        reply.d,
        reply.body,
        kept,
    )
