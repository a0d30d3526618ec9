"""What plans' limits refused: counted out of usage records, and reported. Pure."""

from collections import Counter
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict

from control.usage import MAX_DIMENSION, MAX_MINUTE, MINUTE_MS, fitting
from protocol.usage import UsageRecord

LimitKind = Literal["rate", "quota", "concurrency", "size"]
LIMITS: Final[tuple[LimitKind, ...]] = get_args(LimitKind)
GRAIN: Final = 5
"""Minutes that are counted together."""
MAX_CALLERS: Final = 100


class Refused(NamedTuple):
    """What refusals are told apart by. ``minute``: the first of its five."""

    minute: int
    application: str
    model: str
    plan: str
    limit: str


class RefusalColumn(BaseModel):
    """A span of time, and the requests that each limit refused in it."""

    model_config = ConfigDict(frozen=True)

    time: str
    rate: int = 0
    quota: int = 0
    concurrency: int = 0
    size: int = 0


class RefusedCaller(BaseModel):
    """Who was refused by what: an application under its plan for a model."""

    model_config = ConfigDict(frozen=True)

    application: str
    model: str
    plan: str
    limit: LimitKind
    requests: int
    last_at: str
    """The beginning of the five minutes in which it happened last."""


class RefusalReport(BaseModel):
    """Requests that a limit refused, over time and by caller."""

    model_config = ConfigDict(frozen=True)

    minutes: int
    """Minutes in a column."""
    items: list[RefusalColumn]
    """Every column of the span, also where nothing was refused."""
    callers: list[RefusedCaller]
    """The callers with the most refusals, a hundred at most."""


def refused_in(records: Iterable[UsageRecord]) -> Counter[Refused]:
    """How many requests each limit refused. What no column takes is under a neutral value."""
    found: Counter[Refused] = Counter()
    for record in records:
        if record.limit not in LIMITS:
            continue
        minute = min(max(record.at_ms // MINUTE_MS, 0), MAX_MINUTE)
        place = Refused(
            minute // GRAIN * GRAIN,
            fitting(record.application, MAX_DIMENSION),
            fitting(record.model, MAX_DIMENSION),
            fitting(record.plan, MAX_DIMENSION),
            record.limit,
        )
        found[place] += 1
    return found
