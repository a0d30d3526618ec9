"""Pages of who calls a version: where one ends, and of which time all of them are. Pure."""

import base64
import binascii
from typing import Annotated, Final, NamedTuple

import msgspec

from control.usage import MAX_MINUTE, MINUTE_MS
from control.usage_tiers import DAY
from protocol.errors import Code, TollwayError

_Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
_Minute = Annotated[int, msgspec.Meta(ge=0, le=MAX_MINUTE)]
_Name = Annotated[str, msgspec.Meta(pattern="^[^\\x00]*$", max_length=63)]


class Place(NamedTuple):
    """Where a caller stands in the order: the busiest first, those as busy by name."""

    requests: int
    application: str


class Looked(NamedTuple):
    """Days that are looked back from a minute of UNIX time, which is the last one looked at."""

    days: int
    minute: int

    @classmethod
    def back(cls, days: int, now_ms: int) -> "Looked":
        """From now."""
        return cls(days, now_ms // MINUTE_MS)

    @property
    def end(self) -> int:
        """The minute behind the last."""
        return self.minute + 1

    @property
    def start(self) -> int:
        """The first minute."""
        return max(self.end - self.days * DAY, 0)


class _Cursor(msgspec.Struct, array_like=True, frozen=True):
    days: int
    minute: _Minute
    requests: _Count
    application: _Name


_decoder: Final = msgspec.msgpack.Decoder(_Cursor)


def cursor(looked: Looked, last: Place) -> str:
    """The ``next`` of a page that ends with ``last``. It carries the time that the first page
    looked at, so that all pages are of one report."""
    data = msgspec.msgpack.encode(_Cursor(looked.days, looked.minute, *last))
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def asked(days: int, after: str, now_ms: int) -> tuple[Looked, Place | None]:
    """What a page is of, and what it follows. Raises ``INVALID`` when ``after`` is of another
    report."""
    if not after:
        return Looked.back(days, now_ms), None
    try:
        data = base64.b64decode(after + "=" * (-len(after) % 4), altchars=b"-_", validate=True)
        found = _decoder.decode(data)
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise _not_a_cursor() from error
    if found.days != days:
        raise _not_a_cursor()
    return Looked(days, found.minute), Place(found.requests, found.application)


def _not_a_cursor() -> TollwayError:
    return TollwayError(
        Code.INVALID, "query.after: is not the 'next' of a page of this report over as many days"
    )
