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
_ROUGHLY = re.compile(
    r"(tw_(?:live|test|admin|user)_[0-9A-Za-z]{0,4})[0-9A-Za-z]+|(eyJ)[\w-]{8,}(?:\.[\w-]*)*"
)
"""What may be a secret or the beginning of one, of which so much may be shown."""
_IN_BYTES = re.compile(rb"tw_(?:live|test|admin|user)_[0-9A-Za-z]{28}")
_TOKEN_IN_BYTES = re.compile(rb"eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}")
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


def redacted(text: str) -> str:
    """``text`` without secrets: of what has the shape of a credential of this system, or of a JSON
    Web Token, or is the beginning of one, only so much is left as tells what it was."""
    if "tw_" not in text and "eyJ" not in text:
        return text
    return _ROUGHLY.sub(lambda found: f"{found[1] or found[2]}...", text)


def holds_credential(data: bytes) -> bool:
    """Whether a credential of this system, checksum and all, stands anywhere in ``data``."""
    return b"tw_" in data and any(well_formed(found) for found in _IN_BYTES.findall(data))


def holds_token(data: bytes) -> bool:
    """Whether what looks like a signed JSON Web Token stands anywhere in ``data``."""
    return b"eyJ" in data and _TOKEN_IN_BYTES.search(data) is not None


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
