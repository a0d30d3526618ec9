"""Verifies tokens of the configured issuers."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from policies.jwt import claims as judge
from policies.jwt.compact import JsonObject, parse
from policies.jwt.jwks import JwksCache
from policies.jwt.keys import VerificationKey
from policies.jwt.refusals import Reason, TokenError, UnknownKeyError
from policies.jwt.signature import signed_by
from protocol.configuration import IssuerDoc, Scope

MAX_SUBJECT = 255


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """What a token proves."""

    issuer: str
    """Name of the issuer here."""
    subject: str
    """``sub``: who it is about, unique at its issuer; empty when it does not say."""
    application: str | None
    """The application that calls; None when it names none. Need not exist."""
    scopes: frozenset[Scope] | None
    """What it may be used for; None: the issuer's tokens are not judged by it."""
    role: str | None
    """Management role of its holder; None: they manage nothing."""
    expires_at: float
    """UNIX seconds from when on it is no longer taken, the leeway included."""
    claims: JsonObject
    """All that stands in it."""
    key: VerificationKey
    """By which it is signed."""


class TokenVerifier:
    """Says what tokens prove. Lives on one event loop; needs no lock there."""

    def __init__(self, keys: JwksCache, now: Callable[[], float]) -> None:
        """``now`` gives UNIX seconds."""
        self._keys = keys
        self._now = now
        self._issuers: dict[str, IssuerDoc] = {}
        self._by_iss: dict[str, IssuerDoc] = {}

    def verify(self, token: bytes) -> VerifiedToken:
        """What the token proves, with the keys that are here: never waits.

        Raises :class:`TokenError`, as :class:`UnknownKeyError` where fetching keys may help. Claims
        are judged before the key is looked for: what is of no use anyway causes no fetch.
        """
        parsed = parse(token)
        issuer = self._issuer(parsed.claims)
        if parsed.algorithm not in issuer.algorithms:
            raise TokenError(
                Reason.ALGORITHM, "the token's algorithm is not one that its issuer may use here"
            )
        judge.check_audience(parsed.claims, issuer)
        expires_at = judge.check_times(parsed.claims, issuer, self._now())
        key = self._keys.find(issuer.name, parsed.kid, parsed.algorithm)
        if key is None:
            raise self._without_key(issuer.name)
        if not signed_by(parsed, key):
            text = "the token's signature does not hold"
            if parsed.kid is None:  # it may be by a key that has taken the place of this one
                raise UnknownKeyError(issuer.name, Reason.SIGNATURE, text)
            raise TokenError(Reason.SIGNATURE, text)
        subject = parsed.claims.get("sub", "")
        if not isinstance(subject, str) or len(subject) > MAX_SUBJECT:
            raise TokenError(Reason.CLAIMS, "the token's subject ('sub') is not a short text")
        return VerifiedToken(
            issuer=issuer.name,
            subject=subject,
            application=judge.application(parsed.claims, issuer),
            scopes=judge.scopes(parsed.claims, issuer),
            role=judge.role(parsed.claims, issuer),
            expires_at=expires_at,
            claims=parsed.claims,
            key=key,
        )

    async def verified(self, token: bytes) -> VerifiedToken:
        """As :meth:`verify`, waiting for one fetch of the issuer's keys where that may help."""
        try:
            return self.verify(token)
        except UnknownKeyError as unknown:
            fetch = self._keys.wanted(unknown.issuer)
            if fetch is None:
                raise
        await asyncio.wait([fetch])  # shared with others: awaiting it could cancel it for them
        return self.verify(token)

    def put(self, document: IssuerDoc) -> None:
        """Learn of an issuer, or of a change to it."""
        self._drop(document.name)
        self._issuers[document.name] = document
        self._by_iss[document.issuer] = document
        self._keys.put(document.name, document.jwks_uri)

    def remove(self, name: str) -> None:
        """Forget the issuer of this name, and its keys."""
        self._drop(name)
        self._keys.remove(name)

    def clear(self) -> None:
        """Forget every issuer; the keys of those that are put again soon are kept."""
        self._issuers.clear()
        self._by_iss.clear()
        self._keys.disown()

    def replace(self, documents: Iterable[IssuerDoc]) -> None:
        """Know these issuers and no others. What has not changed keeps its keys."""
        wanted = {document.name: document for document in documents}
        for name in self._issuers.keys() - wanted.keys():
            self.remove(name)
        for name, document in wanted.items():
            if self._issuers.get(name) != document:
                self.put(document)

    def _drop(self, name: str) -> None:
        known = self._issuers.pop(name, None)
        if known is not None and self._by_iss.get(known.issuer) is known:
            del self._by_iss[known.issuer]

    def _issuer(self, claims: JsonObject) -> IssuerDoc:
        iss = claims.get("iss")
        if not isinstance(iss, str):
            raise TokenError(Reason.CLAIMS, "the token names no issuer ('iss')")
        issuer = self._by_iss.get(iss)
        if issuer is None:
            raise TokenError(Reason.ISSUER, "the token's issuer ('iss') is not known here")
        return issuer

    def _without_key(self, issuer: str) -> UnknownKeyError:
        if self._keys.keys(issuer) and not self._keys.away(issuer):
            text = "the token is signed with a key that its issuer does not show, or not just one"
            return UnknownKeyError(issuer, Reason.KEY, text)
        return UnknownKeyError(
            issuer,
            Reason.KEYS_AWAY,
            f"the keys of the issuer '{issuer}' cannot be fetched at present: try again soon",
        )
