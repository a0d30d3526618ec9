"""Answers of one version, from its own engine: the version is named in the path, so that what is
measured is what serves, traffic or not."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt

from tollway import errors
from tollway.evaluation.evidence import MeasuredLatency
from tollway.signatures import Signature
from tollway.tensors import decode_response, encode_request
from tollway.transport import Transport

Array = npt.NDArray[Any]
Feeds = Mapping[str, Array]

WARM_UP = 20
"""One-row requests before the ones that count."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What the version said of some rows."""

    predictions: Array
    probabilities: Array | None
    """One column a label; None for a version that gives none."""


class Scorer:
    """Asks one version for answers, some rows at a time."""

    def __init__(self, transport: Transport, signature: Signature, batch_rows: int) -> None:
        self._transport = transport
        self._signature = signature
        self._batch_rows = batch_rows
        self._path = f"/v2/models/{signature.model}/versions/{signature.number}/infer"

    def score(self, feeds: Feeds, scored: Callable[[int], None]) -> Answers:
        """The answers for all rows; ``scored`` gets the rows of each request that is answered."""
        rows = rows_in(feeds)
        parts = []
        for start in range(0, rows, self._batch_rows):
            stop = min(start + self._batch_rows, rows)
            parts += self._part(feeds, start, stop)
            scored(stop - start)
        merged = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return self._decoded(merged)

    def latency(
        self, feeds: Feeds, requests: int, rng: np.random.Generator, *, has_engine: bool = True
    ) -> MeasuredLatency:
        """Time of so many requests of one row, one after the other, rows drawn at random.

        It is what the engine reports in ``Server-Timing``, queue and run; where there is none, or
        it reports nothing, the time until the answer.
        """
        places = rng.integers(0, rows_in(feeds), WARM_UP + requests)
        reported, seen = [], []
        for place in places.tolist():
            headers, body = encode_request(_cut(feeds, place, place + 1))
            begun = time.perf_counter()
            response = self._transport.request("POST", self._path, content=body, headers=headers)
            seen.append((time.perf_counter() - begun) * 1000)
            reported.append(engine_ms(response.headers.get("Server-Timing", "")))
        engine = [found for found in reported[WARM_UP:] if found is not None]
        whole = has_engine and len(engine) == requests
        low, high = np.quantile(engine if whole else seen[WARM_UP:], (0.5, 0.99))
        return MeasuredLatency(
            requests=requests,
            p50_ms=float(low),
            p99_ms=float(high),
            measured="engine" if whole else "answer",
        )

    def _part(self, feeds: Feeds, start: int, stop: int) -> list[dict[str, Array]]:
        """Rows in one request, or in two when they are more than the server does in its time."""
        try:
            return [decode_response(*self._ask(_cut(feeds, start, stop)))]
        except (errors.TimedOut, errors.TooLargeError):
            if stop - start == 1:
                raise
            middle = (start + stop) // 2
            return self._part(feeds, start, middle) + self._part(feeds, middle, stop)
        except errors.InvalidRequestError as error:
            raise errors.InvalidRequestError(
                f"of rows {start} to {stop - 1}, counted from 0 again: {error.message}",
                status=error.status,
                request_id=error.request_id,
            ) from error

    def _ask(self, feeds: Feeds) -> tuple[httpx.Headers, bytes]:
        headers, body = encode_request(feeds)
        response = self._transport.request("POST", self._path, content=body, headers=headers)
        return response.headers, response.content

    def _decoded(self, outputs: dict[str, Array]) -> Answers:
        from tollway.conversion import (  # noqa: PLC0415 -- a light import
            decode_predictions,
            decode_probabilities,
        )

        signature = self._signature
        predictions = decode_predictions(outputs, signature.task, signature.labels)
        probabilities = None
        if "probabilities" in outputs:
            probabilities = decode_probabilities(outputs, signature.task, signature.labels)
        return Answers(predictions, probabilities)


def rows_in(feeds: Feeds) -> int:
    """Rows of a request: the first dimension of its tensors. InvalidRequestError where they
    differ, because then there are none."""
    sizes = {len(array) if array.ndim else 1 for array in feeds.values()}
    if len(sizes) != 1:
        raise errors.InvalidRequestError(f"the inputs have {sorted(sizes)} rows: they must agree")
    return sizes.pop()


def engine_ms(timing: str) -> float | None:
    """Queue and run of a ``Server-Timing`` header, in milliseconds; None where it tells of none."""
    found: dict[str, float] = {}
    for metric in timing.split(","):
        name, _, rest = metric.strip().partition(";")
        duration = rest.strip().removeprefix("dur=")
        try:
            found[name] = float(duration)
        except ValueError:
            continue
    run = found.get("infer", 0.0)
    return found.get("queue", 0.0) + run if run > 0 else None


def _cut(feeds: Feeds, start: int, stop: int) -> dict[str, Array]:
    return {name: array[start:stop] for name, array in feeds.items()}
