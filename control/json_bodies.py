"""What every JSON body has to be: said in one place, so that no route forgets it.

RFC 8259 leaves both open, and I-JSON (RFC 7493) forbids them: members that are there twice, of
which readers take one or the other, and lone surrogates, which are no text and cannot be stored.
Neither may they hold a credential, however it is written: what is stored is shown, logged, audited.
"""

import json
from typing import Final

from protocol.errors import Code, TollwayError
from protocol.keys import holds_credential, holds_token

_MISPLACED: Final = "holds a credential, which would be stored in the clear: leave it out"
_SIGNS: Final = (b"tw_", b"eyJ", b"\\u")
"""One of these stands in every body with a credential, escapes included."""
_MAX_NAME: Final = 80


def is_json(content_type: str) -> bool:
    """Whether a body of this type is read as JSON. One that names no type is not."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind.endswith(("/json", "+json"))


def check(body: bytes, *, tokens: bool = True) -> None:
    """Refuse a body that is JSON, yet means nothing certain: ``MALFORMED`` for a member that is
    there twice, ``INVALID`` for text that is none and for ``null`` in the place of an object.
    ``INVALID`` also for a credential in it, with its place; ``tokens``: signed tokens as well.

    What is not JSON at all passes, unless it holds a credential: who reads it says where it breaks
    off.
    """
    try:
        text = body.decode()
        # The decoder would take UTF-16, which nothing before it searched.
        decoded = None if "\0" in text else json.loads(text, object_pairs_hook=_once_each)
    except UnicodeDecodeError:
        raise TollwayError(Code.MALFORMED, "the body is not UTF-8") from None
    except (ValueError, RecursionError):
        if _is_secret(body, tokens=tokens):
            raise TollwayError(Code.INVALID, f"the body {_MISPLACED}") from None
        return
    if decoded is None:
        if "\0" in text:
            raise TollwayError(Code.MALFORMED, "the body holds a NUL byte, so it is not JSON")
        raise TollwayError(Code.INVALID, "the body is null: send an object, or no body at all")
    try:
        json.dumps(decoded, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise TollwayError(
            Code.INVALID,
            "the body holds half of a surrogate pair (\\ud800 to \\udfff), which is not text",
        ) from None
    if any(sign in body for sign in _SIGNS):
        _refuse_secrets(decoded, tokens=tokens)


def _refuse_secrets(decoded: object, *, tokens: bool) -> None:
    """Name the place of a credential, and never a part of it: a name is looked at before it can
    stand in the place of what is within."""
    waiting: list[tuple[str, object]] = [("", decoded)]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, str) and _is_secret(value.encode(), tokens=tokens):
            raise TollwayError(
                Code.INVALID, f"{place}: {_MISPLACED}" if place else f"the body {_MISPLACED}"
            )
        if isinstance(value, dict):
            if any(_is_secret(name.encode(), tokens=tokens) for name in value):
                within = f"{place}: " if place else ""
                raise TollwayError(Code.INVALID, f"{within}a name in it {_MISPLACED}")
            waiting += [(_below(place, name), inner) for name, inner in value.items()]
        elif isinstance(value, list):
            waiting += [(_below(place, str(number)), one) for number, one in enumerate(value)]


def _below(place: str, name: str) -> str:
    short = name[:_MAX_NAME]
    return f"{place}.{short}" if place else short


def _is_secret(text: bytes, *, tokens: bool) -> bool:
    return holds_credential(text) or (tokens and holds_token(text))


def _once_each(members: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(members)
    if len(found) < len(members):
        # The name is not repeated: it may be a secret.
        raise TollwayError(Code.MALFORMED, "an object in the body has two members of one name")
    return found
