"""How versions end: deprecation, who still calls, retirement."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any, Final

from tollway.receipts import Predictions, Replayer
from tollway.registry import Registry, check_name
from tollway.resources import Deprecation, Version
from tollway.transport import Transport

_REPLAYING: Final = 4
"""Callers whose captures are scored again at one time."""
_PAGE: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending(Deprecation):
    """How a version ends, and how far that has come."""

    model: str
    number: int
    state: str
    held_by: tuple[str, ...] = ()
    """What sends calls to it: it cannot be retired before that is moved or ended."""
    retired_at: str | None = None
    artifact_kept_until: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SuccessorAnswers:
    """Whether a caller's last requests would get other answers from the successor; ``basis`` is
    ``shadow``, ``replay`` or ``unknown``."""

    basis: str
    reason: str = ""
    compared: int = 0
    different: int = 0
    share: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerUse:
    """An application that called the version. ``ways``: requests by ``stable``, ``canary`` and
    ``pinned``; ``trend``: ``new``, ``rising``, ``steady``, ``falling`` or ``stopped``."""

    application: str
    consumer: str | None = None
    ended: bool = False
    requests: int
    errors: int
    rows: int
    ways: dict[str, int] = field(default_factory=dict)
    pinned: bool = False
    first_call_at: str
    last_call_at: str
    last_week: int
    week_before: int
    trend: str
    answers: SuccessorAnswers


@dataclass(frozen=True, slots=True, kw_only=True)
class TransitionReport:
    """Who still calls a version, and what its end would change for them."""

    model: str
    version: int
    state: str
    generated_at: str
    days: int
    deprecated_since: str | None = None
    sunset: str | None = None
    days_left: int | None = None
    successor: int | None = None
    note: str = ""
    held_by: tuple[str, ...] = ()
    requests: int
    applications: int
    """All that called."""
    callers: tuple[CallerUse, ...] = ()
    """The busiest of them, the busiest first."""
    next: str | None = None
    """None: there are no others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionQuality:
    """The main metric of the version's newest evaluation."""

    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    rows: int
    rows_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionTraffic:
    """Who called within the report's days."""

    requests: int
    errors: int
    callers: int
    last_call_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionCost:
    """What the version takes."""

    compute_ms: float
    engines: int
    memory_bytes: int | None = None
    """Of its engines now; None: none has told."""
    artifact_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WeighedVersion:
    """A version on the scales; ``recommendation`` is ``keep``, ``deprecate`` or ``retire``."""

    version: int
    state: str
    created_at: str
    aliases: tuple[str, ...] = ()
    quality: VersionQuality | None = None
    traffic: VersionTraffic
    cost: VersionCost
    recommendation: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RetirementReport:
    """What each version of a model is good for, and what it costs."""

    model: str
    generated_at: str
    days: int
    versions: tuple[WeighedVersion, ...] = ()


class Ended:
    """What :class:`tollway.Client` offers about the end of versions."""

    _predictions: Predictions
    _registry: Registry
    _transport: Transport

    def deprecate(
        self,
        name: str,
        number: int,
        reason: str = "",
        *,
        since: datetime | None = None,
        sunset: datetime | None = None,
        successor: int | None = None,
        note: str = "",
        brownouts: Sequence[tuple[datetime, datetime]] = (),
        retire_at_sunset: bool = False,
    ) -> Version:
        """Mark a published version as on its way out, or say anew how a deprecated one ends.

        It still answers, and every answer tells ``since``, ``sunset`` and ``successor``. Within
        ``brownouts`` (start, end) calls that name it are refused with 410, ``note`` and successor
        in the message. With ``retire_at_sunset`` it is retired by itself. Times without a zone are
        local.
        """
        path = _path(name, number, "deprecation")
        windows = [{"start": _moment(start), "end": _moment(end)} for start, end in brownouts]
        body: dict[str, Any] = {
            "since": None if since is None else _moment(since),
            "sunset": None if sunset is None else _moment(sunset),
            "successor": successor,
            "note": note,
            "brownouts": windows,
            "retire_at_sunset": retire_at_sunset,
        }
        if not any(body.values()):
            return self._registry.transition(name, number, "deprecated", reason)
        self._transport.request("PUT", path, json=body | {"reason": reason})
        return self._registry.version(name, number)

    def ending(self, name: str, number: int) -> Ending:
        """How a deprecated or retired version ends; :class:`NotFoundError` for any other."""
        return self._transport.get(_path(name, number, "deprecation"), Ending)

    def retire(self, name: str, number: int, reason: str = "") -> Version:
        """Take a version out of service for good: unloaded, answered with 410 Gone.

        A published version is deprecated on the way; one that never was published is rejected.
        """
        return self._registry.retire(name, number, reason)

    def transition_report(
        self, name: str, number: int, *, days: int = 30, limit: int = 1000, replay: int = 0
    ) -> TransitionReport:
        """Who called the version within the last ``days``, by which way and since when, and whether
        its successor would answer them otherwise: the ``limit`` busiest, fetched page by page.

        Of callers whom no shadow has compared, the last ``replay`` captured requests are scored
        again on the successor, which takes two requests each; 0: none are.
        """
        report = self._transition_report(_path(name, number, "transition-report"), days, limit)
        if not replay or report.successor is None:
            return report
        replayer = self._predictions.replayer()
        # A few beside one another: a replay mostly waits for control and for the engine.
        with ThreadPoolExecutor(_REPLAYING, "tollway-replay") as pool:
            replayed = partial(self._replayed, report, replayer, count=replay)
            return replace(report, callers=tuple(pool.map(replayed, report.callers)))

    def _transition_report(self, path: str, days: int, limit: int) -> TransitionReport:
        left = max(limit, 1)
        params: dict[str, str | int] = {"days": days, "limit": min(left, _PAGE)}
        report = page = self._transport.get(path, TransitionReport, params)
        callers = list(page.callers)
        while page.next is not None and len(callers) < left:
            params |= {"limit": min(left - len(callers), _PAGE), "after": page.next}
            page = self._transport.get(path, TransitionReport, params)
            callers += page.callers
        return replace(report, callers=tuple(callers), next=page.next)

    def _replayed(
        self, report: TransitionReport, replayer: Replayer, caller: CallerUse, *, count: int
    ) -> CallerUse:
        if caller.answers.basis != "unknown":
            return caller
        captures = islice(
            self._predictions.captures(
                report.model, caller.application, report.version, None, None
            ),
            count,
        )
        replays = [replayer.replay(one.id, report.successor) for one in captures]
        if not replays:
            return caller
        different = sum(not (one.equal or one.only_rounding) for one in replays)
        answers = SuccessorAnswers(
            basis="replay",
            reason="captured requests with another answer, last bits apart",
            compared=len(replays),
            different=different,
            share=different / len(replays),
        )
        return replace(caller, answers=answers)

    def retirement_report(self, name: str, *, days: int = 30) -> RetirementReport:
        """Each version's quality, traffic and cost, and whether to keep, deprecate or retire it."""
        path = f"/api/v1/models/{check_name(name, 'model')}/retirement-report"
        return self._transport.get(path, RetirementReport, {"days": days})


def _path(name: str, number: int, what: str) -> str:
    return f"/api/v1/models/{check_name(name, 'model')}/versions/{number}/{what}"


def _moment(moment: datetime) -> str:
    aware = moment if moment.tzinfo is not None else moment.astimezone()
    return aware.astimezone(UTC).isoformat().replace("+00:00", "Z")
