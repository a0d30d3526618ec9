"""What is asked: every grouping, range and step, by who may ask and with what filters."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import combinations
from typing import Final, Literal, get_args

import msgspec

from benchmarks.usage.traffic import application_name, model_name
from control.usage_tiers import Dimension, Step

Viewer = Literal["admin", "consumer", "publisher"]
GROUPINGS: Final = tuple(
    ",".join(chosen)
    for size in range(len(get_args(Dimension)) + 1)
    for chosen in combinations(get_args(Dimension), size)
)
"""All 64 subsets of the dimensions."""
SOME: Final = (
    "",
    "application",
    "key",
    "model,version,status",
    "application,key,model,status",
    GROUPINGS[-1],
)
SPANS: Final = {
    "1 h": timedelta(hours=1),
    "24 h": timedelta(days=1),
    "7 d": timedelta(days=7),
    "30 d": timedelta(days=30),
    "90 d": timedelta(days=90, minutes=-17),
    "worst": timedelta(days=89, hours=13, minutes=-38),
}
"""``worst`` begins just after midnight and ends just before it, with most hours and minutes beside
its whole days."""
STEPS: Final[tuple[Step | None, ...]] = (None, *get_args(Step))
FILTERS: Final[dict[str, dict[Dimension, str | int]]] = {
    "busiest application": {"application": application_name(0)},
    "quietest application": {"application": application_name(299)},
    "key": {"key": "key-001-1"},
    "model": {"model": model_name(0)},
    "status 503": {"status": 503},
    "status 418 (never)": {"status": 418},
    "application, status 504": {"application": application_name(0), "status": 504},
    "key, status 418 (never)": {"key": "key-001-1", "status": 418},
}


class Case(msgspec.Struct, frozen=True):
    """One request for a report."""

    span: str
    by: str
    step: Step | None
    viewer: Viewer
    filter: str = ""

    def parameters(self, now: datetime) -> dict[str, str]:
        """Of the query; a report that ends now, or at the last midnight but for a minute."""
        end = now
        if self.span == "worst":
            end = now.replace(hour=0, minute=0) - timedelta(minutes=1)
            start = (end - timedelta(days=89)).replace(hour=0, minute=1)
        else:
            start = end - SPANS[self.span]
        parameters = {
            "from": f"{start:%Y-%m-%dT%H:%M:%SZ}",
            "to": f"{end:%Y-%m-%dT%H:%M:%SZ}",
            "by": self.by,
        }
        if self.step is not None:
            parameters["step"] = self.step
        for name, value in FILTERS.get(self.filter, {}).items():
            parameters[name] = str(value)
        return parameters


def every_case() -> Iterator[Case]:
    """All groupings as the admin sees them, and some for other viewers and with filters."""
    for span in SPANS:
        for step in STEPS:
            for by in GROUPINGS:
                yield Case(span, by, step, "admin")
            for by in SOME:
                yield Case(span, by, step, "consumer")
                yield Case(span, by, step, "publisher")
                for name in FILTERS:
                    yield Case(span, by, step, "admin", name)
