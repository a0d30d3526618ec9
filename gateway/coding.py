"""Content codings: gzip and deflate, of requests and of answers (RFC 9110, 8.4).

What is small is coded at once; the rest in a thread, where zlib holds no lock. No more is inflated
than the request's body may have.
"""

import asyncio
import zlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Final

from gateway.answer import Answer
from gateway.invoke import Done, Invoker
from policies.base import Call
from policies.request_size import RequestSizePolicy
from protocol.errors import Code, TollwayError
from runtime.logs import logger

INLINE_BYTES: Final = 16 << 10
"""Plain bytes up to which coding happens in the loop's thread: some 0.2 ms."""
WORTH_BYTES: Final = 2 << 10
"""Answers below this are sent as they are."""
LEVEL: Final = 1
"""Of compression: tensors gain little from higher ones, which take several times as long."""
THREADS: Final = 2
_GZIP: Final = 16 + zlib.MAX_WBITS
_CODINGS: Final = {b"gzip": b"gzip", b"x-gzip": b"gzip", b"deflate": b"deflate"}
_MAX_CHOICES: Final = 256
_LONGEST_CHOICE: Final = 128
"""Longer headers are read each time: what anybody can send must not fill the memory."""
_choices: dict[bytes, bytes] = {}


def content_coding(value: bytes) -> bytes:
    """What ``Content-Encoding`` names: ``gzip``, ``deflate``, or nothing. Raises
    ``UNSUPPORTED_MEDIA_TYPE`` for all else."""
    name = value.strip().lower()
    if name in {b"", b"identity"}:
        return b""
    if name not in _CODINGS:
        raise TollwayError(
            Code.UNSUPPORTED_MEDIA_TYPE,
            "send the body as it is, or with one 'Content-Encoding': gzip or deflate",
        )
    return _CODINGS[name]


def accepted_coding(value: bytes) -> bytes:
    """The coding that ``Accept-Encoding`` prefers among gzip and deflate; nothing for none."""
    if len(value) > _LONGEST_CHOICE:
        return _choose(value)
    found = _choices.get(value)
    if found is None:
        if len(_choices) >= _MAX_CHOICES:
            _choices.clear()
        found = _choices[value] = _choose(value)
    return found


def _choose(value: bytes) -> bytes:
    weights: dict[bytes, float] = {}
    for element in value.lower().split(b","):
        name, _, parameters = element.partition(b";")
        weights[_CODINGS.get(name.strip(), name.strip())] = _weight(parameters)
    others = weights.get(b"*", 0.0)
    gzip, deflate = (weights.get(name, others) for name in (b"gzip", b"deflate"))
    best = max(gzip, deflate)
    if best <= 0 or weights.get(b"identity", 0.0) > best:
        return b""
    return b"gzip" if gzip == best else b"deflate"


def _weight(parameters: bytes) -> float:
    name, _, value = parameters.partition(b"=")
    if name.strip() != b"q":
        return 1.0
    digits = value.strip()
    if not digits.replace(b".", b"", 1).isdigit():
        return 0.0  # unreadable: not asked for
    return float(digits)


class Inflater:
    """Inflates one body, in steps, and never to more than ``limit`` bytes."""

    def __init__(self, coding: bytes, body: bytes, limit: int, too_large: TollwayError) -> None:
        self._coding = coding
        self._rest = body
        self._left = limit
        self._too_large = too_large
        self._parts: list[bytes] = []
        self._stream = zlib.decompressobj(_window(coding, body))
        self.done = False

    def step(self, most: int) -> None:
        """Inflate at most ``most`` further bytes. Raises ``MALFORMED`` or the error for a body that
        is too large."""
        most = min(most, self._left + 1)
        try:
            part = self._stream.decompress(self._rest, most)
        except zlib.error:
            raise _malformed(self._coding, "is damaged, or is not in that coding") from None
        self._left -= len(part)
        if self._left < 0:
            self._parts.clear()
            raise self._too_large
        self._parts.append(part)
        if not self._stream.eof:
            self._rest = self._stream.unconsumed_tail
            if not self._rest and len(part) < most:
                raise _malformed(self._coding, "is cut off")
            return
        self._rest = self._stream.unused_data
        if not self._rest:
            self.done = True
        elif self._coding == b"gzip" and self._rest.startswith(b"\x1f\x8b"):
            self._stream = zlib.decompressobj(_GZIP)  # several members are one body (RFC 1952)
        else:
            raise _malformed(self._coding, f"is followed by {len(self._rest)} other bytes")

    def finish(self) -> bytes:
        """The whole plain body."""
        while not self.done:
            self.step(1 << 20)
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)


