"""Who is calling: API keys and management tokens, by their HMAC."""

from collections.abc import Callable
from functools import lru_cache
from sys import intern
from typing import TypeVar

from policies.addresses import Networks
from policies.base import NEVER, Call, Identity
from protocol.configuration import KeyDoc
from protocol.errors import Code, TollwayError
from protocol.keys import secret_hash, well_formed
from runtime.logs import logger

Name = TypeVar("Name", bound=str)
SHARED = 1 << 14
"""Restrictions that many keys have are held once."""


class ApiKeyPolicy:
    """Finds the identity behind a credential.

    A verified credential is remembered, without bound by count: there is one of each key. A change
    of a key drops its own alone, so that a revoked key stops working when its change arrives, and
    the others go on without being verified again.
    """

    def __init__(self, pepper: bytes, now: Callable[[], float]) -> None:
        """``now`` gives UNIX seconds."""
        self._pepper = pepper
        self._now = now
        self._by_hash: dict[str, Identity] = {}
        self._hashes: dict[str, str] = {}
        self._verified: dict[bytes, Identity] = {}
        self._credentials: dict[str, bytes] = {}
        """Hash -> the verified credential that has it."""

    def check(self, call: Call) -> None:
        """Set ``call.identity``, or raise ``UNAUTHENTICATED``."""
        credential = call.credential
        if credential is None:
            raise TollwayError(
                Code.UNAUTHENTICATED,
                "no API key: send it as 'X-API-Key: KEY' or 'Authorization: Bearer KEY'",
            )
        identity = self._verified.get(credential) or self._verify(credential)
        expires_at = identity.expires_at
        if expires_at != NEVER and expires_at <= self._now():
            raise TollwayError(Code.UNAUTHENTICATED, "the API key has expired: use a new one")
        call.identity = identity

    def _verify(self, credential: bytes) -> Identity:
        if not well_formed(credential):
            raise TollwayError(
                Code.UNAUTHENTICATED, "the API key is mistyped or cut off: copy it again, whole"
            )
        hashed = secret_hash(credential, self._pepper)
        identity = self._by_hash.get(hashed)
        if identity is None:
            raise TollwayError(Code.UNAUTHENTICATED, "the API key is unknown or was revoked")
        self._verified[credential] = identity
        self._credentials[hashed] = credential
        return identity

    def put(self, document: KeyDoc) -> None:
        """Learn of a key, or of a change to it."""
        if document.id in self._hashes:
            self.remove(document.id)
        self._hashes[document.id] = document.hash
        self._by_hash[document.hash] = Identity(
            key=document.lineage or document.id,
            application=intern(document.application or ""),
            role=document.role,
            models=None if document.models is None else _set(document.models),
            expires_at=NEVER if document.expires_at is None else document.expires_at,
            scopes=None if document.scopes is None else _set(document.scopes),
            environment=document.environment if document.role is None else None,
            networks=_networks(document),
        )

    def remove(self, key: str) -> None:
        """Forget the key with this id."""
        known = self._hashes.pop(key, None)
        if known is None:
            return
        del self._by_hash[known]
        credential = self._credentials.pop(known, None)
        if credential is not None:
            del self._verified[credential]

    def clear(self) -> None:
        """Forget every key."""
        self._by_hash.clear()
        self._hashes.clear()
        self._verified.clear()
        self._credentials.clear()


@lru_cache(SHARED)
def _set(names: tuple[Name, ...]) -> frozenset[Name]:
    return frozenset(names)


@lru_cache(SHARED)
def _parsed(networks: tuple[str, ...]) -> Networks:
    return Networks.parse(networks)


def _networks(document: KeyDoc) -> Networks | None:
    if not document.networks:
        return None
    try:
        return _parsed(document.networks)
    except ValueError as error:
        # A restriction that cannot be understood must not become none.
        logger("policies").error(
            "a key's network cannot be read: the key works from nowhere",
            key=document.id,
            reason=str(error),
        )
        return Networks()
