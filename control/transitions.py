"""The transition report of a version and the retirement report of a model."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from control.caller_pages import Looked, asked, cursor
from control.retirement_rules import Quality, Weighed, advise
from control.store.callers import (
    DAY_MS,
    NOBODY_CALLED,
    WEEK_DAYS,
    Caller,
    Callers,
    Traffic,
)
from control.store.captures import Captures, Sought
from control.transition_resources import (
    AnswersOfSuccessor,
    CallerItem,
    CostItem,
    QualityItem,
    RetirementItem,
    RetirementReport,
    TrafficItem,
    TransitionReport,
    Trend,
)
from control.usage_tiers import DAY
from protocol.configuration import FINAL_STATES
from protocol.evidence import Evidence
from registry.clock import Clock, rfc3339
from registry.criteria import Measure
from registry.evidence import MAX_EVALUATIONS
from registry.measures import Untold, smaller_is_better
from registry.service import Registry
from registry.store.versions import VersionRecord

_PAGE: Final = 500
_RISING: Final = 1.2
_FALLING: Final = 0.8


class SuccessorAnswers(Protocol):
    """Who knows whether the successor answers as the version does."""

    def compared(
        self, model: str, version: int, successor: int, named: Sequence[str]
    ) -> Mapping[str, AnswersOfSuccessor]:
        """Application -> how the answers compare; nothing for those of whom nothing is known."""


class Transitions:
    """Makes the reports. Thread-safe; calls block."""

    def __init__(
        self,
        registry: Registry,
        callers: Callers,
        answers: SuccessorAnswers,
        captures: Captures,
        memory: Callable[[str], Mapping[int, int]],
        clock: Clock,
    ) -> None:
        """``memory``: bytes that the engines of a model's versions have told of, by version."""
        self._memory = memory
        self._registry = registry
        self._callers = callers
        self._answers = answers
        self._captures = captures
        self._clock = clock

    def transition(
        self, model: str, number: int, days: int, limit: int, after: str = ""
    ) -> TransitionReport:
        """Who called the version within the last ``days``, and what its end would change for them:
        the page of ``limit`` callers behind ``after``. Raises ``MODEL_NOT_FOUND``,
        ``VERSION_NOT_FOUND`` or, for what is no cursor of the report, ``INVALID``."""
        version = self._registry.versions.get(model, number)
        now = self._clock()
        ending = version.deprecation
        successor = None if ending is None else ending.successor
        sunset = None if ending is None else ending.sunset
        left = None if sunset is None else (sunset * 1000 - now) // DAY_MS
        looked, behind = asked(days, after, now)
        page = self._callers.page(model, number, looked, limit, behind)
        named = [caller.application for caller in page.callers]
        pinned = self._callers.pinned_to(model, number, named)
        known: Mapping[str, AnswersOfSuccessor] = {}
        captured: frozenset[str] = frozenset()
        if successor is not None:
            known = self._answers.compared(model, number, successor, named)
            captured = self._captured(model, number)
        return TransitionReport(
            model=model,
            version=number,
            state=version.state,
            generated_at=rfc3339(now),
            days=days,
            deprecated_since=None if ending is None else rfc3339(ending.since * 1000),
            sunset=None if sunset is None else rfc3339(sunset * 1000),
            days_left=left if left is not None and left >= 0 else None,
            successor=successor,
            note="" if ending is None else ending.note,
            held_by=[]
            if ending is None
            else self._registry.deprecations.get(model, number).held_by,
            requests=page.requests,
            applications=page.applications,
            callers=[
                _caller(
                    one,
                    looked,
                    one.application in pinned,
                    known.get(one.application)
                    or _unknown(successor, captured=one.application in captured),
                )
                for one in page.callers
            ],
            next=cursor(looked, page.callers[-1].place) if page.more else None,
        )

    def retirement(self, model: str, days: int) -> RetirementReport:
        """What each version that is not retired or rejected is good for, and what it costs.
        Raises ``MODEL_NOT_FOUND``."""
        now = self._clock()
        present = [v for v in self._versions(model) if v.state not in FINAL_STATES]
        memory = self._memory(model)
        traffic = self._callers.traffic(model, Looked.back(days, now))
        weighed = [
            self._weigh(one, traffic.get(one.number, NOBODY_CALLED), now, memory.get(one.number))
            for one in present
        ]
        scales = [scale for scale, _ in weighed]
        items = []
        for scale, item in weighed:
            others = [other for other in scales if other.number != scale.number]
            advice, reason = advise(scale, others, days)
            items.append(item.model_copy(update={"recommendation": advice, "reason": reason}))
        return RetirementReport(model=model, generated_at=rfc3339(now), days=days, versions=items)

    def _captured(self, model: str, version: int) -> frozenset[str]:
        """Applications whose requests are among the newest captures of the version."""
        found = self._captures.page(Sought(model, version=version), _PAGE, None)
        return frozenset(one.application for one in found)

    def _versions(self, model: str) -> list[VersionRecord]:
        found: list[VersionRecord] = []
        while True:
            after = found[-1].number if found else 0
            page = self._registry.versions.page(model, after, _PAGE)
            found += page
            if len(page) < _PAGE:
                return found

    def _weigh(
        self, version: VersionRecord, traffic: Traffic, now: int, memory_bytes: int | None
    ) -> tuple[Weighed, RetirementItem]:
        engines = self._registry.versions.serving(version).engines
        newest = self._newest_evidence(version)
        quality = None if newest is None else _quality(newest)
        aliases = _aliases(self._registry, version.model, version.number)
        sunset = None if version.deprecation is None else version.deprecation.sunset
        scale = Weighed(
            number=version.number,
            state=version.state,
            age_days=(now - version.created_at) // DAY_MS,
            aliases=tuple(aliases),
            quality=quality,
            requests=traffic.requests,
            callers=traffic.callers,
            engines=len(engines),
            memory_bytes=memory_bytes,
            sunset_days=None if sunset is None else (sunset * 1000 - now) // DAY_MS,
        )
        item = RetirementItem(
            version=version.number,
            state=version.state,
            created_at=rfc3339(version.created_at),
            aliases=aliases,
            quality=None
            if newest is None or quality is None
            else QualityItem(
                metric=quality.metric,
                value=quality.value,
                low=quality.low,
                high=quality.high,
                rows=newest.rows,
                rows_name=newest.rows_name,
            ),
            traffic=TrafficItem(
                requests=traffic.requests,
                errors=traffic.errors,
                callers=traffic.callers,
                last_call_at=None if traffic.last_ms is None else rfc3339(traffic.last_ms),
            ),
            cost=CostItem(
                compute_ms=traffic.compute_ms,
                engines=len(engines),
                memory_bytes=memory_bytes,
                artifact_bytes=sum(blob.size for _, blob in version.manifest.blobs()),
            ),
            recommendation="keep",
            reason="",
        )
        return scale, item

    def _newest_evidence(self, version: VersionRecord) -> Evidence | None:
        found = self._registry.evidence.page(version.model, version.number, 0, MAX_EVALUATIONS)
        made = [one.evidence for one in found if one.evidence.manifest_digest == version.digest]
        return made[-1] if made else None


