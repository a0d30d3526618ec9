"""Prediction ids, and the epochs by which they name what answered.

An id is ``PROCESS-EPOCH-COUNT``, each in lower-case hex: a run of a gateway, an epoch of it, and
the number of the answer in that run. An epoch is one combination of everything that decides what an
answer is: who answered, with which version, artifact and runtime, by which configuration. Epoch 0
is that of calls that were refused before a version was chosen.
"""

import re
from typing import Final, Literal, NamedTuple

import msgspec

PROCESS_DIGITS: Final = 16
NOTHING: Final = 0
"""The epoch in which no version was chosen."""
MAX_EPOCH: Final = 2**31 - 1
_ID: Final = re.compile(rf"([0-9a-f]{{{PROCESS_DIGITS}}})-([0-9a-f]{{1,8}})-([0-9a-f]{{1,16}})")
_EARLIER: Final = re.compile(rf"[0-9a-f]{{{PROCESS_DIGITS}}}-[0-9a-f]{{1,16}}")

Answerer = Literal["engine", "remote", "gateway"]
"""``gateway``: the gateway refused by itself, and nothing ran."""


class EngineRuntime(msgspec.Struct, frozen=True, kw_only=True):
    """What runs a graph, as far as it can change the bits of an answer."""

    name: str
    version: str
    provider: str
    """The execution provider."""
    threads: int
    """Threads that a run has inside the runtime: sums are split among them."""
    processor: str = ""
    """Model of the processor: the runtime chooses its kernels by it."""
    software: str = ""
    """Release of Tollway, which writes the answer's text."""


class EpochRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a gateway's epoch log."""

    process: str
    epoch: int
    gateway: str
    begun_ms: int
    """UNIX milliseconds by the gateway's clock."""
    by: Answerer = "gateway"
    model: str = ""
    version: int = 0
    digest: str = ""
    """Digest of the version's manifest."""
    runtime: EngineRuntime | None = None
    """None where no engine answered."""
    revision: int = 0
    """Number on the change stream of the newest change to the model or one of its versions by which
    the version was chosen."""


class Served(msgspec.Struct, kw_only=True):
    """Who answers for a version: an engine, a remote server, or the gateway that refuses.

    Remembers how the ids of its answers begin, for as long as the configuration is the same.
    """

    by: Answerer
    model: str
    version: int
    digest: str = ""
    runtime: EngineRuntime | None = None
    revision: int = -1
    """Configuration that ``prefix`` is of."""
    prefix: bytes = b""


class PredictionId(NamedTuple):
    """The parts of an id."""

    process: str
    epoch: int
    number: int


def parse_id(text: str) -> PredictionId | None:
    """The parts of a prediction id; None for what is none."""
    found = _ID.fullmatch(text)
    if found is None:
        return None
    epoch = int(found[2], 16)
    return PredictionId(found[1], epoch, int(found[3], 16)) if epoch <= MAX_EPOCH else None


def is_of_earlier_release(text: str) -> bool:
    """Whether it is an id that named a gateway's run and a number only."""
    return _EARLIER.fullmatch(text) is not None
