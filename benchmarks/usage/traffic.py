"""Ten million requests as arrays: who called what and when, with what outcome, for how long.

Applications differ (a few make most of the traffic), days have their peaks, models get new versions
at different times, some requests fail. The same for the same scale.
"""

from functools import cached_property
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from control.usage import MINUTE_MS
from control.usage_tiers import DAY, floor
from protocol.usage import UsageRecord

APPLICATIONS: Final = 300
KEYS: Final = 3
"""An application has one to three of them."""
MODELS: Final = 50
VERSIONS: Final = 8
VARIANTS: Final = ("canary", "stable")
STATUSES: Final = (200, 400, 404, 422, 429, 500, 503, 504)
CALLERS: Final = APPLICATIONS * KEYS * MODELS * VERSIONS * len(VARIANTS) * len(STATUSES)
"""Every combination of dimensions; their numbers are in the order of the roll-ups' keys."""
_SHARES: Final = (0.925, 0.02, 0.005, 0.02, 0.012, 0.003, 0.012, 0.003)
_VERSION_DAYS: Final = 30
Whole = npt.NDArray[np.int64]


class Scale(msgspec.Struct, frozen=True, kw_only=True):
    """How much is made."""

    requests: int = 10_000_000
    days: int = 90


class Requests(msgspec.Struct, frozen=True):
    """Requests in the order of their minutes. Everything else follows from ``total_us``."""

    minute: Whole
    caller: Whole
    total_us: Whole

    @property
    def figures(self) -> dict[str, Whole]:
        """What roll-ups sum, by name."""
        rows = 1 + self.total_us % 4
        return {
            "requests": np.ones_like(rows),
            "rows": rows,
            "errors": (np.array(STATUSES)[self.caller % len(STATUSES)] >= 400).astype(np.int64),
            "queue_us": self.total_us // 10,
            "infer_us": self.total_us * 7 // 10,
            "total_us": self.total_us,
            "bytes_in": 250 * rows,
            "bytes_out": 60 + 60 * rows,
        }


class Caller(msgspec.Struct, frozen=True):
    """Dimensions of a request."""

    application: str
    key: str
    model: str
    version: int
    variant: str
    status: int


def caller(number: int) -> Caller:
    """The dimensions that a number stands for."""
    rest, status = divmod(number, len(STATUSES))
    rest, variant = divmod(rest, len(VARIANTS))
    rest, version = divmod(rest, VERSIONS)
    rest, model = divmod(rest, MODELS)
    application, key = divmod(rest, KEYS)
    return Caller(
        application_name(application),
        f"key-{application:03}-{key}",
        model_name(model),
        version + 1,
        VARIANTS[variant],
        STATUSES[status],
    )


def application_name(number: int) -> str:
    """The name of an application, 0 being the busiest."""
    return f"application-{number:03}"


def model_name(number: int) -> str:
    """The name of a model."""
    return f"model-{number:02}"


class Traffic:
    """The requests of whole days, and of the day under way up to a minute."""

    def __init__(self, scale: Scale, end_minute: int) -> None:
        self._scale = scale
        self._end = end_minute
        self._begin = floor(end_minute, DAY) - scale.days * DAY

    def days(self) -> list[Requests]:
        """The requests by UTC day; the last one ends early."""
        found = [self._day(number) for number in range(self._scale.days + 1)]
        found[-1] = between(found[-1], 0, self._end)
        return found

    @cached_property
    def _popularity(self) -> npt.NDArray[np.float64]:
        # Zipf's law, which traffic of many clients follows.
        weights = 1 / np.arange(1, APPLICATIONS + 1) ** 0.8
        return np.asarray(weights / weights.sum())

    def _day(self, number: int) -> Requests:
        dice = np.random.default_rng([7, number])
        count = self._scale.requests * (number + 1) // self._scale.days
        count -= self._scale.requests * number // self._scale.days
        first = self._begin + number * DAY
        minutes = np.arange(first, first + DAY)
        busy = np.where((minutes % DAY >= 8 * 60) & (minutes % DAY < 20 * 60), 1.6, 0.4)
        minute = np.sort(dice.choice(minutes, count, p=busy / busy.sum()))
        application = dice.choice(APPLICATIONS, count, p=self._popularity)
        key = dice.integers(0, 1 + application % KEYS)
        # Each key is used for up to three models, mostly for one.
        model = (application * 7 + key + dice.choice(3, count, p=(0.7, 0.2, 0.1))) % MODELS
        # Every model has a new version each month, on another day of it, tried out for four days.
        age = number + model * _VERSION_DAYS // MODELS
        tried = (age % _VERSION_DAYS >= _VERSION_DAYS - 4) & (dice.random(count) < 0.1)
        version = np.minimum(age // _VERSION_DAYS + tried, VERSIONS - 1)
        status = dice.choice(len(STATUSES), count, p=_SHARES)
        number_of = (application * KEYS + key) * MODELS + model
        number_of = (number_of * VERSIONS + version) * len(VARIANTS) + np.where(tried, 0, 1)
        total_us = np.maximum(dice.lognormal(7 + model % 5 / 4, 0.5), 50).astype(np.int64)
        return Requests(minute, number_of * len(STATUSES) + status, total_us)


def joined(parts: list[Requests]) -> Requests:
    """All of them, one behind the other."""
    return Requests(
        np.concatenate([part.minute for part in parts]),
        np.concatenate([part.caller for part in parts]),
        np.concatenate([part.total_us for part in parts]),
    )


def between(requests: Requests, start: int, end: int) -> Requests:
    """Those of the minutes ``start`` up to, not including, ``end``."""
    low, high = np.searchsorted(requests.minute, [start, end]).tolist()
    return Requests(
        requests.minute[low:high], requests.caller[low:high], requests.total_us[low:high]
    )


def records(requests: Requests) -> list[UsageRecord]:
    """The same requests as a gateway logs them."""
    columns = {name: values.tolist() for name, values in requests.figures.items()}
    found = []
    for index, (minute, number) in enumerate(
        zip(requests.minute.tolist(), requests.caller.tolist(), strict=True)
    ):
        who = caller(number)
        found.append(
            UsageRecord(
                at_ms=minute * MINUTE_MS,
                application=who.application,
                key=who.key,
                model=who.model,
                version=who.version,
                variant=who.variant,
                status=who.status,
                rows=columns["rows"][index],
                queue_us=columns["queue_us"][index],
                infer_us=columns["infer_us"][index],
                total_us=columns["total_us"][index],
                bytes_in=columns["bytes_in"][index],
                bytes_out=columns["bytes_out"][index],
                prediction_id=f"p{index}",
                plan="unlimited",
            )
        )
    return found
