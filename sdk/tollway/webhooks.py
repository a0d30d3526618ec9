"""For receivers of webhooks: is a delivery genuine, and what does it say?

    event = tollway.webhooks.verify(request.headers, request.body, secret)
    if event.type == "quota.threshold_reached":
        ...

Signatures are as the Standard Webhooks specification 1.0 has them, so its libraries for other
languages verify Tollway's deliveries as well. A delivery may come twice, and in any order: remember
``event.id`` and do nothing the second time.
"""

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from tollway.errors import TollwayError

PREFIX = "whsec_"
TOLERANCE_S = 300
_LEAST_KEY_BYTES = 16
_MOST_SIGNATURES = 20


class WebhookVerificationError(TollwayError):
    """The delivery is not genuine, too old, or no delivery at all: answer 400 and do nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A delivery that was verified."""

    id: str
    """The same whenever this event is delivered: what was done for it is not to be done again."""
    type: str
    """``key.created``, ``quota.threshold_reached`` ..."""
    timestamp: str
    """When it happened, RFC 3339."""
    data: dict[str, object] = field(default_factory=dict)
    """``kind``, ``key``, and the resource ``before`` and ``after``."""


class _Payload(msgspec.Struct):
    type: str
    timestamp: str
    data: dict[str, object]


def verify(
    headers: Mapping[str, str],
    body: bytes,
    secret: str | Sequence[str],
    tolerance_s: float = TOLERANCE_S,
    *,
    now: Callable[[], float] = time.time,
) -> Event:
    """The event of a delivery, once its signature and its time have been checked.

    ``body`` are the bytes as they came, not parsed and written again. ``secret`` is the endpoint's
    ``whsec_...``, or several of which one has to fit. ``tolerance_s`` is how far the delivery's
    time may be from ours: what is older is a replay by somebody else. Raises
    :class:`WebhookVerificationError`, and ``ValueError`` for a secret that is none.
    """
    keys = [_key(one) for one in ([secret] if isinstance(secret, str) else secret)]
    sent = {name.lower(): value for name, value in headers.items()}
    id = _header(sent, "webhook-id")
    timestamp = _header(sent, "webhook-timestamp")
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= 12):  # noqa: PLR2004
        raise WebhookVerificationError("webhook-timestamp is not a time in seconds")
    content = f"{id}.{timestamp}.".encode() + body
    expected = [hmac.new(key, content, hashlib.sha256).digest() for key in keys]
    given = _signatures(_header(sent, "webhook-signature"))
    # Every pair is compared, each in constant time: how long it takes tells nothing.
    fits = [hmac.compare_digest(one, other) for one in expected for other in given]
    if not any(fits):
        raise WebhookVerificationError(
            "the signature does not fit: another secret, or a body that was changed on the way"
        )
    if abs(now() - int(timestamp)) > tolerance_s:
        raise WebhookVerificationError(
            f"the delivery's time is more than {tolerance_s:g} s from this machine's"
        )
    try:
        payload = msgspec.json.decode(body, type=_Payload)
    except msgspec.DecodeError:
        raise WebhookVerificationError("the body is not a delivery of Tollway") from None
    return Event(id=id, type=payload.type, timestamp=payload.timestamp, data=payload.data)


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name, "")
    if not value:
        raise WebhookVerificationError(f"the header {name} is missing")
    return value


def _signatures(header: str) -> list[bytes]:
    """The ``v1`` signatures in the header; other versions are for other keys, and ignored."""
    found = []
    for part in header.split(" ")[:_MOST_SIGNATURES]:
        version, _, text = part.partition(",")
        if version == "v1":
            try:
                found.append(base64.b64decode(text, validate=True))
            except (binascii.Error, ValueError):
                continue
    return found


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.strip().removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) < _LEAST_KEY_BYTES:
        raise ValueError(f"a webhook's secret is {PREFIX} and base64; this is not one")
    return key
