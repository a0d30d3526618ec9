"""What a client must know of a version to call it: tensors, columns, labels, task."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, cast

import msgspec

from tollway import errors
from tollway.resources import Manifest, Model, Tensor, Version
from tollway.transport import Transport

if TYPE_CHECKING:
    from tollway.conversion import ColumnSpec, ColumnType, Label, Task, TensorSpec

TTL_S = 60.0
"""How long a signature is believed without asking. A version never changes; which one is the stable
one does, but every answer says which version gave it, so a move is noticed at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One version's interface, in the terms of :mod:`tollway.conversion`."""

    model: str
    number: int
    task: "Task"
    inputs: "list[TensorSpec]"
    outputs: tuple[str, ...]
    columns: "list[ColumnSpec]" = field(default_factory=list)
    labels: "list[Label]" = field(default_factory=list)

    def encodes_as(self, other: "Signature") -> bool:
        """Whether the same rows become the same tensors for both."""
        return self.inputs == other.inputs and self.columns == other.columns


class _Metadata(msgspec.Struct):
    """Answer of ``GET /v2/models/M``, which needs no management token."""

    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    properties: dict[str, object] = {}


class _PublicColumn(msgspec.Struct):
    """A column as V1 metadata tells it; where it goes may be left to be found out."""

    name: str
    type: str
    input: str | None = None
    index: int | None = None
    null: str | None = None


class _V1Details(msgspec.Struct):
    columns: tuple[_PublicColumn, ...] = ()
    labels: tuple[str | int | float | bool, ...] = ()


class _V1Spec(msgspec.Struct):
    version: str


class _V1Metadata(msgspec.Struct):
    """Answer of ``GET /v1/models/M/metadata``."""

    model_spec: _V1Spec
    metadata: _V1Details


class Signatures:
    """Finds signatures and remembers them for a while."""

    def __init__(self, transport: Transport, clock: Callable[[], float] = time.monotonic) -> None:
        self._transport = transport
        self._clock = clock
        self._known: dict[tuple[str, int | None], tuple[float, Signature]] = {}

    def get(self, model: str, version: int | None = None) -> Signature:
        """The signature of ``version``, or of the one that answers now when None."""
        kept = self._known.get((model, version))
        if kept is not None and self._clock() - kept[0] < TTL_S:
            return kept[1]
        found = self._fetch(model, version)
        now = self._clock()
        self._known[model, version] = (now, found)
        self._known[model, found.number] = (now, found)
        return found

    def answered_by(self, model: str, version: int) -> Signature:
        """Note that calls which name no version are answered by ``version`` now."""
        found = self.get(model, version)
        self._known[model, None] = (self._clock(), found)
        return found

    def forget(self, model: str) -> None:
        """Ask again next time."""
        for key in list(self._known):  # a copy: other threads may be predicting
            if key[0] == model:
                self._known.pop(key, None)

    def _fetch(self, model: str, version: int | None) -> Signature:
        try:
            return self._from_management(model, version)
        except (errors.AuthenticationError, errors.PermissionDeniedError):
            # The key of an application: it may not read the registry, but may ask the gateway.
            return self._from_gateway(model, version)

    def _from_management(self, model: str, version: int | None) -> Signature:
        if version is None:
            found = self._transport.get(f"/api/v1/models/{model}", Model)
            version = found.stable
            if version is None:
                raise errors.NotFoundError(
                    f"model '{model}' has no stable version: promote one, or name a version"
                )
        registered = self._transport.get(f"/api/v1/models/{model}/versions/{version}", Version)
        return _signature(model, registered.number, registered.manifest)

    def _from_gateway(self, model: str, version: int | None) -> Signature:
        pinned = f"/versions/{version}" if version else ""
        details = self._transport.get(f"/v1/models/{model}{pinned}/metadata", _V1Metadata)
        number = int(details.model_spec.version)
        found = self._transport.get(f"/v2/models/{model}/versions/{number}", _Metadata)
        return Signature(
            model=model,
            number=number,
            task=cast("Task", found.properties.get("task", "unknown")),
            inputs=_specs(found.inputs),
            outputs=tuple(output.name for output in found.outputs),
            columns=[
                _placed(column, place, found.inputs)
                for place, column in enumerate(details.metadata.columns)
            ],
            labels=list(details.metadata.labels),
        )


def _placed(column: _PublicColumn, place: int, inputs: tuple[Tensor, ...]) -> "ColumnSpec":
    """A column with its place: the input of its name, or its position in the only input."""
    named, index = column.input, column.index
    if named is None:
        alone = any(tensor.name == column.name for tensor in inputs)
        named = column.name if alone or not inputs else inputs[0].name
        index = None if alone else place
    return {
        "name": column.name,
        "type": cast("ColumnType", column.type),
        "input": named,
        "index": index,
        "null": column.null,
    }


def _signature(model: str, number: int, manifest: Manifest) -> Signature:
    return Signature(
        model=model,
        number=number,
        task=cast("Task", manifest.task),
        inputs=_specs(manifest.inputs),
        outputs=tuple(output.name for output in manifest.outputs),
        columns=[cast("ColumnSpec", asdict(column)) for column in manifest.columns],
        labels=restored(list(manifest.labels), manifest.conversion),
    )


def restored(labels: "list[Label]", conversion: Mapping[str, str]) -> "list[Label]":
    """Labels in the type of the estimator's classes: canonical JSON writes 1.0 as 1."""
    if conversion.get("labels") != "float":
        return labels
    return [float(label) for label in labels]


def _specs(tensors: tuple[Tensor, ...]) -> "list[TensorSpec]":
    return [
        {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
        for tensor in tensors
    ]
