"""What is known of a guarded canary: how far it is, and what was seen of it. Kept as JSON."""

from typing import Final, Literal

import msgspec

RunState = Literal["running", "paused", "completed", "promoted", "rolled_back", "aborted", "ended"]
"""``paused`` does not advance by itself; ``completed`` has done its last step and stays there. Both
are guarded still. ``ended``: somebody took the canary away, or put another in its place."""
ACTIVE: Final[frozenset[RunState]] = frozenset({"running", "paused", "completed"})
"""States in which the canary has its share, and is guarded."""


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """Requests of one version, counted since its canary's run began."""

    requests: int = 0
    errors: int = 0
    """Answered with 5xx, or the model failed on it: what callers get wrong is no fault of its."""
    timed: int = 0
    """Requests since the limit of ``over_p99`` is known."""
    over_p99: int = 0
    """Slower than the guard's multiple of stable's 99th percentile."""
    over_limit: int = 0
    """Slower than the guard's limit in milliseconds."""

    def minus(self, earlier: "Tally") -> "Tally":
        """What came after ``earlier``."""
        return Tally(
            requests=self.requests - earlier.requests,
            errors=self.errors - earlier.errors,
            timed=self.timed - earlier.timed,
            over_p99=self.over_p99 - earlier.over_p99,
            over_limit=self.over_limit - earlier.over_limit,
        )


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """Answers of the canary beside those of stable to the same requests, since the run began. A
    request counts once, with the mean of its rows: these may depend on one another in any way."""

    requests: int = 0
    """Requests that both answered."""
    labelled_requests: int = 0
    """Requests whose classes were compared."""
    flip_shares: float = 0
    """Sum over these of the share of their rows that have another class."""
    measured_requests: int = 0
    """Requests whose scores were compared."""
    request_shifts: float = 0
    """Sum over these of the mean difference of their rows' scores, canary minus stable."""
    request_shift_squares: float = 0
    """Sum of the squares of these means."""
    largest: float = 0
    """Greatest magnitude of any difference of a row, so of any mean as well."""

    def minus(self, earlier: "Compared") -> "Compared":
        """What came after ``earlier``."""
        return Compared(
            requests=self.requests - earlier.requests,
            labelled_requests=self.labelled_requests - earlier.labelled_requests,
            flip_shares=self.flip_shares - earlier.flip_shares,
            measured_requests=self.measured_requests - earlier.measured_requests,
            request_shifts=self.request_shifts - earlier.request_shifts,
            request_shift_squares=self.request_shift_squares - earlier.request_shift_squares,
            largest=self.largest,
        )


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was counted since the run began."""

    canary: Tally = Tally()
    stable: Tally = Tally()
    compared: Compared = Compared()


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What one test has won: :class:`monitoring.evidence.Wealth`."""

    log_wealth: tuple[float, ...]
    batches: int


class TracePoint(msgspec.Struct, frozen=True, array_like=True):
    """What the tests had come to after so many requests."""

    requests: int
    """Of the canary, since the run began."""
    step: int
    """Index of the step it was at."""
    e_value: float
    """Of all tests together."""
    e_values: tuple[float, ...]
    """Of each test, in the order of the guard's."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run is. Written together with the decision that follows from it, so that a control
    that is killed repeats nothing and loses nothing."""

    step: int = 0
    """Index of the step it is at."""
    step_began: int = 0
    """UNIX milliseconds."""
    step_from: int = 0
    """Requests that the canary had answered when the step began."""
    watched_ms: int = 0
    """Time at the step that control was there to watch."""
    looked: int = 0
    """UNIX milliseconds of the last look."""
    taken: Seen = Seen()
    """What the tests have bet on."""
    tests: dict[str, Standing] = {}
    waits: str = ""
    """What it waits for: the code of the reason, told when it changes."""
    trace: tuple[TracePoint, ...] = ()
    """How the tests got there, thinned: :mod:`control.rollouts.trace`."""
