"""What every JSON body has to be: said in one place, so that no route forgets it.

RFC 8259 leaves both open, and I-JSON (RFC 7493) forbids them: members that are there twice, of
which readers take one or the other, and lone surrogates, which are no text and cannot be stored.
"""

import json
from typing import Final

from protocol.errors import Code, TollwayError

_JSON: Final = "json"


def is_json(content_type: str) -> bool:
    """Whether a body of this type is read as JSON. One that names no type is not."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind.endswith(("/json", "+json"))


def check(body: bytes) -> None:
    """Refuse a body that is JSON, yet means nothing certain: ``MALFORMED`` for a member that is
    there twice, ``INVALID`` for text that is none and for ``null`` in the place of an object.

    What is not JSON at all passes: who reads it says where it breaks off.
    """
    try:
        text = body.decode()
        # The decoder would take UTF-16, which nothing before it searched.
        decoded = None if "\0" in text else json.loads(text, object_pairs_hook=_once_each)
    except UnicodeDecodeError:
        raise TollwayError(Code.MALFORMED, "the body is not UTF-8") from None
    except (ValueError, RecursionError):
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


def _once_each(members: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(members)
    if len(found) < len(members):
        # The name is not repeated: it may be a secret.
        raise TollwayError(Code.MALFORMED, "an object in the body has two members of one name")
    return found
