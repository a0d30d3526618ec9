"""The gateway's limits: the store that the settings name, and what has to run beside it."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway.counter_copy import CounterKeeper
from gateway.settings import GatewaySettings
from gateway.usage_log import UsageLog
from policies.plan_limits import PlanLimitsPolicy
from policies.plans import Plans
from policies.stores.base import Counters
from policies.stores.memory import MemoryCounters
from policies.stores.redis import RedisCounters
from policies.stores.redis_connection import parse_address
from runtime.start import StartError

FIRST_ANSWER_S = 1.0
"""How long a start waits for Redis; after that it begins with its breaker open."""


class Limiting(Collector):
    """Counters and the policy over them. Make it inside a running event loop."""

    def __init__(
        self,
        settings: GatewaySettings,
        plans: Plans,
        usage: UsageLog,
        folder: Path,
        *,
        now: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        """Raises :class:`StartError` for a Redis URL that is none."""
        self._redis: RedisCounters | None = None
        self._keeper: CounterKeeper | None = None
        counters: Counters
        if settings.counters == "redis":
            counters = self._redis = _redis_counters(settings)
        else:
            counters = memory = MemoryCounters(now=now, monotonic=monotonic)
        self.policy = PlanLimitsPolicy(counters, plans, now=now)
        if self._redis is None:
            self._keeper = CounterKeeper(
                memory,
                usage,
                folder / "counters.json",
                folder / "usage",
                self.policy.limits_of,
            )
        self.store = counters.kind
        """What gateways that share limits must agree on; holds no credentials."""

    @property
    def release(self) -> Callable[[str], Awaitable[None]] | None:
        """To be awaited before a segment of the usage log is deleted."""
        return None if self._keeper is None else self._keeper.release

    async def open(self) -> None:
        """Return when calls may be admitted: what was counted before this start is known, or Redis
        has answered or kept us waiting. Start :meth:`work` first, the configuration before that."""
        if self._keeper is not None:
            self._keeper.restore()
            await self._keeper.save()
        if self._redis is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FIRST_ANSWER_S):
                    await self._redis.ready.wait()

    def work(self) -> list[Coroutine[object, object, None]]:
        """What has to run for as long as calls are admitted."""
        found = [part.run() for part in (self._keeper, self._redis) if part is not None]
        return list(found)

    async def close(self) -> None:
        """Keep what was counted. Call it when nothing is admitted any more and the log is
        closed."""
        if self._keeper is not None:
            with contextlib.suppress(OSError):  # the log has it all
                await self._keeper.save()

    def collect(self) -> Iterator[Metric]:
        """Prometheus' view."""
        policy = self.policy
        refused = CounterMetricFamily(
            "tollway_limited_requests", "Requests that a plan's limit refused.", labels=["limit"]
        )
        for limit, count in policy.refusals.items():
            refused.add_metric([limit], count)
        uncounted = CounterMetricFamily(
            "tollway_uncounted_requests",
            "Requests while the counters did not answer, by the plan's fail mode.",
            labels=["mode"],
        )
        for mode, count in policy.uncounted.items():
            uncounted.add_metric([mode], count)
        yield from (refused, uncounted)
        if self._redis is not None:
            yield GaugeMetricFamily(
                "tollway_counters_up",
                "Whether the counters in Redis answer.",
                value=float(self._redis.ready.is_set()),
            )
            yield CounterMetricFamily(
                "tollway_counter_checks",
                "Requests whose limits Redis was asked for.",
                value=self._redis.takes,
            )
            yield CounterMetricFamily(
                "tollway_counter_writes",
                "Writes to Redis; each carries what one tick of the event loop had to ask.",
                value=self._redis.round_trips,
            )
            yield CounterMetricFamily(
                "tollway_settlements_lost",
                "Admitted requests whose end was given up: what they used is not counted.",
                value=self._redis.settlements_lost,
            )
            yield GaugeMetricFamily(
                "tollway_settlements_waiting",
                "Admitted requests whose end Redis has not confirmed yet.",
                value=self._redis.settlements_waiting,
            )


def _redis_counters(settings: GatewaySettings) -> RedisCounters:
    url = "" if settings.redis_url is None else settings.redis_url.get_secret_value()
    if settings.redis_url_file is not None:
        try:
            url = settings.redis_url_file.read_text().strip()
        except OSError as error:
            raise StartError(
                f"setting TOLLWAY_REDIS_URL_FILE: {settings.redis_url_file}: {error.strerror}"
            ) from None
    if not url:
        raise StartError(
            "setting TOLLWAY_COUNTERS is 'redis', and no URL of Redis is given: set "
            "TOLLWAY_REDIS_URL_FILE, the file that holds it, or TOLLWAY_REDIS_URL"
            if settings.redis_url_file is None
            else f"setting TOLLWAY_REDIS_URL_FILE: {settings.redis_url_file} is empty"
        )
    try:
        address = parse_address(url)
    except (ValueError, OSError) as error:
        raise StartError(
            f"the URL of Redis (TOLLWAY_REDIS_URL or TOLLWAY_REDIS_URL_FILE) {error}"
        ) from None
    return RedisCounters(address, timeout_s=settings.redis_timeout_ms / 1000)
