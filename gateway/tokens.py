"""Tokens of issuers at the gateway: the policy, the keys behind it, and what they count."""

import time
from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway.settings import GatewaySettings
from policies.jwt.fetch import JwksClient
from policies.jwt.jwks import JwksCache, JwksTimes
from policies.jwt.kept import KeptKeySets
from policies.jwt.policy import JwtPolicy


class IssuerTokens(Collector):
    """Builds the parts from settings; a collector of their metrics, labelled by issuers that
    exist and by the reasons in :class:`policies.jwt.refusals.Reason`."""

    def __init__(self, settings: GatewaySettings, now: Callable[[], float]) -> None:
        """``now`` gives UNIX seconds."""
        self._client = JwksClient(
            timeout_s=settings.jwks_timeout_ms / 1000,
            allow_http=settings.jwks_allow_http,
            ca_file=settings.jwks_ca_file,
        )
        self.keys = JwksCache(
            self._client.fetch,
            monotonic=time.monotonic,
            times=JwksTimes(
                refresh_s=settings.jwks_refresh_s,
                refetch_s=settings.jwks_refetch_s,
                keep_s=settings.jwks_keep_s,
                withdrawn_s=settings.jwks_withdrawn_s,
            ),
            kept=KeptKeySets(settings.data_dir / "gateway" / "jwks", now),
        )
        self.policy = JwtPolicy(self.keys, now, time.monotonic)

    async def run(self) -> None:
        """Keep the issuers' keys fresh until cancelled."""
        await self.keys.run()

    async def close(self) -> None:
        """Close the connections to the issuers."""
        await self._client.close()

    def collect(self) -> Iterator[Metric]:
        """The values of now."""
        fetches = CounterMetricFamily(
            "tollway_jwks_fetches", "Fetches of an issuer's keys.", labels=["issuer"]
        )
        failures = CounterMetricFamily(
            "tollway_jwks_failures", "Fetches that brought no keys.", labels=["issuer"]
        )
        held = GaugeMetricFamily(
            "tollway_jwks_keys",
            "Keys of an issuer that tokens may be signed by.",
            labels=["issuer"],
        )
        for issuer, count in self.keys.fetches.items():
            fetches.add_metric([issuer], count)
            failures.add_metric([issuer], self.keys.failures[issuer])
            held.add_metric([issuer], len(self.keys.keys(issuer)))
        refused = CounterMetricFamily(
            "tollway_tokens_refused", "Tokens that proved nothing.", labels=["reason"]
        )
        for reason, count in self.policy.refusals.items():
            refused.add_metric([reason.value], count)
        remembered = GaugeMetricFamily(
            "tollway_tokens_remembered",
            "Verified tokens that are not verified again.",
            value=self.policy.remembered,
        )
        yield from (fetches, failures, held, refused, remembered)
