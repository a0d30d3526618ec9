"""Credentials: ``tw_<environment>_<random><checksum>``.

``random`` is 22 base62 digits (131 bits); ``checksum`` is the CRC-32 of what stands before it, as 6
base62 digits, so that a mistyped key is refused without a look-up. Only an HMAC is ever stored.
"""

import hmac
import re
import secrets
import zlib

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM_DIGITS = 22
_CHECKSUM_DIGITS = 6
_SHAPE = re.compile(rb"tw_(live|test|admin|user)_[0-9A-Za-z]{28}")
PREFIX_DIGITS = 12
"""Leading characters of a secret that may be shown to tell keys apart (``tw_live_`` and 4 more)."""


def generate(environment: str) -> str:
    """A new secret for ``environment`` (``live``, ``test``; ``admin`` and ``user`` for tokens)."""
    random = "".join(secrets.choice(_BASE62) for _ in range(_RANDOM_DIGITS))
    body = f"tw_{environment}_{random}"
    return body + _checksum(body.encode())


def well_formed(secret: bytes) -> bool:
    """Whether ``secret`` has the shape and checksum of a credential; not whether it is valid."""
    if _SHAPE.fullmatch(secret) is None:
        return False
    body, checksum = secret[:-_CHECKSUM_DIGITS], secret[-_CHECKSUM_DIGITS:]
    return _checksum(body).encode() == checksum


def secret_hash(secret: bytes, pepper: bytes) -> str:
    """HMAC-SHA-256 of ``secret`` under ``pepper``, hex: what is stored and looked up."""
    return hmac.digest(pepper, secret, "sha256").hex()


def _checksum(body: bytes) -> str:
    number = zlib.crc32(body)
    digits = ""
    for _ in range(_CHECKSUM_DIGITS):
        number, digit = divmod(number, 62)
        digits = _BASE62[digit] + digits
    return digits
