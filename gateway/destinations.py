"""Where a version's requests go: its engines, or its remote server."""

from gateway.connection import Exchange, VersionKey
from gateway.remotes import Remotes
from gateway.statistics import Statistics, ask_engines
from gateway.upstream import Upstream


class Destinations:
    """The one thing that predictions are sent to, whatever answers for their version."""

    def __init__(self, engines: Upstream, remotes: Remotes) -> None:
        self._engines = engines
        self._remotes = remotes

    def send(self, key: VersionKey, exchange: Exchange) -> None:
        """Send to whoever answers for the version. Raises ``NOT_READY``, ``QUEUE_FULL`` or
        ``DEADLINE_UNREACHABLE``; all else reaches ``exchange.done``."""
        remote = self._remotes.get(key)
        if remote is None:
            self._engines.send(key, exchange)
        else:
            remote.send(exchange)

    def is_ready(self, key: VersionKey) -> bool:
        """Whether a request for this version would be taken now."""
        remote = self._remotes.get(key)
        return self._engines.is_ready(key) if remote is None else remote.state == "ready"

    def has_failed(self, key: VersionKey) -> bool:
        """Whether the version's remote server cannot answer: it is not waited for."""
        remote = self._remotes.get(key)
        return remote is not None and remote.state == "failed"

    def in_flight(self) -> int:
        """Requests that wait for an answer."""
        return self._engines.in_flight() + self._remotes.in_flight()

    async def statistics(self, key: VersionKey) -> Statistics:
        """The counts of every engine of a version, or this gateway's of its remote server; none
        while that cannot answer. Raises ``UNAVAILABLE`` when an engine does not say."""
        remote = self._remotes.get(key)
        if remote is None:
            return await ask_engines(self._engines, key)
        return Statistics([remote.stats()] if remote.state == "ready" else [], [])
