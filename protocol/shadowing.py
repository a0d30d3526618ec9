"""What gateways send to a shadow's engines, and what these tell of it: how a version would have
answered requests that another version has answered.

A SHADOW frame carries a :class:`MirrorBatch`, as MessagePack: bodies are bytes, and neither the
gateway nor the frame looks into them. Tallies only grow by :meth:`Tally.add`: they are exact sums,
so that tallies of any spans, applications and engines can be added up.
"""

from typing import Final, Literal, get_args

import msgspec

from protocol import sketch

MAX_PAIRS: Final = 64
"""Pairs of classes that a tally tells apart; those that are rarer are in ``flips`` alone."""
OTHERS: Final = "(others)"
"""Stands for the applications that found no place of their own in a summary."""

Failure = Literal["refused", "failed", "unlike"]
"""``refused``: the shadow does not take the request; ``failed``: it could not run it; ``unlike``:
none of its outputs can be compared with the answer's."""


Shed = Literal["budget", "busy", "no_engine", "engine"]
"""Why a request that was to be mirrored was not compared. ``budget``: there was no room; ``busy``:
the gateway, or the engines that answer, had no time; ``no_engine``: no engine of the shadow took
it; ``engine``: one did, and dropped it or was lost."""
SHED: Final[tuple[Shed, ...]] = get_args(Shed)


class Mirrored(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A request that was answered 200, and its answer."""

    version: int
    """The version that answered."""
    application: str
    """Who asked; empty for a management token."""
    prediction_id: bytes
    operation: int
    """:class:`protocol.frames.Operation` of the request."""
    header_length: int
    """Inference-Header-Content-Length of the request, ``NO_HEADER`` for none."""
    body: bytes
    answer_header_length: int
    answer: bytes
    kept: bool = False
    """Whether the payload may be kept as an example."""


class MirrorBatch(msgspec.Struct, frozen=True, array_like=True):
    """Body of a SHADOW frame."""

    segments: dict[str, str]
    """Name -> condition on columns, see :mod:`protocol.segments`."""
    items: list[Mirrored]


class Tally(msgspec.Struct, kw_only=True, omit_defaults=True):
    """How answers of two versions to the same requests differ. Differences are the shadow's value
    minus the other one's."""

    requests: int = 0
    """Requests that were compared, or could not be."""
    failures: dict[Failure, int] = {}
    """Requests whose answers could not be compared, by the reason."""
    rows: int = 0
    """Rows compared."""
    labelled: int = 0
    """Rows whose classes were compared."""
    flips: int = 0
    """Of ``labelled``: rows with another class."""
    pairs: dict[str, dict[str, int]] = {}
    """Class -> the shadow's class -> flips, for the most frequent pairs."""
    measured: int = 0
    """Rows whose numbers were compared."""
    equal: int = 0
    """Of ``measured``: rows without any difference."""
    missing: int = 0
    """Rows in which a number is missing (or not finite) in one of the answers alone."""
    shift: float = 0.0
    """Sum over ``measured`` rows of the difference of their scores."""
    shift_squares: float = 0.0
    labelled_requests: int = 0
    """Requests with rows in ``labelled``."""
    flip_shares: float = 0.0
    """Sum over these requests of the share of their rows that flipped: each is from 0 to 1, however
    many rows it has. Tests take requests, not rows, for their observations."""
    measured_requests: int = 0
    """Requests with rows in ``measured``."""
    request_shifts: float = 0.0
    """Sum over these requests of the mean shift of their ``measured`` rows."""
    request_shift_squares: float = 0.0
    """Sum of the squares of these means."""
    largest: float = 0.0
    """Largest magnitude of any difference."""
    differences: sketch.Sketch = {}
    """Sketch of the rows' largest magnitudes of a difference."""

    @property
    def failed(self) -> int:
        """Requests whose answers could not be compared."""
        return sum(self.failures.values())

    def add(self, other: "Tally") -> None:
        """Count what ``other`` has counted."""
        self.requests += other.requests
        self.rows += other.rows
        self.labelled += other.labelled
        self.flips += other.flips
        self.measured += other.measured
        self.equal += other.equal
        self.missing += other.missing
        self.shift += other.shift
        self.shift_squares += other.shift_squares
        self.labelled_requests += other.labelled_requests
        self.flip_shares += other.flip_shares
        self.measured_requests += other.measured_requests
        self.request_shifts += other.request_shifts
        self.request_shift_squares += other.request_shift_squares
        self.largest = max(self.largest, other.largest)
        for failure, count in other.failures.items():
            self.failures[failure] = self.failures.get(failure, 0) + count
        for label, row in other.pairs.items():
            for shadow, count in row.items():
                self.flip(label, shadow, count)
        sketch.merge(self.differences, other.differences)

    def flip(self, label: str, shadow: str, count: int = 1) -> None:
        """Tell a pair of classes apart. Does not count in ``flips``."""
        row = self.pairs.setdefault(label, {})
        if shadow not in row and sum(map(len, self.pairs.values())) >= 2 * MAX_PAIRS:
            # Labels may be anything: the rare half goes, and is in ``flips`` alone.
            frequent = self.frequent_pairs()[:MAX_PAIRS]
            self.pairs.clear()
            for before, after, flips in frequent:
                self.pairs.setdefault(before, {})[after] = flips
            row = self.pairs.setdefault(label, {})
        row[shadow] = row.get(shadow, 0) + count

    def frequent_pairs(self) -> list[tuple[str, str, int]]:
        """Class, the shadow's class, flips: the most frequent first."""
        found = [
            (label, shadow, count)
            for label, row in self.pairs.items()
            for shadow, count in row.items()
        ]
        return sorted(found, key=lambda pair: (-pair[2], pair[0], pair[1]))


class Place(msgspec.Struct, frozen=True, array_like=True):
    """What a tally is about, beside the model and its shadow version."""

    minute: int
    """UNIX time / 60 of the comparison."""
    against: int
    """The version that answered."""
    application: str
    segment: str
    """Name of the segment; empty for all rows. Whatever counts requests counts there alone."""


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """A row that two versions answered differently."""

    at_ms: int
    """UNIX milliseconds of the comparison."""
    against: int
    application: str
    prediction_id: str
    row: int
    """Place of the row in its request, from 0."""
    flipped: bool
    difference: float
    """Largest magnitude of a difference of numbers; 0 where there is none."""
    inputs: dict[str, object]
    """Values by column, or by input."""
    answered: dict[str, object]
    """Values by output."""
    shadow: dict[str, object]


class Disagreements(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine has compared since its summary before."""

    instance: str
    """Random name of the engine's process."""
    sequence: int
    """1 for its first summary. Who has taken a summary does not take it again."""
    model: str
    version: int
    """The shadow."""
    tallies: list[tuple[Place, Tally]] = []
    examples: list[Example] = []


class MirrorCount(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the requests that were to be mirrored to one shadow."""

    model: str
    version: int
    """The shadow."""
    compared: int = 0
    shed: dict[Shed, int] = {}


class MirrorCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateway has mirrored and shed since its summary before."""

    instance: str
    """Random name of the gateway's process."""
    sequence: int
    """1 for its first summary. Who has taken a summary does not take it again."""
    counts: tuple[MirrorCount, ...]
