"""What a deprecation may say, and what becomes of it when its version is retired. Pure.

``Deprecation`` (RFC 9745) and ``Sunset`` (RFC 8594) are made of it; a sunset before the deprecation
is what the former forbids.
"""

from typing import Final

import msgspec

from protocol.configuration import BrownoutDoc, DeprecationDoc
from protocol.errors import Code, TollwayError

MAX_BROWNOUTS: Final = 100
MAX_BROWNOUT_S: Final = 7 * 86_400
"""A longer window is no warning, it is the end."""


def checked(
    wish: DeprecationDoc, present: DeprecationDoc | None, number: int, now_s: int
) -> DeprecationDoc:
    """The deprecation to store, its windows by time. Raises ``INVALID``.

    What stands there already may stay, also where its time has passed meanwhile.
    """
    if wish.successor == number:
        raise TollwayError(Code.INVALID, "successor: a version does not succeed itself")
    was = None if present is None else present.sunset
    if wish.sunset is None:
        for name, given in (
            ("brownouts", wish.brownouts),
            ("retire_at_sunset", wish.retire_at_sunset),
        ):
            if given:
                raise TollwayError(Code.INVALID, f"{name}: they go with a sunset; give one")
    elif wish.sunset < wish.since:
        raise TollwayError(
            Code.INVALID,
            "sunset: it is before 'since', the beginning of the deprecation (RFC 9745)",
        )
    elif wish.sunset <= now_s and wish.sunset != was:
        raise TollwayError(
            Code.INVALID, "sunset: it has passed; give a later one, or retire the version now"
        )
    windows = tuple(sorted(wish.brownouts, key=lambda window: window.start))
    _check_windows(windows, wish.sunset)
    return msgspec.structs.replace(wish, brownouts=windows)


def _check_windows(windows: tuple[BrownoutDoc, ...], sunset: int | None) -> None:
    if len(windows) > MAX_BROWNOUTS:
        raise TollwayError(Code.INVALID, f"brownouts: there may be at most {MAX_BROWNOUTS}")
    last_end = 0
    for number, window in enumerate(windows, 1):
        if window.end <= window.start:
            raise TollwayError(Code.INVALID, f"brownouts: number {number} ends before it begins")
        if window.end - window.start > MAX_BROWNOUT_S:
            days = MAX_BROWNOUT_S // 86_400
            raise TollwayError(
                Code.INVALID, f"brownouts: number {number} is longer than {days} days"
            )
        if window.start < last_end:
            raise TollwayError(
                Code.INVALID, f"brownouts: number {number} begins before the one before it ends"
            )
        if sunset is not None and window.end > sunset:
            raise TollwayError(Code.INVALID, f"brownouts: number {number} ends after the sunset")
        last_end = window.end


def at_retirement(present: DeprecationDoc | None, now_s: int) -> DeprecationDoc:
    """The deprecation of a version that is retired now: its sunset is no later than that."""
    known = present or DeprecationDoc(since=now_s)
    sunset = now_s if known.sunset is None else min(known.sunset, now_s)
    return msgspec.structs.replace(known, sunset=sunset, since=min(known.since, sunset))
