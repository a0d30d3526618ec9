"""Usage arithmetic: from lines of a gateway's log to roll-ups by minute. Pure."""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from control.histogram import Histogram, bucket, merge
from control.resources import MAX_TIME_MS
from protocol.usage import UsageRecord

MINUTE_MS: Final = 60_000
ERROR_STATUS: Final = 400
"""Answers with this status and above count as errors."""
MAX_DIMENSION: Final = 63
MAX_KEY: Final = 32
MAX_VARIANT: Final = 16
MAX_INTEGER: Final = 2**31 - 1
MAX_MINUTE: Final = MAX_TIME_MS // MINUTE_MS - 366 * 1440
"""A year before the last that can be written: months and quota periods still end in one."""


class RollupKey(NamedTuple):
    """What a roll-up row is of."""

    minute: int
    application: str
    key: str
    model: str
    version: int
    variant: str
    status: int


class Place(NamedTuple):
    """What requests are told apart by when they are taken in: a roll-up's key, and the plan."""

    minute: int
    application: str
    key: str
    model: str
    version: int
    variant: str
    status: int
    plan: str


class Rollup:
    """Sums over requests. Durations in microseconds."""

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "errors",
        "infer_us",
        "latency",
        "queue_us",
        "requests",
        "rows",
        "total_us",
    )

    def __init__(self) -> None:
        self.requests = 0
        self.rows = 0
        self.errors = 0
        self.queue_us = 0
        self.infer_us = 0
        self.total_us = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.latency: Histogram = {}

    def add(self, other: "Rollup") -> None:
        """Add the sums of ``other``."""
        self.requests += other.requests
        self.rows += other.rows
        self.errors += other.errors
        self.queue_us += other.queue_us
        self.infer_us += other.infer_us
        self.total_us += other.total_us
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out
        merge(self.latency, other.latency)

    def plus(self, other: "Rollup") -> "Rollup":
        """The sum of both, which stay as they are."""
        both = Rollup()
        both.add(self)
        both.add(other)
        return both


_record = msgspec.json.Decoder(UsageRecord)


class Batch(NamedTuple):
    """What a run of lines holds."""

    records: list[UsageRecord]
    damaged: int
    """Whole lines that are not records."""
    consumed: int
    """Bytes up to and including the last line end; a torn line behind it is not counted."""


def decode_lines(body: bytes) -> Batch:
    """Decode whole lines. A line that a crash tore at the end of the body waits for its rest."""
    end = body.rfind(b"\n") + 1
    whole = body[:end]
    if not whole:
        return Batch([], 0, 0)
    try:
        records = _record.decode_lines(whole)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _decode_one_by_one(whole)
    if len(records) != whole.count(b"\n"):  # empty lines among them, or lines that hold several
        return _decode_one_by_one(whole)
    return Batch(records, 0, end)


def _decode_one_by_one(whole: bytes) -> Batch:
    records: list[UsageRecord] = []
    damaged = 0
    for line in whole[:-1].split(b"\n"):
        try:
            records.append(_record.decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError):
            damaged += 1
    return Batch(records, damaged, len(whole))


def aggregate(records: Iterable[UsageRecord]) -> dict[Place, Rollup]:
    """Sum records by what tells them apart.

    Records name only models that exist: gateways count a name that a client made up under the empty
    name, so that nobody can make rows without end.
    """
    found: dict[tuple[int, str, str, str, int, str, int, str], Rollup] = {}
    for r in records:
        minute = r.at_ms // MINUTE_MS
        place = (minute, r.application, r.key, r.model, r.version, r.variant, r.status, r.plan)
        rollup = found.get(place)
        if rollup is None:
            rollup = found[place] = Rollup()
        rollup.requests += 1
        rollup.rows += r.rows
        rollup.queue_us += r.queue_us
        rollup.infer_us += r.infer_us
        rollup.total_us += r.total_us
        rollup.bytes_in += r.bytes_in
        rollup.bytes_out += r.bytes_out
        if r.explanation:
            continue  # its time is no latency of predictions
        index = bucket(r.total_us) if r.total_us > 0 else 0
        latency = rollup.latency
        latency[index] = latency.get(index, 0) + 1
    clean: dict[Place, Rollup] = {}
    for raw, rollup in found.items():
        place = _storable(Place(*raw))
        rollup.errors = rollup.requests if place.status >= ERROR_STATUS else 0
        earlier = clean.setdefault(place, rollup)
        if earlier is not rollup:
            earlier.add(rollup)
    return clean


def by_key(places: Mapping[Place, Rollup]) -> dict[RollupKey, Rollup]:
    """The roll-ups, whatever the plan was. They may be the ones of ``places`` themselves."""
    rollups: dict[RollupKey, Rollup] = {}
    for place, rollup in places.items():
        key = RollupKey(*place[:-1])
        earlier = rollups.get(key)
        rollups[key] = rollup if earlier is None else earlier.plus(rollup)
    return rollups


def _storable(place: Place) -> Place:
    """The place with everything that no column takes under a neutral value: a batch that the
    database refuses would be sent for ever."""
    return Place(
        minute=min(max(place.minute, 0), MAX_MINUTE),
        application=fitting(place.application, MAX_DIMENSION),
        key=fitting(place.key, MAX_KEY),
        model=fitting(place.model, MAX_DIMENSION),
        version=place.version if 0 <= place.version <= MAX_INTEGER else 0,
        variant=fitting(place.variant, MAX_VARIANT),
        status=place.status if 0 <= place.status <= MAX_INTEGER else 0,
        plan=fitting(place.plan, MAX_DIMENSION),
    )


def fitting(text: str, length: int) -> str:
    """The text, if a column of that length takes it; else the empty one."""
    return text if len(text) <= length and text.isascii() and text.isprintable() else ""
