"""The secret behind the tokens of the portal's forms."""

import hashlib
import hmac


def portal_key(pepper: bytes) -> bytes:
    """Derived from the installation's pepper: the same on every control of it."""
    return hmac.new(pepper, b"tollway portal forms", hashlib.sha256).digest()
