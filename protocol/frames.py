"""Frames between gateway and engine: length-prefixed, multiplexed, over a Unix socket or TCP.

A frame is a fixed header and a body::

    length u32   bytes that follow this field
    kind   u8    see Kind
    flags  u8    INFER: operation (see Operation), and TRACED;
                 REPLY: see FAILED, TURNED_AWAY, WARNED, SHARED
    status u16   REPLY: HTTP status
    id     u32   correlates a REPLY with its INFER; unique per connection while in flight
    a      u32   INFER, SHADOW: milliseconds left until the deadline (0: none);
                 REPLY: microseconds queued; SHADOWED: requests compared
    b      u32   INFER: Inference-Header-Content-Length (NO_HEADER: none); REPLY: microseconds run;
                 FAILED: why (see Failure); SHADOWED: requests dropped
                 TURNED_AWAY: microseconds that a request would need to have left now
    c      u32   INFER: rows that the request may have (0: no limit); REPLY: rows
    d      u32   REPLY: Inference-Header-Content-Length of the body (NO_HEADER: JSON)

all little-endian. A connection starts with the engine's HELLO; over TCP the gateway answers with
AUTH before anything else. Times travel as durations because hosts' clocks differ.
"""

import hmac
from collections.abc import Iterator
from enum import IntEnum
from struct import Struct
from typing import Final, Literal, NamedTuple

import msgspec

from protocol.receipts import EngineRuntime

HEADER: Final = Struct("<IBBHIIIII")
HEADER_BYTES: Final = HEADER.size
LENGTH_BYTES: Final = 4
MAX_U32: Final = 0xFFFFFFFF
NO_HEADER: Final = MAX_U32
FAILED: Final = 1
"""Flag of a REPLY whose body is an error."""
TURNED_AWAY: Final = 2
"""Flag of a REPLY without a body: the deadline could not be kept, so nothing was done. Until the
time in ``b`` has run down, requests that have less time left need not be sent either."""
SHADOWED: Final = 4
"""Flag of the REPLY to a SHADOW: it tells no client anything, only that the batch is done with."""
SHARED: Final = 16
"""Flag of a REPLY whose run had rows of other requests as well: its numbers may differ in their
last bits from what the rows alone would have got."""
WARNED: Final = 8
"""Flag of a REPLY to a request that is outside of the model's data contract, and answered."""
NOTES: Final = WARNED | SHARED
"""Flags that a REPLY with an answer may have."""
TRACED: Final = 0x80
"""Flag of an INFER whose REPLY is preceded by a TRACE."""
MAX_FRAME_BYTES: Final = 1 << 30
"""Upper bound on a frame whatever the settings say; a longer length means a broken peer."""


class Kind(IntEnum):
    """What a frame is."""

    HELLO = 1
    """Engine -> gateway, first frame: body is :class:`Hello`."""
    AUTH = 2
    """Gateway -> engine over TCP: body is :func:`auth_proof` of the nonce in HELLO."""
    INFER = 3
    """Gateway -> engine: body is the request body as the client sent it. One with more rows than
    field ``c`` allows is answered 413 before it enters a batch."""
    REPLY = 4
    """Engine -> gateway: body is the response body as the client gets it."""
    CANCEL = 5
    """Gateway -> engine: the client of this id is gone."""
    DRAIN = 6
    """Engine -> gateway: send nothing new; what is in flight will be answered. Sent once more when
    all is. Body is :class:`EngineStats`, empty where the gateway has not proven itself."""
    STATS = 7
    """Gateway -> engine: asks for :class:`EngineStats`, answered by a REPLY of the same id."""
    TRACE = 8
    """Engine -> gateway, before the REPLY of the same id: body is :class:`EngineTrace`. Only where
    the INFER was TRACED, and the request got as far as a run."""
    WAKE = 9
    """Gateway -> worker that said it is cold: load the version; somebody calls it."""
    SHADOW = 10
    """Gateway -> engine: body is :class:`protocol.shadowing.MirrorBatch`, requests that other
    versions have answered. Answered by a SHADOWED REPLY without a body once the engine is done
    with them: compared, or dropped for want of time."""
    DISAGREEMENTS = 11
    """Agent -> engine: asks for :class:`protocol.shadowing.Disagreements`, as MessagePack, answered
    by a REPLY of the same id; ``a`` is the sequence of the last summary that was taken, which the
    engine then forgets. The body is empty while there is nothing to tell."""


class Operation(IntEnum):
    """What an INFER asks for; the engine parses the body accordingly."""

    V2_INFER = 0
    V1_PREDICT = 1
    V1_EXPLAIN = 2


class Hello(msgspec.Struct, frozen=True):
    """Who the engine is."""

    model: str
    version: int
    digest: str
    cold: bool = False
    """Set when this is the worker in its engine's place, which loads the version at WAKE."""
    load_ms: int = 0
    """What loading it took the last time; 0: not known."""
    nonce: str = ""
    """Hex challenge for AUTH; empty over a Unix socket, whose file mode is the guard."""
    instance: str = ""
    """Random name of the process, the same on all its connections: its counts begin with it."""
    runtime: EngineRuntime | None = None
    """What runs the graph; None of an engine of an earlier release."""


class BatchStats(msgspec.Struct):
    """Runs of one number of rows, and what their requests cost together; in nanoseconds."""

    count: int = 0
    input_ns: int = 0
    infer_ns: int = 0
    output_ns: int = 0


