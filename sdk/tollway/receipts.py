"""Receipts of predictions, captured payloads, and their replay."""

import base64
import binascii
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Final, TypeVar

from tollway.errors import InvalidRequestError, NotFoundError, ServerError
from tollway.registry import Registry, Waiter, check_name, listing
from tollway.replay import Replay, compared, score
from tollway.resources import Model
from tollway.transport import Transport

T = TypeVar("T")
KNOWN_WITHIN_S: Final = 5.0
"""Gateways tell of new epochs, and of captures, within a second or two."""
_UNLOADABLE: Final = frozenset({"retired", "rejected"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """What ran the graph. ``processor`` is None for those who do not manage the model."""

    name: str
    version: str
    provider: str
    threads: int
    software: str
    processor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a prediction id stands for. ``answered_by`` is ``engine``, ``remote``, or ``gateway``
    where nothing ran; ``configuration_revision`` numbers a change on the change stream."""

    id: str
    answered_by: str
    model: str | None
    version: int | None
    manifest_digest: str | None
    artifact_digest: str | None
    runtime: Runtime | None
    configuration_revision: int | None
    begun_at: str
    gateway: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """A captured prediction without its payload. ``path`` is ``v2_infer`` or ``v1_predict``;
    ``application`` None: a management token. ``shared_run``: whether the engine ran it together
    with other requests."""

    id: str
    at: str
    model: str
    version: int
    variant: str
    application: str | None
    path: str
    rows: int
    bytes: int
    shared_run: bool
    request_header_length: int | None = None
    request_coding: str | None = None
    answer_header_length: int | None = None
    answer_coding: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured(Capture):
    """A captured prediction; ``request`` and ``answer`` are the plain bodies, base64."""

    request: str
    answer: str

    @property
    def request_body(self) -> bytes:
        """The request's body."""
        return _decoded(self.request)

    @property
    def answer_body(self) -> bytes:
        """The answer's body."""
        return _decoded(self.answer)


class Predictions:
    """Asks the server for receipts and captures, and scores captured inputs again."""

    def __init__(self, transport: Transport, registry: Registry, waiter: Waiter) -> None:
        self._transport = transport
        self._registry = registry
        self._waiter = waiter

    def receipt(self, id: str, wait_s: float) -> Receipt:
        """The receipt; one that the server does not know yet is waited for."""
        return self._soon(lambda: self._transport.get(_path(id), Receipt), wait_s)

    def capture(self, id: str, wait_s: float) -> Captured:
        """The capture of a prediction, with its payload."""
        return self._soon(lambda: self._transport.get(f"{_path(id)}/capture", Captured), wait_s)

    def captures(
        self,
        model: str,
        application: str | None,
        version: int | None,
        start: datetime | None,
        end: datetime | None,
    ) -> Iterator[Capture]:
        """Captures of a model, the newest first."""
        params: dict[str, str | int] = {}
        if application is not None:
            params["application"] = application
        if version is not None:
            params["version"] = version
        for name, moment in (("from", start), ("to", end)):
            if moment is not None:
                params[name] = moment.astimezone(UTC).isoformat()
        return listing(self._transport, _captures(model), Capture, params)

    def remove(self, model: str, application: str | None) -> int:
        """Remove captures; how many."""
        params = {} if application is None else {"application": application}
        response = self._transport.request("DELETE", _captures(model), params=params)
        return self._transport.read(response, dict[str, int])["removed"]

    def allow(self, model: str, percent: float, days: int | None) -> Model:
        """Set which share is captured."""
        fields: dict[str, str | float] = {"capture_percent": percent}
        if days is not None:
            fields["capture_days"] = days
        self._registry.model(model)  # one that does not exist is not made by this
        return self._registry.put_model(model, **fields)

    def replay(self, id: str, version: int | None) -> Replay:
        """See :meth:`Replayed.replay`."""
        return self.replayer().replay(id, version)

    def replayer(self) -> "Replayer":
        """For several replays one after the other, or beside one another."""
        return Replayer(self, self._transport, self._registry)

    def _soon(self, read: Callable[[], T], wait_s: float) -> T:
        missing: list[NotFoundError] = []

        def look() -> T | None:
            try:
                return read()
            except NotFoundError as error:
                missing.append(error)
                return None

        found = self._waiter.until(look, wait_s)
        if found is None:
            raise missing[-1]
        return found


class Replayer:
    """Scores captured inputs again. What an epoch of predictions stands for, and whether a version
    is loaded, is asked for once: of many replays each takes two requests. Thread-safe."""

    def __init__(self, predictions: Predictions, transport: Transport, registry: Registry) -> None:
        self._predictions = predictions
        self._transport = transport
        self._registry = registry
        self._epochs: dict[str, Receipt] = {}
        self._loaded: set[tuple[str, int]] = set()

    def replay(self, id: str, version: int | None) -> Replay:
        """See :meth:`Replayed.replay`."""
        then = self._epoch(id)
        captured = self._predictions.capture(id, KNOWN_WITHIN_S)
        number = captured.version if version is None else version
        self._check_loaded(captured.model, number)
        answered = score(
            self._transport,
            model=captured.model,
            version=number,
            v1=captured.path == "v1_predict",
            body=captured.request_body,
            header_length=captured.request_header_length,
            request_coding=captured.request_coding,
            answer_coding=captured.answer_coding,
        )
        now = self._epoch(answered.id)
        return compared(
            id=id,
            model=captured.model,
            versions=(captured.version, number),
            v1=captured.path == "v1_predict",
            before=(captured.answer_body, captured.answer_header_length),
            after=answered,
            shared_run=captured.shared_run,
            same_artifact=then.manifest_digest == now.manifest_digest,
            same_runtime=then.runtime == now.runtime,
        )

    def _epoch(self, id: str) -> Receipt:
        """A receipt of the id's epoch: but for their ids, all of an epoch are the same."""
        epoch, _, _ = id.rpartition("-")
        found = self._epochs.get(epoch)
        if found is None:
            found = self._epochs[epoch] = self._predictions.receipt(id, KNOWN_WITHIN_S)
        return found

    def _check_loaded(self, model: str, number: int) -> None:
        if (model, number) in self._loaded:
            return
        found = self._registry.version(model, number)
        if found.state in _UNLOADABLE:
            raise InvalidRequestError(
                f"version {number} of '{model}' is {found.state}, and no engine may load it: replay"
                " on another version (--version)"
            )
        if not found.loaded:
            raise InvalidRequestError(
                f"version {number} of '{model}' is not loaded: `tollway load {model} {number}`"
                " makes it answer, and `tollway unload` lets it go again"
            )
        self._loaded.add((model, number))


class Replayed:
    """What :class:`tollway.Client` offers about predictions that were made."""

    _predictions: Predictions

    def receipt(self, id: str, *, wait_s: float = KNOWN_WITHIN_S) -> Receipt:
        """What answered a prediction (``Tollway-Prediction-Id``): version, artifact, runtime and
        configuration. An id of this moment is waited for, for at most ``wait_s`` seconds."""
        return self._predictions.receipt(id, wait_s)

    def capture(self, model: str, percent: float, *, days: int | None = None) -> Model:
        """Capture the payload of so many percent of a model's predictions (0 to 100 in steps of
        0.1; 0: none), and keep each for ``days`` (None: as it is)."""
        return self._predictions.allow(model, percent, days)

    def captures(
        self,
        model: str,
        *,
        application: str | None = None,
        version: int | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int = 100,
    ) -> list[Capture]:
        """The captured predictions of a model without their payloads, the newest first."""
        found = self._predictions.captures(model, application, version, start, end)
        return list(islice(found, limit))

    def captured(self, id: str, *, wait_s: float = KNOWN_WITHIN_S) -> Captured:
        """The captured payload of a prediction. That it was read is in the audit log."""
        return self._predictions.capture(id, wait_s)

    def remove_captures(self, model: str, *, application: str | None = None) -> int:
        """Remove for good what was captured of a model, or what one application sent; how many."""
        return self._predictions.remove(model, application)

    def replay(self, id: str, *, version: int | None = None) -> Replay:
        """Score the input of a captured prediction again, on the version that answered it or on
        another, and compare bit for bit. Counts for no application.

        Raises :class:`NotFoundError` where there is no capture, and :class:`InvalidRequestError`
        where the version is not loaded.
        """
        return self._predictions.replay(id, version)


def _path(id: str) -> str:
    if not id or len(id) > 64 or not all(c in "0123456789abcdef-" for c in id):  # noqa: PLR2004 -- no id is longer
        raise InvalidRequestError(
            f"{id[:80]!r} is not a prediction id: it stands in the header Tollway-Prediction-Id"
        )
    return f"/api/v1/predictions/{id}"


def _captures(model: str) -> str:
    return f"/api/v1/models/{check_name(model, 'model')}/captures"


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ServerError("the captured payload cannot be read") from error
