"""The issuers' key sets: fetched, kept, and fetched again at a bounded rate.

A set is fetched when its issuer becomes known and again every ``refresh_s``. A token with a key
that is not in it makes for one more fetch, at most one each ``refetch_s``, however many such tokens
come; whoever needs it waits for the same one. While the endpoint fails, the keys known last go on
working for ``keep_s``, and it is asked again by itself, ever more seldom: at least each
``refetch_s`` while no key of it is here, so that tokens are taken within seconds of its return. A
key that the issuer has withdrawn works on for ``withdrawn_s``, because an issuer of several servers
may show the old and the new set in turn.

Everything here happens on one event loop.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from math import inf

from policies.jwt.fetch import JwksError
from policies.jwt.kept import KeptKeySets
from policies.jwt.keys import KeySet, VerificationKey, parse_key_set
from runtime.logs import logger

TICK_S = 1.0
FETCHES_AT_ONCE = 8
RETRY_MIN_S = 1.0
"""After the first failure in a row; doubled by each that follows."""
RETRY_MAX_S = 60.0
MAX_DOUBLINGS = 10

Fetch = Callable[[str], Awaitable[bytes]]
"""Gives the body at a URI; raises :class:`JwksError`. Has a deadline and a bound of its own."""
Changed = Callable[[str], None]
"""Gets the name of an issuer that has lost keys."""


@dataclass(frozen=True, slots=True)
class JwksTimes:
    """How long key sets are kept, and how often they are fetched. Seconds."""

    refresh_s: float = 300.0
    refetch_s: float = 5.0
    keep_s: float = 43_200.0
    withdrawn_s: float = 60.0


@dataclass(slots=True)
class _Held:
    """What is known of one issuer's keys. Times are monotonic."""

    uri: str
    keys: tuple[VerificationKey, ...] = ()
    withdrawn: dict[VerificationKey, float] = field(default_factory=dict)
    """Keys that the set no longer has -> until when they still work."""
    loaded_at: float | None = None
    due_at: float = -inf
    """When the next fetch is due of itself."""
    refetch_at: float = -inf
    """From when on an unknown key may make for a fetch."""
    failures: int = 0
    """In a row."""
    fetch: asyncio.Task[None] | None = None
    claimed: bool = True
    """False while nobody speaks for it: see :meth:`JwksCache.disown`."""


