"""Signatures of deliveries, as the Standard Webhooks specification 1.0 has them.

No secret is stored: each is derived from the server's own by the endpoint's id and a generation
number, so that a copy of the database signs nothing.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

PREFIX: Final = "whsec_"
VERSION: Final = "v1"
"""HMAC-SHA256; the only kind of signature sent."""


class Signer:
    """Derives endpoints' secrets and signs with them."""

    def __init__(self, server_secret: bytes) -> None:
        self._server_secret = server_secret

    def secret(self, endpoint: str, generation: int) -> str:
        """The endpoint's secret as its owner sees it, once: ``whsec_`` and base64 of 32 bytes."""
        return PREFIX + base64.b64encode(self._key(endpoint, generation)).decode()

    def signatures(
        self, endpoint: str, generations: Sequence[int], id: str, timestamp: int, body: bytes
    ) -> str:
        """The ``webhook-signature`` header: a signature of each generation, separated by spaces."""
        content = f"{id}.{timestamp}.".encode() + body
        return " ".join(
            f"{VERSION}," + base64.b64encode(_hmac(self._key(endpoint, one), content)).decode()
            for one in generations
        )

    def _key(self, endpoint: str, generation: int) -> bytes:
        return _hmac(self._server_secret, f"webhook\0{endpoint}\0{generation}".encode())


def _hmac(key: bytes, content: bytes) -> bytes:
    return hmac.new(key, content, hashlib.sha256).digest()
