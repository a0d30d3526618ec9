"""Who is calling, by a token of a configured issuer."""

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

from policies.base import Call, Identity
from policies.jwt.jwks import JwksCache
from policies.jwt.keys import VerificationKey
from policies.jwt.refusals import Reason, TokenError, UnknownKeyError
from policies.jwt.verifier import TokenVerifier
from protocol.configuration import IssuerDoc
from protocol.errors import Code, TollwayError

CACHED_TOKENS: Final = 10_000
CACHED_BYTES: Final = 32 << 20
"""Of the tokens' text."""
WAITING_CALLS: Final = 1_000
"""Calls that may wait for keys at once; more are refused at once."""


class _Entry(NamedTuple):
    identity: Identity
    issuer: str
    key: VerificationKey


class JwtPolicy:
    """Finds the identity behind a token.

    Verified tokens are remembered until they expire, bounded in number and size. They are forgotten
    when their issuer changes or their key no longer counts.
    """

    def __init__(
        self,
        keys: JwksCache,
        now: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        """``now`` gives UNIX seconds, ``monotonic`` those that calls' deadlines are in."""
        self._keys = keys
        self._verifier = TokenVerifier(keys, now)
        self._now = now
        self._monotonic = monotonic
        self._verified: dict[bytes, _Entry] = {}
        self._bytes = 0
        self._waiting = 0
        self.refusals: dict[Reason, int] = dict.fromkeys(Reason, 0)
        """Tokens refused, by reason."""
        keys.lost_keys = self._lost_keys

    def recall(self, call: Call) -> bool:
        """Set ``call.identity`` if its token was verified before and still holds."""
        entry = self._verified.get(call.credential or b"")
        if entry is None or entry.identity.expires_at <= self._now():
            return False
        call.identity = entry.identity
        return True

    def check(self, call: Call) -> asyncio.Future[None] | None:
        """Set ``call.identity``, or raise ``UNAUTHENTICATED`` (``FORBIDDEN`` for a good token that
        names no application). A future only where the issuer's keys have to be fetched."""
        if self.recall(call):
            return None
        token = call.credential
        assert token is not None
        try:
            call.identity = self._identify(token)
        except UnknownKeyError as unknown:
            fetch = None if self._waiting >= WAITING_CALLS else self._keys.wanted(unknown.issuer)
            if fetch is None:
                self.refusals[unknown.reason] += 1
                raise
            return self._after(fetch, call, token)
        except TokenError as refusal:
            self.refusals[refusal.reason] += 1
            raise
        return None

    @property
    def remembered(self) -> int:
        """How many verified tokens are remembered."""
        return len(self._verified)

    def put(self, document: IssuerDoc) -> None:
        """Learn of an issuer, or of a change to it."""
        self._forget(document.name)
        self._verifier.put(document)

    def remove(self, name: str) -> None:
        """Forget the issuer of this name."""
        self._verifier.remove(name)
        self._forget(name)

    def clear(self) -> None:
        """Forget every issuer."""
        self._verifier.clear()
        self._verified.clear()
        self._bytes = 0

    def _identify(self, token: bytes) -> Identity:
        """Verify the token with the keys that are here, and remember it."""
        self._drop(token)
        verified = self._verifier.verify(token)
        if verified.application is None:
            raise TollwayError(
                Code.FORBIDDEN,
                "the token names no application: its issuer's document here says which claim does",
            )
        identity = Identity(
            key=f"jwt-{verified.issuer}",
            application=verified.application,
            expires_at=verified.expires_at,
            scopes=verified.scopes,
        )
        while self._verified and (
            len(self._verified) >= CACHED_TOKENS or self._bytes + len(token) > CACHED_BYTES
        ):
            self._drop(next(iter(self._verified)))  # the oldest
        self._verified[token] = _Entry(identity, verified.issuer, verified.key)
        self._bytes += len(token)
        return identity

    def _after(self, fetch: asyncio.Future[None], call: Call, token: bytes) -> asyncio.Future[None]:
        """Decide once the fetch has ended, or say that the call's time is over."""
        loop = asyncio.get_running_loop()
        decided: asyncio.Future[None] = loop.create_future()
        self._waiting += 1

        def fetched(_fetch: asyncio.Future[None]) -> None:
            self._waiting -= 1
            if decided.done():
                return
            try:
                call.identity = self._identify(token)
            except TollwayError as refusal:
                if isinstance(refusal, TokenError):
                    self.refusals[refusal.reason] += 1
                decided.set_exception(refusal)
            else:
                decided.set_result(None)

        def late() -> None:
            if not decided.done():
                decided.set_exception(
                    TollwayError(
                        Code.DEADLINE_EXCEEDED,
                        "the deadline passed before the keys of the token's issuer were there",
                    )
                )

        if call.deadline:
            timer = loop.call_later(max(0.0, call.deadline - self._monotonic()), late)
            decided.add_done_callback(lambda _: timer.cancel())
        fetch.add_done_callback(fetched)
        return decided

    def _lost_keys(self, issuer: str) -> None:
        held = self._keys.keys(issuer)
        for token, entry in list(self._verified.items()):
            if entry.issuer == issuer and entry.key not in held:
                self._drop(token)

    def _forget(self, issuer: str) -> None:
        for token in [t for t, entry in self._verified.items() if entry.issuer == issuer]:
            self._drop(token)

    def _drop(self, token: bytes) -> None:
        if self._verified.pop(token, None) is not None:
            self._bytes -= len(token)
