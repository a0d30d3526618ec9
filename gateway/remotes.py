"""Every remote version that the configuration has."""

import asyncio
import contextlib
import ssl
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Final, Self

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway.connection import VersionKey
from gateway.remote import RemoteLimits, RemoteVersion
from gateway.remote_bodies import RemoteBodies
from gateway.settings import GatewaySettings
from protocol.configuration import FINAL_STATES, VersionDoc
from protocol.errors import TollwayError
from protocol.gateways import RemoteReport
from protocol.manifest import Remote
from runtime.remote_credentials import ReadSecret, RemoteCredentials
from runtime.remote_server import RemoteServer, tls_context
from runtime.targets import Targets, networks

DRAIN_S: Final = 8.0
"""Time that requests under way get when their version is unloaded."""


class Remotes(Collector):
    """Keeps a :class:`RemoteVersion` per loaded remote version; a collector of their metrics."""

    def __init__(
        self,
        targets: Targets,
        secret: ReadSecret,
        limits: RemoteLimits,
        ca_file: Path | None = None,
    ) -> None:
        """``ca_file`` (PEM) replaces the public CAs."""
        self._targets = targets
        self._secret = secret
        self._limits = limits
        self._ca_file = ca_file
        self._verify: ssl.SSLContext | None = None
        self._versions: dict[VersionKey, tuple[str, RemoteVersion]] = {}
        """Key -> manifest digest and the version."""
        self._checks: dict[VersionKey, asyncio.Task[None]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self.changed = asyncio.Event()
        """Set when a version's state changes; whoever reports clears it."""

    @classmethod
    def configured(cls, settings: GatewaySettings) -> Self:
        """As the settings say."""
        return cls(
            Targets(networks(settings.remote_allowed_networks), "TOLLWAY_REMOTE_ALLOWED_NETWORKS"),
            RemoteCredentials(settings.remote_credentials_path).secret,
            RemoteLimits(
                connections=settings.remote_connections,
                in_flight=settings.max_in_flight_per_engine,
                response_bytes=settings.remote_max_response_bytes,
                check_interval_s=settings.remote_check_interval_s,
            ),
            settings.remote_ca_file,
        )

    def get(self, key: VersionKey) -> RemoteVersion | None:
        """The remote version; None for one that engines answer for."""
        found = self._versions.get(key)
        return None if found is None else found[1]

    def reconcile(self, versions: Iterable[VersionDoc]) -> None:
        """Begin with the versions that are new, let go of those that are gone."""
        wanted = {
            (doc.model, doc.number): (doc, remote)
            for doc in versions
            if isinstance(remote := doc.manifest.remote, Remote)
            and doc.loaded
            and doc.state not in FINAL_STATES
        }
        for key, (digest, _) in list(self._versions.items()):
            if key not in wanted or wanted[key][0].digest != digest:
                self._end(key)
        for key, (doc, remote) in wanted.items():
            if key not in self._versions:
                self._begin(key, doc, remote)

    def reports(self) -> tuple[RemoteReport, ...]:
        """What control is told."""
        return tuple(version.report() for _, version in self._versions.values())

    def in_flight(self) -> int:
        """Requests that wait for remote servers."""
        return sum(version.in_flight for _, version in self._versions.values())

    async def close(self) -> None:
        """End every version; what is under way is answered 503."""
        for key in list(self._versions):
            self._end(key, drain_s=0.0)
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _begin(self, key: VersionKey, doc: VersionDoc, remote: Remote) -> None:
        # Made when first needed, and shared: it holds a megabyte of certificates.
        self._verify = self._verify or tls_context(self._ca_file)
        server = RemoteServer(
            remote,
            self._targets,
            verify=self._verify,
            # One more than predictions may use: health checks never wait for them.
            max_connections=self._limits.connections + 1,
        )
        version = RemoteVersion(
            doc.model,
            doc.number,
            server,
            RemoteBodies(doc.manifest, doc.number, binary=remote.binary),
            self._limits,
            timeout_s=remote.timeout_ms / 1000,
            read_secret=partial(self._give_secret, server, doc.model, remote),
            changed=self.changed.set,
            digest=doc.digest,
        )
        self._versions[key] = (doc.digest, version)
        self._checks[key] = asyncio.create_task(version.run())
        self.changed.set()

    def _give_secret(self, server: RemoteServer, model: str, remote: Remote) -> None:
        try:
            server.secret = self._secret(model, remote)
        except TollwayError:
            server.secret = None  # the old one was withdrawn
            raise

    def _end(self, key: VersionKey, drain_s: float = DRAIN_S) -> None:
        _, version = self._versions.pop(key)
        closing = asyncio.create_task(_ended(self._checks.pop(key), version, drain_s))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        self.changed.set()

    def collect(self) -> Iterator[Metric]:
        """The values of now."""
        labels = ["model", "version"]
        ready = GaugeMetricFamily(
            "tollway_remote_ready", "Whether a remote version can answer.", labels=labels
        )
        faults = CounterMetricFamily(
            "tollway_remote_faults", "Requests without a usable answer.", labels=labels
        )
        retries = CounterMetricFamily(
            "tollway_remote_retries", "Requests sent a second time.", labels=labels
        )
        for (model, number), (_, version) in self._versions.items():
            names = [model, str(number)]
            ready.add_metric(names, float(version.state == "ready"))
            faults.add_metric(names, version.faults)
            retries.add_metric(names, version.retries)
        yield from (ready, faults, retries)


async def _ended(check: asyncio.Task[None], version: RemoteVersion, drain_s: float) -> None:
    check.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await check
    await version.close(drain_s)
