"""What shadows would have answered otherwise, as a page shows it, figures and drawings."""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from control.disagreement_report import (
    DisagreementExample,
    DisagreementItem,
    DisagreementReport,
    MirroredItem,
)
from control.portal.api import Api, Query
from control.portal.editing import Editing, Texts
from control.portal.rollout import Choice, read_versions
from registry.clock import rfc3339
from registry.outputs import ModelOutput
from registry.rollout_bodies import RolloutOutput, ShadowOutput

HOUR_MS: Final = 3_600_000
SPANS: Final = {"24h": ("24 hours", 24), "7d": ("7 days", 7 * 24), "30d": ("30 days", 30 * 24)}
SHOWN_EXAMPLES: Final = 20
SHOWN_GROUPS: Final = 100
"""Applications and segments of a table; the busiest."""
REASONS: Final = {
    "refused": "the shadow does not take the request",
    "failed": "its run failed",
    "unlike": "no output in common",
}


ADD: Final = "add"
"""The form that adds a shadow."""
TOP: Final = "top"
"""Where what has no form, or has none any more, is told."""


def shares(version: object) -> str:
    """The form that sets the share of a shadow."""
    return f"share-{version}"


SHED: Final[dict[str, str]] = {
    "busy": "the gateway, or the engines that answer, had no time for more than the traffic",
    "budget": "too much was waiting to be scored",
    "no_engine": "no engine of the shadow took it",
    "engine": "an engine took it, and dropped it or was lost",
}
"""Why requests were left out, in words."""


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """The shadows of a model."""

    model: ModelOutput
    rollout: RolloutOutput
    etag: str
    """Under which the rollout may be changed; empty: nothing is set."""
    versions: tuple[Choice, ...]

    @property
    def choices(self) -> tuple[Choice, ...]:
        """Versions that could become a shadow."""
        taken = {one.version for one in self.rollout.shadow} | {self.rollout.stable}
        return tuple(one for one in self.versions if one.number not in taken)

    def is_form(self, place: str) -> bool:
        """Whether the page has a form with fields there."""
        shown = {shares(one.version) for one in self.rollout.shadow}
        return place in shown or (place == ADD and bool(self.choices))

    def place(self, pressed: str, version: object) -> str:
        """Where a refusal of the form ``pressed`` about ``version`` is told: there, if the page
        still has it. Who would add what has become a shadow meanwhile may still set its share."""
        if pressed == ADD and self.is_form(shares(version)):
            return shares(version)
        return pressed if self.is_form(pressed) else TOP


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What was refused."""

    place: str
    """:data:`ADD`, :data:`TOP`, or the form of a shadow."""
    title: str
    text: str
    """Empty: the form was overtaken, and says so itself."""
    edit: Editing
    given: Texts
    """What stood in the form."""


class Bar(msgspec.Struct, frozen=True):
    """A quantile of the differences, and how long its bar is, in percent of the largest."""

    label: str
    value: float
    width: float


class Against(msgspec.Struct, frozen=True, kw_only=True):
    """The shadow beside one version that answered."""

    item: DisagreementItem
    quantiles: tuple[Bar, ...]
    most: int
    """Rows of the most frequent flip: bars are drawn beside it."""
    failed: tuple[tuple[str, str, int], ...]
    """Reason, the same in words, requests."""


class Mirrored(msgspec.Struct, frozen=True):
    """What became of the requests that were to be scored."""

    scored: int
    left_out: int
    reasons: tuple[tuple[str, str, int], ...]
    """Reason, the same in words, requests; the most frequent first."""

    @property
    def total(self) -> int:
        """Requests that were to be scored."""
        return self.scored + self.left_out


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The report of one shadow."""

    model: ModelOutput
    version: int
    shadow: ShadowOutput | None
    """None: it is none any more, and the report is about the time when it was."""
    span: str
    start: str
    end: str
    mirrored: Mirrored
    against: tuple[Against, ...]
    applications: Sequence[DisagreementItem]
    segments: Sequence[DisagreementItem]
    examples: Sequence[DisagreementExample]


async def read_overview(api: Api, model: str) -> Overview:
    """The shadows of a model. Raises :class:`ApiRefusal`."""
    known, (rollout, etag) = await asyncio.gather(
        api.get(f"/models/{model}", ModelOutput),
        api.get_tagged(f"/models/{model}/rollout", RolloutOutput),
    )
    versions = await read_versions(api, known)
    return Overview(model=known, rollout=rollout, etag=etag, versions=versions)


async def read_report(api: Api, model: str, version: int, span: str, now_ms: int) -> Report:
    """The report over one of :data:`SPANS`. Raises :class:`ApiRefusal`."""
    path = f"/models/{model}/shadows/{version}/report"
    since = rfc3339(now_ms - SPANS[span][1] * HOUR_MS)

    known, rollout, whole, applications, segments = await asyncio.gather(
        api.get(f"/models/{model}", ModelOutput),
        api.get(f"/models/{model}/rollout", RolloutOutput),
        api.get(path, DisagreementReport, **_query(since, "", SHOWN_EXAMPLES)),
        api.get(path, DisagreementReport, **_query(since, "application", 0)),
        api.get(path, DisagreementReport, **_query(since, "segment", 0)),
    )
    return Report(
        model=known,
        version=version,
        shadow=next((one for one in rollout.shadow if one.version == version), None),
        span=span,
        start=whole.start,
        end=whole.end,
        mirrored=_mirrored(whole.mirrored),
        against=tuple(_against(item) for item in whole.items),
        applications=_busiest(applications.items),
        segments=_busiest([one for one in segments.items if one.segment]),
        examples=whole.examples,
    )


def _query(since: str, by: str, examples: int) -> dict[str, Query]:
    return {"from": since, "by": by, "examples": examples}


def _busiest(items: Sequence[DisagreementItem]) -> Sequence[DisagreementItem]:
    return sorted(items, key=lambda one: -one.rows)[:SHOWN_GROUPS]


def _mirrored(item: MirroredItem) -> Mirrored:
    by_count = sorted(item.shed.items(), key=lambda one: -one[1])
    return Mirrored(
        item.scored,
        sum(item.shed.values()),
        tuple((reason, SHED.get(reason, reason), count) for reason, count in by_count),
    )


def _against(item: DisagreementItem) -> Against:
    largest = item.largest or 0.0
    given = (("median", item.p50), ("90 %", item.p90), ("99 %", item.p99), ("largest", largest))
    return Against(
        item=item,
        quantiles=tuple(
            Bar(label, value, 100 * value / largest if largest else 0.0)
            for label, value in given
            if value is not None and item.measured
        ),
        most=max((pair.rows for pair in item.pairs), default=0),
        failed=tuple(
            (reason, REASONS.get(reason, reason), count) for reason, count in item.failures.items()
        ),
    )