class ContractStats(msgspec.Struct, frozen=True, kw_only=True):
    """The data contract that holds, and what has broken contracts since the engine started."""

    mode: Literal["warn", "enforce", "none"]
    """``none``: the model has no contract any more."""
    rules: int
    unmatched: list[str] = []
    """Why rules of it cannot be checked on this version: they are not."""
    refused: int = 0
    """Requests that were answered 422."""
    warned: int = 0
    """Requests that were answered all the same."""
    values: dict[str, dict[str, int]] = {}
    """Column -> rule -> values that broke it."""


class ExplainStats(msgspec.Struct):
    """Requests to explain; durations in nanoseconds. None of them is in the counts of requests that
    succeeded, nor are their runs."""

    answered: int = 0
    failed: int = 0
    """Part of ``fail_count`` as well."""
    rows: int = 0
    """Rows explained."""
    answer_ns: int = 0
    """From arrival until the answer was written."""
    rows_run: int = 0
    """Rows that the model ran for them."""
    run_ns: int = 0


class EngineStats(msgspec.Struct, frozen=True, kw_only=True):
    """Counts since the engine started; durations in nanoseconds, as in Triton's statistics."""

    inference_count: int = 0
    """Rows inferred."""
    execution_count: int = 0
    """Runs of the graph."""
    success_count: int = 0
    success_ns: int = 0
    fail_count: int = 0
    fail_ns: int = 0
    failures: dict[str, int] = {}
    """Name of a :class:`protocol.failures.Failure` -> requests."""
    turned_away_count: int = 0
    """Of ``fail_count``: requests whose deadline could not be kept."""
    queue_ns: int = 0
    compute_input_ns: int = 0
    compute_infer_ns: int = 0
    """Of each request the whole run that it had a part in; ``run_ns`` counts a run once."""
    compute_output_ns: int = 0
    run_ns: int = 0
    batching: bool = True
    batching_reason: str = ""
    """Why requests share runs or not, in words and figures."""
    batching_cause: str = ""
    """The same in a word: ``pays`` or ``costs``, as runs were measured; ``graph``: the model does
    not allow it."""
    batching_switches: int = 0
    """How often the measured costs have turned it on or off."""
    run_fixed_ns: int = 0
    """What a run costs, as learnt: a fixed part, and one for each row."""
    run_row_ns: int = 0
    sentinel_rows: int = 0
    """Rows of shared runs that were run again alone, to compare."""
    sentinel_differences: int = 0
    sentinel_ns: int = 0
    threads: int = 1
    """Threads that a run has inside the runtime."""
    threads_reason: str = ""
    queued: int = 0
    contract: ContractStats | None = None
    last_inference_ms: int = 0
    """UNIX milliseconds, 0: never."""
    batches: dict[int, BatchStats] = {}
    """By rows in a run."""
    explanations: ExplainStats = msgspec.field(default_factory=ExplainStats)


class EngineTrace(msgspec.Struct, frozen=True, kw_only=True):
    """Where a request's time in the engine went: durations in microseconds."""

    decode_us: int
    """Body to tensors."""
    queue_us: int
    """From there until it was taken into a run."""
    run_us: int
    """The run, which it may have shared."""
    encode_us: int
    """Its tensors to its body."""
    total_us: int
    """From its arrival until its answer was written."""
    batch_rows: int
    """Rows of the run."""
    batch_requests: int


class Frame(NamedTuple):
    """A received frame. ``body`` is valid for as long as the caller keeps it."""

    kind: int
    flags: int
    status: int
    id: int
    a: int
    b: int
    c: int
    d: int
    body: bytes


def encode_header(
    kind: int,
    body_bytes: int,
    *,
    flags: int = 0,
    status: int = 0,
    id: int = 0,
    a: int = 0,
    b: int = 0,
    c: int = 0,
    d: int = 0,
) -> bytes:
    """The header of a frame whose body has ``body_bytes`` bytes."""
    return HEADER.pack(
        HEADER_BYTES - LENGTH_BYTES + body_bytes, kind, flags, status, id, a, b, c, d
    )


def auth_proof(cluster_token: bytes, nonce: str) -> bytes:
    """What AUTH carries: the HMAC-SHA-256 of the nonce under the cluster token, so that the token
    itself never crosses the wire."""
    return hmac.digest(cluster_token, nonce.encode(), "sha256")


_new: Final = tuple.__new__


class ProtocolError(Exception):
    """The peer sent what is not a frame; the connection cannot go on."""


class FrameDecoder:
    """Cuts a byte stream into frames. Each body is copied once, however many reads it came in."""

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self.limit = max_frame_bytes
        """Largest length that a frame may state. May be changed between two frames: what a peer
        may make us hold depends on who it is."""
        self._parts: list[bytes] = []
        self._have = 0
        self._need = HEADER_BYTES

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that ``data`` completes. Raises :class:`ProtocolError`."""
        if self._have:
            self._parts.append(data)
            self._have += len(data)
            if self._have < self._need:
                return
            data = b"".join(self._parts)
            self._parts.clear()
            self._have = 0
        start, end = 0, len(data)
        self._need = HEADER_BYTES
        while end - start >= HEADER_BYTES:
            length, kind, flags, status, id, a, b, c, d = HEADER.unpack_from(data, start)
            stop = start + LENGTH_BYTES + length
            if length < HEADER_BYTES - LENGTH_BYTES or length > self.limit:
                raise ProtocolError(f"frame length {length} is out of bounds")
            if stop > end:
                self._need = stop - start
                break
            body = data[start + HEADER_BYTES : stop]
            # A third of what Frame(...) costs, on every request's way there and back.
            yield _new(Frame, (kind, flags, status, id, a, b, c, d, body))
            start = stop
        if start < end:
            rest = data[start:] if start else data
            self._parts.append(rest)
            self._have = len(rest)
