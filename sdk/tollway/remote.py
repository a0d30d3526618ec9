"""Versions whose model is on another server of the Open Inference Protocol."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

import msgspec

from tollway import errors
from tollway.resources import Tensor


class RemoteOptions(TypedDict, total=False):
    """What may be said of a remote model; what is left out takes its default."""

    credential: str
    binary: bool | None
    timeout_ms: int
    connect_timeout_ms: int
    inputs: Sequence[Tensor | Mapping[str, object]]
    outputs: Sequence[Tensor | Mapping[str, object]]
    task: str
    labels: Sequence[str | int | float | bool]
    metrics: Mapping[str, float] | None
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteModel:
    """What ``Client.register_remote`` was asked for."""

    url: str
    model: str
    version: str = ""
    credential: str = ""
    binary: bool | None = None
    timeout_ms: int = 30_000
    connect_timeout_ms: int = 2_000
    inputs: Sequence[Tensor | Mapping[str, object]] = ()
    outputs: Sequence[Tensor | Mapping[str, object]] = ()
    task: str = "unknown"
    labels: Sequence[str | int | float | bool] = ()
    metrics: Mapping[str, float] | None = None
    description: str = ""

    def request(self) -> dict[str, object]:
        """The body of the registration. Raises :class:`InvalidRequestError`."""
        if not self.url.startswith(("http://", "https://")):
            raise errors.InvalidRequestError(
                f"{self.url!r} is no server's URL: it begins with https:// or http://"
            )
        return {
            "remote": {
                "url": self.url,
                "model": self.model,
                "version": self.version,
                "credential": self.credential,
                "binary": self.binary,
                "timeout_ms": self.timeout_ms,
                "connect_timeout_ms": self.connect_timeout_ms,
                "inputs": [_tensor(tensor) for tensor in self.inputs],
                "outputs": [_tensor(tensor) for tensor in self.outputs],
            },
            "task": self.task,
            "labels": list(self.labels),
            "metrics": {str(name): float(value) for name, value in (self.metrics or {}).items()},
            "description": self.description,
        }


def _tensor(given: Tensor | Mapping[str, object]) -> dict[str, object]:
    try:
        tensor = given if isinstance(given, Tensor) else msgspec.convert(given, Tensor)
    except msgspec.ValidationError as error:
        raise errors.InvalidRequestError(
            f"{given!r} is no tensor: give name, datatype and shape ({error})"
        ) from error
    return {
        "name": tensor.name,
        "datatype": tensor.datatype,
        "shape": list(tensor.shape),
        "optional": tensor.optional,
    }
