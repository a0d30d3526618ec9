"""Predictions: rows in, the estimator's own answers out, over V2 with binary tensors."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import httpx
import numpy as np

from tollway import errors
from tollway.signatures import Signature, Signatures
from tollway.tensors import Array, decode_response, encode_request
from tollway.transport import Transport

REQUEST_BYTES = 4 * 1024 * 1024
"""Rows beyond this go in a further request, so that no server limit is met by accident."""
_ATTEMPTS = 3
"""Times that a prediction follows a model whose version changes under it."""

Decode = Callable[[dict[str, Array], Signature], Array]


@dataclass(frozen=True, slots=True)
class _Answer:
    version: int
    outputs: dict[str, Array]


class Predictor:
    """Calls models as their estimators would be called."""

    def __init__(self, transport: Transport, signatures: Signatures) -> None:
        self._transport = transport
        self._signatures = signatures

    def predict(self, model: str, X: object, version: int | None) -> Array:
        """What the estimator's ``predict`` returns (``transform`` for a transformer)."""

        def decode(outputs: dict[str, Array], signature: Signature) -> Array:
            from tollway.conversion import decode_predictions  # noqa: PLC0415 -- a light import

            return decode_predictions(outputs, signature.task, signature.labels)

        return self._run(model, X, version, _without("probabilities"), decode)

    def predict_proba(self, model: str, X: object, version: int | None) -> Array:
        """What the estimator's ``predict_proba`` returns."""

        def decode(outputs: dict[str, Array], signature: Signature) -> Array:
            from tollway.conversion import decode_probabilities  # noqa: PLC0415

            try:
                return decode_probabilities(outputs, signature.task, signature.labels)
            except ValueError as error:
                raise errors.InvalidRequestError(f"model '{model}': {error}") from error

        return self._run(model, X, version, _without("label"), decode)

    def _run(
        self,
        model: str,
        X: object,
        version: int | None,
        wanted: Callable[[Signature], list[str] | None],
        decode: Decode,
    ) -> Array:
        signature = self._signatures.get(model, version)
        for _ in range(_ATTEMPTS):
            try:
                inputs = encode(signature, X)
                answer = self._infer(model, version, inputs, wanted(signature))
            except (errors.InvalidRequestError, errors.NotFoundError):
                # Perhaps the model was deployed again with other columns since we last looked.
                self._signatures.forget(model)
                present = self._signatures.get(model, version)
                if present == signature:
                    raise
                signature = present
                continue
            if answer.version in (0, signature.number):
                return decode(answer.outputs, signature)
            present = self._signatures.answered_by(model, answer.version)
            if present.encodes_as(signature) and wanted(present) == wanted(signature):
                return decode(answer.outputs, present)
            signature = present
        raise errors.ConflictError(f"model '{model}' is being deployed again and again")

    def _infer(
        self,
        model: str,
        version: int | None,
        inputs: Mapping[str, Array],
        outputs: list[str] | None,
    ) -> _Answer:
        """One prediction, in as many requests as its size asks for, all answered by one version."""
        parts: list[dict[str, Array]] = []
        pinned = version
        for part in _parts(inputs):
            path = f"/v2/models/{model}" + (f"/versions/{version}" if version else "") + "/infer"
            headers, body = encode_request(part, outputs)
            if parts and pinned and version is None:
                headers["Tollway-Version"] = str(pinned)
            # A prediction changes nothing on the server, so it may be sent again.
            response = self._transport.request("POST", path, content=body, headers=headers)
            pinned = version_of(response) or version
            parts.append(decode_response(response.headers, response.content))
        if len(parts) == 1:
            return _Answer(pinned or 0, parts[0])
        merged = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return _Answer(pinned or 0, merged)


def encode(signature: Signature, X: object) -> dict[str, Array]:
    """Rows as the version's tensors. Raises :class:`InvalidRequestError` for what does not fit."""
    from tollway.conversion import encode_inputs  # noqa: PLC0415 -- a light import

    try:
        return encode_inputs(signature.inputs, signature.columns, X)
    except (ValueError, TypeError, KeyError) as error:
        words = error.args[0] if isinstance(error, KeyError) and error.args else error
        raise errors.InvalidRequestError(
            f"the rows do not fit model '{signature.model}' version {signature.number}: {words}"
        ) from error


def _without(name: str) -> Callable[[Signature], list[str] | None]:
    """Asks for every output but ``name``, where others are left; None asks for all."""

    def wanted(signature: Signature) -> list[str] | None:
        rest = [output for output in signature.outputs if output != name]
        return rest if rest and len(rest) < len(signature.outputs) else None

    return wanted


def _parts(inputs: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
    rows = min((len(array) if array.ndim else 1 for array in inputs.values()), default=0)
    per_row = sum(_row_bytes(array) for array in inputs.values())
    step = max(1, REQUEST_BYTES // max(per_row, 1))
    if rows <= step:
        yield dict(inputs)
        return
    for start in range(0, rows, step):
        yield {name: array[start : start + step] for name, array in inputs.items()}


def _row_bytes(array: Array) -> int:
    rows = len(array) if array.ndim else 1
    if array.dtype.kind in "OSUT":
        return sum(len(str(value)) + 4 for value in array.ravel()[:1000]) // max(min(rows, 1000), 1)
    return array.nbytes // max(rows, 1)


def version_of(response: httpx.Response) -> int:
    """The version that an answer is of; 0 where it does not say."""
    header = response.headers.get("Tollway-Version", "")
    return int(header) if header.isdecimal() else 0
