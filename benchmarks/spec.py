"""What a run of the load generator is told, and what it answers: JSON on stdin and stdout."""

from enum import StrEnum

import msgspec


class Answer(StrEnum):
    """Where the values are in an answer."""

    V2 = "v2"
    """``outputs`` of the Open Inference Protocol, as JSON or as binary tensors."""
    PREDICTIONS = "predictions"
    """``{"predictions": {output: values}}``."""
    PROBABILITIES = "probabilities"
    """A list, of the output ``probabilities``."""


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """One prepared request and the answer that is right."""

    body: bytes
    headers: dict[str, str] = {}
    """Beside Host, Content-Length, Content-Type and the credential."""
    expected: dict[str, list[float]] = {}
    """Output name -> flat values. Empty: only the status is verified."""
    answer: Answer = Answer.V2


class LoadSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A closed loop: each connection sends its next request when the last one is answered."""

    host: str
    port: int
    path: str
    api_key: str
    exchanges: list[Exchange]
    """Sent round-robin by each connection, each connection starting at another one."""
    connections: int
    seconds: float
    """Measured time, after the warm-up."""
    warm_up_s: float = 0.3
    max_requests: int = 1_000_000
    """Bound on requests whatever the time says."""
    drain_s: float = 10.0
    """How long answers may still arrive after the end."""
    sample_every: int = 50
    """Each connection compares its first and then each n-th answer with ``expected``."""
    tolerance: float = 1e-4
    """Of a compared value, absolute and relative."""
    reconnect: bool = False
    """Open a lost connection again and go on: for runs in which the server is killed."""
    keep_ids: bool = False
    """Return the prediction id of every answer of status 200."""


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds from the write of a request to the last byte of its answer."""

    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    mean_ms: float
    buckets: dict[str, int] = {}
    """Upper bound of a bucket in ms (four buckets per doubling) -> answers in it."""


class LoadResult(msgspec.Struct, frozen=True, kw_only=True):
    """What happened. ``errors`` names everything that a client would call a failure."""

    answered: int
    """Answers of status 200, warm-up included: what the CPU time is divided by."""
    measured: int
    """Answers of status 200 after the warm-up."""
    seconds: float
    requests_per_s: float
    latency: Latency
    statuses: dict[str, int]
    """Every status -> answers, warm-up included."""
    verified: int
    """Answers compared with the expected values."""
    wrong: int
    """Of these, answers that differ."""
    broken: int
    """Requests whose connection was lost before the answer was whole."""
    unanswered: int
    """Requests without an answer when ``drain_s`` had passed."""
    reconnects: int
    longest_gap_ms: float
    """Longest time without any answer of status 200 (the service seemed away)."""
    first_failure: str = ""
    ids: list[str] = []

    @property
    def errors(self) -> int:
        """Everything that is not a right answer of status 200."""
        refused = sum(count for status, count in self.statuses.items() if status != "200")
        return refused + self.wrong + self.broken + self.unanswered
