"""Takes the compact form of a token apart (RFC 7515, section 7.1), strictly.

Lenient readers disagree with one another about what a token says; what two readers could
understand differently is refused here, before any key is looked for.
"""

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import NoReturn

import msgspec

from policies.jwt.refusals import Reason, TokenError

MAX_TOKEN_BYTES = 8192
MAX_HEADER_BYTES = 2048
"""Of the header's JSON."""
MAX_HEADER_MEMBERS = 16
MAX_KID = 256
SEPARATORS = 2

JsonObject = dict[str, object]

_SEGMENT = re.compile(rb"[A-Za-z0-9_-]+")
_REFUSED_MEMBERS = frozenset(
    {
        # Keys that the token brings itself, or says where to fetch.
        "jwk", "jku", "x5u", "x5c",
        # Extensions that must be understood: none is.
        "crit", "b64",
        # Other things than a signed token: encrypted, compressed, nested.
        "enc", "zip", "epk", "apu", "apv", "cty",
    }
)  # fmt: skip
_TYPES = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})
"""``typ`` of tokens that identify a caller. A logout token or a proof of possession does not."""


@dataclass(frozen=True, slots=True)
class CompactToken:
    """A token of the right form. Nothing in it is verified."""

    text: bytes
    algorithm: str
    kid: str | None
    claims: JsonObject
    payload: bytes
    signature: bytes


def parse(token: bytes) -> CompactToken:
    """Take ``token`` apart. Raises :class:`TokenError` for whatever is not plainly right."""
    if len(token) > MAX_TOKEN_BYTES:
        raise _malformed(f"is longer than {MAX_TOKEN_BYTES} bytes")
    if token.count(b".") != SEPARATORS:
        raise _malformed("does not have three parts with a dot between them; copy it again, whole")
    header_text, payload_text, signature_text = token.split(b".")
    header = _json(_decoded(header_text, "header"), "header", MAX_HEADER_BYTES)
    payload = _decoded(payload_text, "payload")
    algorithm, kid = _header(header)
    return CompactToken(
        text=token,
        algorithm=algorithm,
        kid=kid,
        claims=_json(payload, "payload", MAX_TOKEN_BYTES),
        payload=payload,
        signature=_decoded(signature_text, "signature"),
    )


def base64url(text: bytes) -> bytes:
    """Decode base64url without padding (RFC 7515, section 2). Raises ``ValueError`` for other
    characters, padding, impossible lengths and bits that stand for nothing: of all the texts that
    lenient decoders take for the same bytes, one is right."""
    if _SEGMENT.fullmatch(text) is None:
        raise ValueError("not base64url")
    try:
        decoded = base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    except binascii.Error as error:
        raise ValueError("not base64url") from error
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != text:
        raise ValueError("not canonical base64url")
    return decoded


def json_object(data: bytes) -> JsonObject:
    """Decode one JSON object. Raises ``ValueError`` for duplicate members, at any depth, and for
    all that RFC 8259 does not know: NaN, lone surrogates, other encodings than UTF-8."""
    try:
        msgspec.json.decode(data)
        decoded = json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except msgspec.MsgspecError as error:
        raise ValueError("not JSON") from error
    if not isinstance(decoded, dict):
        raise ValueError("not a JSON object")
    return decoded


def _unique(pairs: list[tuple[str, object]]) -> JsonObject:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate members")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _decoded(segment: bytes, what: str) -> bytes:
    try:
        return base64url(segment)
    except ValueError:
        raise _malformed(f"has a {what} that is not base64url without padding") from None


def _json(data: bytes, what: str, limit: int) -> JsonObject:
    if len(data) > limit:
        raise _malformed(f"has a {what} that is too large")
    try:
        return json_object(data)
    except ValueError:
        raise _malformed(f"has a {what} that is not one JSON object of unique members") from None


def _header(header: JsonObject) -> tuple[str, str | None]:
    """Algorithm and key id."""
    if len(header) > MAX_HEADER_MEMBERS:
        raise TokenError(Reason.HEADER, "the token's header has too many members")
    refused = _REFUSED_MEMBERS.intersection(header)
    if refused:
        raise TokenError(
            Reason.HEADER, f"a token whose header has '{min(refused)}' is not taken here"
        )
    algorithm, kid, type = header.get("alg"), header.get("kid"), header.get("typ")
    if not isinstance(algorithm, str):
        raise TokenError(Reason.HEADER, "the token's header names no algorithm")
    if kid is not None and (not isinstance(kid, str) or len(kid) > MAX_KID):
        raise TokenError(Reason.HEADER, "the token's key id ('kid') is not a short text")
    if "kid" in header and kid is None:
        raise TokenError(Reason.HEADER, "the token's key id ('kid') is null")
    if "typ" in header and (not isinstance(type, str) or type.lower() not in _TYPES):
        raise TokenError(Reason.HEADER, "the token's 'typ' is not that of an access token")
    return algorithm, kid


def _malformed(how: str) -> TokenError:
    return TokenError(Reason.MALFORMED, f"the credential is not a JSON Web Token: it {how}")