def _window(coding: bytes, body: bytes) -> int:
    if coding == b"gzip":
        return _GZIP
    # "deflate" is the zlib format, but some clients send its inside alone. No encoder begins that
    # with what reads as a zlib header.
    header = int.from_bytes(body[:2], "big")
    is_zlib = len(body) < 2 or (header >> 8 & 15 == zlib.DEFLATED and header % 31 == 0)  # noqa: PLR2004 -- bytes of the header
    return zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS


def _malformed(coding: bytes, what: str) -> TollwayError:
    return TollwayError(Code.MALFORMED, f"the body's {coding.decode()} data {what}")


def deflated(coding: bytes, body: bytes) -> bytes:
    """``body`` in a coding."""
    stream = zlib.compressobj(LEVEL, wbits=_GZIP if coding == b"gzip" else zlib.MAX_WBITS)
    return stream.compress(body) + stream.flush()


class Coding:
    """Stands between the lanes and the invoker where a body is coded."""

    def __init__(self, invoker: Invoker, sizes: RequestSizePolicy) -> None:
        self._invoker = invoker
        self._sizes = sizes
        self._threads = ThreadPoolExecutor(THREADS, "coding")

    def forward(self, call: Call, body: bytes, done: Done) -> None:
        """As :meth:`Invoker.forward`, for a call that has ``content_coding`` or
        ``accepted_coding``."""
        if call.accepted_coding:
            done = partial(self._encode, call.accepted_coding, done)
        if not call.content_coding:
            self._invoker.forward(call, body, done)
            return
        limit = self._sizes.limit(call)
        inflater = Inflater(call.content_coding, body, limit, self._sizes.refusal(call))
        try:
            inflater.step(INLINE_BYTES)
        except TollwayError as error:
            self._invoker.refuse(call, error, done)
            return
        if inflater.done:
            self._invoker.forward(call, inflater.finish(), done)
        else:
            self._in_thread(inflater.finish, partial(self._inflated, call, done))

    def close(self) -> None:
        """End the threads, once idle."""
        self._threads.shutdown(wait=False)

    def _inflated(self, call: Call, done: Done, body: Future[bytes]) -> None:
        error = body.exception()
        if error is None:
            self._invoker.forward(call, body.result(), done)
        elif isinstance(error, TollwayError):
            self._invoker.refuse(call, error, done)
        else:
            unable = TollwayError(Code.INTERNAL, "internal error", repr(error))
            self._invoker.refuse(call, unable, done)

    def _encode(self, coding: bytes, done: Done, answer: Answer) -> None:
        size = len(answer.body)
        if size < WORTH_BYTES:
            done(answer)
        elif size <= INLINE_BYTES:
            self._encoded(coding, done, answer, deflated(coding, answer.body))
        else:
            self._in_thread(
                partial(deflated, coding, answer.body),
                partial(self._deflated, coding, done, answer),
            )

    def _deflated(self, coding: bytes, done: Done, answer: Answer, body: Future[bytes]) -> None:
        if (error := body.exception()) is None:
            self._encoded(coding, done, answer, body.result())
        else:  # no memory, say: the plain answer is there
            logger("coding").error("an answer could not be coded", error=repr(error))
            done(answer)

    def _encoded(self, coding: bytes, done: Done, answer: Answer, body: bytes) -> None:
        answer.headers.append((b"vary", b"Accept-Encoding"))
        if len(body) < len(answer.body):  # noise does not shrink
            answer.headers.append((b"content-encoding", coding))
            answer.body = body
        done(answer)

    def _in_thread(self, work: Callable[[], bytes], then: Callable[[Future[bytes]], None]) -> None:
        loop = asyncio.get_running_loop()
        self._threads.submit(work).add_done_callback(
            lambda found: loop.call_soon_threadsafe(then, found)
        )
