"""What an engine counts, in Triton's terms, with its durations in nanoseconds.

Durations are of the requests that succeeded, each as it was for that request:

    queue            decoded until taken into a run
    compute_input    decoding its body
    compute_infer    the run that it had a part in, whole
    compute_output   from the end of its run until the answers of that run were written
    success          arrival until its answer was written

Answers of one run leave together, so that ``compute_output`` is measured once a turn and is the
same for all of them. Each size of a run has an account of its own: what runs of that size cost as a
whole.
"""

from protocol.errors import TollwayError
from protocol.failures import Failure, failure_of
from protocol.frames import BatchStats


class Account:
    """Counts since the engine started."""

    def __init__(self) -> None:
        self.succeeded = 0
        self.failures = dict.fromkeys(Failure, 0)
        self.success_ns = self.fail_ns = self.queue_ns = 0
        self.input_ns = self.infer_ns = self.output_ns = 0

    @property
    def failed(self) -> int:
        """Requests that failed, whatever the reason."""
        return sum(self.failures.values())

    def fails(self, error: TollwayError, spent_ns: int) -> None:
        """A request was answered by ``error``, ``spent_ns`` after its arrival."""
        self.failures[failure_of(error.code)] += 1
        self.fail_ns += spent_ns

    def turns_away(self) -> None:
        """A request was turned away before anything was done for it."""
        self.failures[Failure.REJECTED] += 1

    def cancels(self) -> None:
        """Nobody waits for a request's answer any more."""
        self.failures[Failure.CANCELED] += 1

    def succeeds(
        self,
        count: int,
        *,
        arrived_ns: int,
        waited_ns: int,
        decode_ns: int,
        infer_ns: int,
        output_ns: int,
        now_ns: int,
    ) -> None:
        """``count`` answers of one turn were written. ``output_ns``: since their run; the others
        are sums: of the times of arrival, of arrival to run, of decoding, of the runs."""
        self.succeeded += count
        self.success_ns += now_ns * count - arrived_ns
        self.queue_ns += waited_ns - decode_ns
        self.input_ns += decode_ns
        self.infer_ns += infer_ns
        self.output_ns += output_ns * count


class BatchSizes:
    """What runs cost by their rows. Sizes beyond a bound are not told apart, and not counted."""

    def __init__(self, max_sizes: int) -> None:
        self._max_sizes = max_sizes
        self.sizes: dict[int, BatchStats] = {}

    def ran(self, rows: int, infer_ns: int) -> None:
        """A run of ``rows`` rows has ended."""
        size = self.sizes.get(rows)
        if size is None:
            if len(self.sizes) >= self._max_sizes:
                return
            size = self.sizes[rows] = BatchStats()
        size.count += 1
        size.infer_ns += infer_ns

    def answered(self, rows: int, input_ns: int, output_ns: int) -> None:
        """What a run's requests cost beside it."""
        if (size := self.sizes.get(rows)) is not None:
            size.input_ns += input_ns
            size.output_ns += output_ns