class JwksCache:
    """Key sets by issuer's name."""

    def __init__(
        self,
        fetch: Fetch,
        *,
        monotonic: Callable[[], float],
        times: JwksTimes | None = None,
        kept: KeptKeySets | None = None,
        lost_keys: Changed = lambda _name: None,
    ) -> None:
        """``kept``: where sets survive the process, if they do. ``lost_keys`` is called when keys
        that worked no longer do."""
        self._fetch = fetch
        self._monotonic = monotonic
        self._times = times or JwksTimes()
        self._kept = kept
        self._held: dict[str, _Held] = {}
        self._slots = asyncio.Semaphore(FETCHES_AT_ONCE)
        self._wake = asyncio.Event()
        self.lost_keys = lost_keys
        self.fetches: dict[str, int] = {}
        """Fetches begun, by issuer's name."""
        self.failures: dict[str, int] = {}
        """Fetches that brought no key set, by issuer's name."""

    def put(self, name: str, uri: str) -> None:
        """Know of an issuer. What is held of it stays while its URI does."""
        held = self._held.get(name)
        if held is not None and held.uri == uri:
            held.claimed = True
            return
        self._forget(name)
        self._held[name] = self._recalled(name, uri)
        self.fetches.setdefault(name, 0)
        self.failures.setdefault(name, 0)
        self._wake.set()

    def remove(self, name: str) -> None:
        """Forget an issuer, its keys and its counts."""
        self._forget(name)
        if self._kept is not None:
            try:
                self._kept.remove(name)
            except OSError as error:
                _warn_of_disk(name, error)
        self.fetches.pop(name, None)
        self.failures.pop(name, None)

    def disown(self) -> None:
        """Forget the issuers that are not :meth:`put` again before the next tick. Whoever reads the
        configuration anew does not lose the keys that it still speaks of."""
        for held in self._held.values():
            held.claimed = False

    def find(self, name: str, kid: str | None, algorithm: str) -> VerificationKey | None:
        """The key of this id that may verify ``algorithm``; without an id, the only one that may.
        None when there is none, or when it is not clear which."""
        held = self._usable(name)
        if held is None:
            return None
        fitting = [k for k in held.keys if algorithm in k.algorithms and kid in (None, k.kid)]
        if not fitting and kid is not None:
            now = self._monotonic()
            fitting = [
                key
                for key, until in held.withdrawn.items()
                if until > now and key.kid == kid and algorithm in key.algorithms
            ]
        return fitting[0] if len(fitting) == 1 else None

    def keys(self, name: str) -> tuple[VerificationKey, ...]:
        """The issuer's keys that work now."""
        held = self._usable(name)
        if held is None:
            return ()
        now = self._monotonic()
        return held.keys + tuple(key for key, until in held.withdrawn.items() if until > now)

    def away(self, name: str) -> bool:
        """Whether the last fetch of the issuer's keys failed: it may show others than are here."""
        held = self._held.get(name)
        return held is not None and held.failures > 0

    def wanted(self, name: str) -> asyncio.Future[None] | None:
        """A fetch under way for a key that is not here, begun now unless one ran lately.

        None when there is no point in waiting. The future is shared: never cancel it, and ask
        :meth:`find` again once it is done; how it went is not told. Needs a running loop.
        """
        held = self._held.get(name)
        if held is None:
            return None
        now = self._monotonic()
        if held.fetch is None:
            if held.refetch_at > now:
                return None
            if held.loaded_at is not None:
                held.refetch_at = now + self._times.refetch_s
            self._begin(name, held)
        return held.fetch

    def tick(self) -> None:
        """Begin the fetches that are due, and give up keys whose time is over."""
        now = self._monotonic()
        for name in [name for name, held in self._held.items() if not held.claimed]:
            self.remove(name)
        for name, held in self._held.items():
            if held.fetch is None and held.due_at <= now:
                self._begin(name, held)
            over = [key for key, until in held.withdrawn.items() if until <= now]
            for key in over:
                del held.withdrawn[key]
            stale = held.keys and self._usable(name) is None
            if stale:
                logger("jwks").error("the issuer's keys have grown too old to be used", issuer=name)
                held.keys, held.loaded_at = (), None
                held.withdrawn.clear()
            if over or stale:
                self.lost_keys(name)

    async def run(self) -> None:
        """Keep the sets fresh until cancelled."""
        try:
            while True:
                self._wake.clear()
                self.tick()
                try:
                    async with asyncio.timeout(TICK_S):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        finally:
            self.close()

    def close(self) -> None:
        """Give up the fetches under way."""
        for held in self._held.values():
            if held.fetch is not None:
                held.fetch.cancel()

    def _recalled(self, name: str, uri: str) -> _Held:
        """A new issuer, with the keys that an earlier process has kept of it. They are as old as
        they are: a fetch is due all the same."""
        held = _Held(uri)
        found = None if self._kept is None else self._kept.load(name, uri)
        if found is not None and found.age_s <= self._times.keep_s:
            try:
                held.keys = parse_key_set(found.body).keys
            except ValueError as error:
                logger("jwks").warning("a kept key set is damaged", issuer=name, reason=str(error))
            else:
                held.loaded_at = self._monotonic() - found.age_s
        return held

    def _usable(self, name: str) -> _Held | None:
        """What is held of the issuer, unless it is nothing or too old."""
        held = self._held.get(name)
        if held is None or held.loaded_at is None:
            return None
        return held if self._monotonic() - held.loaded_at <= self._times.keep_s else None

    def _forget(self, name: str) -> None:
        held = self._held.pop(name, None)
        if held is None:
            return
        if held.fetch is not None:
            held.fetch.cancel()
        self.lost_keys(name)

    def _begin(self, name: str, held: _Held) -> None:
        self.fetches[name] += 1
        held.fetch = asyncio.get_running_loop().create_task(self._load(name, held))
        held.fetch.add_done_callback(lambda task: _ended(name, task))

    async def _load(self, name: str, held: _Held) -> None:
        try:
            async with self._slots:
                body = await self._fetch(held.uri)
            found = parse_key_set(body)
        except (JwksError, ValueError) as error:
            self._failed(name, held, str(error))
        else:
            self._loaded(name, held, found)
            await self._keep(name, held, body)
        finally:
            held.fetch = None

    async def _keep(self, name: str, held: _Held, body: bytes) -> None:
        if self._kept is None:
            return
        try:
            await asyncio.to_thread(self._kept.save, name, held.uri, body)
        except OSError as error:
            _warn_of_disk(name, error)

    def _loaded(self, name: str, held: _Held, found: KeySet) -> None:
        now = self._monotonic()
        keys = found.keys
        lost = [key for key in held.keys if key not in keys]
        for key in keys:
            held.withdrawn.pop(key, None)
        if self._times.withdrawn_s > 0:
            held.withdrawn.update(dict.fromkeys(lost, now + self._times.withdrawn_s))
        if held.keys != keys:
            logger("jwks").info(
                "the issuer's keys have changed",
                issuer=name,
                keys=len(keys),
                withdrawn=len(lost),
                left_out=found.ignored,
            )
        held.keys = keys
        held.loaded_at = now
        held.due_at = now + self._times.refresh_s
        held.failures = 0
        if lost and self._times.withdrawn_s <= 0:
            self.lost_keys(name)

    def _failed(self, name: str, held: _Held, reason: str) -> None:
        now = self._monotonic()
        self.failures[name] = self.failures.get(name, 0) + 1
        # Without a key none of the issuer's tokens is taken: more is missed than a rotation.
        most = RETRY_MAX_S if self._usable(name) else min(self._times.refetch_s, RETRY_MAX_S)
        delay = min(RETRY_MIN_S * 2 ** min(held.failures, MAX_DOUBLINGS), most)
        held.failures += 1
        held.due_at = now + delay
        held.refetch_at = max(held.refetch_at, now + self._times.refetch_s)
        if held.failures == 1:  # once, not at each retry
            logger("jwks").warning(
                "the issuer's keys cannot be fetched", issuer=name, reason=reason
            )


def _ended(name: str, task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger("jwks").error("fetching keys failed", issuer=name, error=repr(error))


def _warn_of_disk(name: str, error: OSError) -> None:
    logger("jwks").warning("keys cannot be kept on disk", issuer=name, reason=str(error))
