"""Why a token is refused."""

from enum import StrEnum

from protocol.errors import Code, TollwayError


class Reason(StrEnum):
    """What is counted, by its kind: the label of a metric. Never anything out of a token."""

    MALFORMED = "malformed"
    """It is not three segments of base64url with JSON objects in the first two."""
    HEADER = "header"
    """A header member that is not taken, such as ``crit`` or ``jwk``."""
    ISSUER = "issuer"
    """No such issuer is configured."""
    ALGORITHM = "algorithm"
    """The algorithm is not one of the issuer's."""
    CLAIMS = "claims"
    """A claim that must be there is missing, or is not of its type."""
    AUDIENCE = "audience"
    """It is meant for others."""
    EXPIRED = "expired"
    NOT_YET = "not_yet"
    """``nbf`` or ``iat`` is in the future."""
    LIFETIME = "lifetime"
    """It is valid for longer than the issuer's tokens may be."""
    KEY = "key"
    """The issuer has no key, or no single one, that fits."""
    KEYS_AWAY = "keys_away"
    """The issuer's keys cannot be had at present."""
    SIGNATURE = "signature"


class TokenError(TollwayError):
    """A token that proves nothing. The message never repeats what stands in it."""

    def __init__(self, reason: Reason, public: str) -> None:
        super().__init__(Code.UNAUTHENTICATED, public)
        self.reason = reason


class UnknownKeyError(TokenError):
    """Refused for want of a key. Fetching the issuer's keys again may help."""

    def __init__(self, issuer: str, reason: Reason, public: str) -> None:
        super().__init__(reason, public)
        self.issuer = issuer
        """Name of the issuer whose key is missing."""
