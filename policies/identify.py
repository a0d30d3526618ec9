"""Who is calling: chooses how to find out by the look of the credential."""

import asyncio
from typing import Final

from policies.api_key import ApiKeyPolicy
from policies.base import Call
from policies.jwt.policy import JwtPolicy

_KEY_PREFIX: Final = b"tw_"
_TOKEN_SEPARATORS: Final = 2
_TOKEN_PREFIX: Final = b"eyJ"
"""``{"`` in base64url: how the header of nearly every token begins."""


class IdentifyPolicy:
    """Credentials of this system begin with ``tw_``; a token of an issuer has two dots,
    and begins like one where it was cut."""

    def __init__(self, api_keys: ApiKeyPolicy, tokens: JwtPolicy) -> None:
        self._api_keys = api_keys
        self._tokens = tokens

    def check(self, call: Call) -> asyncio.Future[None] | None:
        """Set ``call.identity``, or raise ``UNAUTHENTICATED``."""
        credential = call.credential
        if credential is None or credential[: len(_KEY_PREFIX)] == _KEY_PREFIX:
            self._api_keys.check(call)
            return None
        # Most tokens come again and again: one look-up then, and they are not read at all.
        if self._tokens.recall(call):
            return None
        if (
            credential.count(b".") == _TOKEN_SEPARATORS
            or credential[: len(_TOKEN_PREFIX)] == _TOKEN_PREFIX
        ):
            # A token with a part too many or too few is told so, not that it is no key.
            return self._tokens.check(call)
        self._api_keys.check(call)
        return None