def _aliases(registry: Registry, model: str, number: int) -> list[str]:
    aliases = registry.models.get(model).aliases
    return sorted(name for name, at in aliases.items() if at == number)


def _quality(evidence: Evidence) -> Quality | None:
    measured = evidence.metrics.get(evidence.main_metric)
    if measured is None:
        return None
    try:
        direction = smaller_is_better(Measure(name=evidence.main_metric))
    except Untold:
        direction = None
    return Quality(
        metric=evidence.main_metric,
        value=measured.value,
        low=measured.low,
        high=measured.high,
        smaller_is_better=direction,
    )


def _caller(
    caller: Caller, looked: Looked, pinned: bool, answers: AnswersOfSuccessor
) -> CallerItem:
    return CallerItem(
        application=caller.application,
        consumer=caller.consumer,
        ended=caller.ended,
        requests=caller.requests,
        errors=caller.errors,
        rows=caller.rows,
        ways=caller.variants,
        pinned=pinned,
        first_call_at=rfc3339(caller.first_ms),
        last_call_at=rfc3339(caller.last_ms),
        last_week=caller.last_week,
        week_before=caller.week_before,
        trend=trend(caller, looked),
        answers=answers,
    )


def trend(caller: Caller, looked: Looked) -> Trend:
    """How the last seven days compare with the seven before them."""
    if not caller.last_week:
        return "stopped"
    if not caller.week_before and caller.first_ms // DAY_MS > looked.minute // DAY - WEEK_DAYS:
        return "new"
    if caller.last_week > caller.week_before * _RISING:
        return "rising"
    return "falling" if caller.last_week < caller.week_before * _FALLING else "steady"


def _unknown(successor: int | None, *, captured: bool) -> AnswersOfSuccessor:
    if successor is None:
        reason = "no successor is named"
    elif captured:
        reason = "unknown: no shadow; requests are captured: replay them on the successor"
    else:
        reason = "unknown: no shadow, no captures"
    return AnswersOfSuccessor(basis="unknown", reason=reason, compared=0, different=0, share=None)
