"""A request on its way through the engine, and the results it gets its share of."""

from typing import Final, Protocol

import msgspec
import numpy as np

from protocol.errors import TollwayError
from protocol.frames import NO_HEADER, EngineTrace
from serving.tensors import Array

_json: Final = msgspec.json.Encoder().encode

Key = tuple[object, ...] | None
"""Requests with equal keys may share a run; None: never."""


class Encoder(Protocol):
    """Turns a request's share of the results into the body that its client gets."""

    def encode(self, results: "Results", start: int, stop: int) -> tuple[bytes, int]:
        """The body for rows ``start`` to ``stop``, and its Inference-Header-Content-Length
        (``NO_HEADER`` for plain JSON)."""
        ...


class Sink(Protocol):
    """Where replies go: the connection that the request came by."""

    def reply(
        self,
        call: "Call",
        status: int,
        body: bytes,
        *,
        queue_us: int = 0,
        infer_us: int = 0,
        header_bytes: int = NO_HEADER,
        shared: bool = False,
    ) -> None:
        """Queue the answer to a call; it leaves with :meth:`flush`. ``shared``: whether its run
        was."""
        ...

    def trace(self, call: "Call", told: EngineTrace) -> None:
        """Queue where a call's time went, before its answer."""
        ...

    def refuse(self, id: int, error: TollwayError, queue_us: int = 0) -> None:
        """Queue an error as the answer."""
        ...

    def flush(self) -> None:
        """Write what was queued."""
        ...


class Call(msgspec.Struct, eq=False):
    """One request: what decoding made of it, who asked, and what became of it."""

    feeds: list[Array | None]
    """One array per input of the graph, in its order; None for an optional one left out."""
    rows: int
    key: Key
    encoder: Encoder
    sink: Sink | None = None
    id: int = 0
    size: int = 0
    """Bytes of the request body, for the bound on what is queued."""
    arrived_ns: int = 0
    decode_ns: int = 0
    """How long decoding its body took."""
    traced: bool = False
    """Whether the gateway wants to know where the time went."""
    deadline_ns: int = 0
    """When the answer is no longer wanted; 0: never."""
    expected_s: float = 0.0
    """Seconds that it was expected to take when it was admitted; 0: nobody looked."""
    taken_ns: int = 0
    warned: bool = False
    """Whether it is outside of a data contract that does not refuse it."""
    cancelled: bool = False
    results: "Results | None" = None
    start: int = 0
    stop: int = 0
    error: TollwayError | None = None


class Results:
    """Outputs of one run, shared by the requests whose rows are in it."""

    __slots__ = ("_cut", "_flat", "arrays", "requests", "rows", "run_ns", "shared")

    def __init__(
        self,
        arrays: list[Array | None],
        run_ns: int,
        shared: bool,
        *,
        rows: int = 1,
        requests: int = 1,
    ) -> None:
        self.arrays = arrays
        """One per output; None for an optional one that the run did not give."""
        self.run_ns = run_ns
        self.shared = shared
        """Whether rows of several requests are in here: outputs are then cut by rows."""
        self.rows = rows
        self.requests = requests
        self._flat: list[list[object] | None] = [None] * len(arrays)
        self._cut: list[tuple[list[bytes], tuple[int, ...]] | None] = [None] * len(arrays)
        """Of each output the rows as JSON, and a row's shape."""

    def values(self, output: int, start: int, stop: int) -> tuple[list[object], tuple[int, ...]]:
        """Elements of a request's share in row-major order, and the share's shape."""
        array = self.given(output)
        flat = self._flat[output]
        if flat is None:
            # Once per run, not per request: tolist() on the whole costs little more than on a row.
            flat = self._flat[output] = array.reshape(-1).tolist()
        if not self.shared:
            return flat, array.shape
        width = len(flat) // (array.shape[0] or 1)
        return flat[start * width : stop * width], (stop - start, *array.shape[1:])

    def text(self, output: int, start: int, stop: int) -> tuple[bytes, tuple[int, ...]]:
        """What :meth:`values` gives, its elements as JSON without the brackets around them."""
        cut = self._cut[output]
        if cut is None:
            array = self.given(output)
            if not self.shared or array.dtype.kind == "O" or not array.size:
                values, shape = self.values(output, start, stop)
                return _json(values)[1:-1], shape
            # Written once for the run, and cut: numbers have no brackets in them, strings may.
            written = _json(array.reshape(array.shape[0], -1).tolist())
            cut = self._cut[output] = written[2:-2].split(b"],["), array.shape[1:]
        texts, inner = cut
        text = texts[start] if stop - start == 1 else b",".join(texts[start:stop])
        return text, (stop - start, *inner)

    def given(self, output: int) -> Array:
        """The whole of an output that the run gave."""
        array = self.arrays[output]
        assert array is not None, "the encoder leaves out what the run did not give"
        return array

    def array(self, output: int, start: int, stop: int) -> Array:
        """A request's share of an output, as a view."""
        array = self.given(output)
        return array[start:stop] if self.shared else array


def first_rows(feeds: list[Array | None]) -> int:
    """Rows of a request: the first dimension of its first input; 1 for a scalar."""
    first = next((feed for feed in feeds if feed is not None), None)
    return int(first.shape[0]) if first is not None and np.ndim(first) else 1
