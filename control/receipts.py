"""Receipts: what answered a prediction, told by its id to those who may know of it."""

import re
from typing import Final, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from control.resources import MAX_TIME_MS
from control.store.receipts import Epochs
from protocol.errors import Code, TollwayError
from protocol.receipts import (
    MAX_EPOCH,
    EpochRecord,
    PredictionId,
    is_of_earlier_release,
    parse_id,
)
from registry.access import Actor
from registry.clock import rfc3339
from registry.permissions import Permissions
from registry.store.versions import VersionRecord
from registry.versions import Versions

MAX_NAME: Final = 63
MAX_DIGEST: Final = 71
MAX_RUNTIME: Final = 200
MAX_INTEGER: Final = 2**31 - 1
_PROCESS: Final = re.compile(r"[0-9a-f]{16}")
MANAGERS: Final = frozenset({"admin", "publisher", "auditor"})
"""Roles that see the whole of a receipt, where they manage the model or read everything."""


class Runtime(BaseModel):
    """What ran the graph, as far as it can change the bits of an answer."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(examples=["onnxruntime"])
    version: str
    provider: str
    threads: int
    software: str = Field(description="Release of Tollway that wrote the answer.")
    processor: str | None = Field(
        default=None, description="Shown to those who manage the model, and to auditors."
    )


class Receipt(BaseModel):
    """What a prediction id stands for."""

    model_config = ConfigDict(frozen=True)

    id: str
    answered_by: Literal["engine", "remote", "gateway"] = Field(
        description="`gateway`: it refused by itself, and no model ran."
    )
    model: str | None = Field(description="Null where no version was chosen.")
    version: int | None
    manifest_digest: str | None
    artifact_digest: str | None = Field(description="Null for a remote version.")
    runtime: Runtime | None = Field(description="Null where no engine of ours ran.")
    configuration_revision: int | None = Field(
        description="Number, on the change stream, of the newest change to the model or one of its "
        "versions by which this version was chosen."
    )
    begun_at: str = Field(
        description="Since when answers of the gateway are named so: the prediction is not older."
    )
    gateway: str | None = Field(description="Shown to those who manage the model, and to auditors.")


_decode: Final = msgspec.json.Decoder(EpochRecord).decode


def decode_epochs(body: bytes) -> tuple[list[EpochRecord], int]:
    """The records of whole lines, and how many lines are none: half a line of a disk that was full
    must not keep the others from being known."""
    records, damaged = [], 0
    for line in body.splitlines():
        try:
            record = _decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            damaged += 1
            continue
        if _is_storable(record):
            records.append(record)
        else:
            damaged += 1
    return records, damaged


def _is_storable(record: EpochRecord) -> bool:
    runtime = record.runtime
    texts = [record.gateway, record.model, record.digest]
    if runtime is not None:
        texts += [runtime.name, runtime.version, runtime.provider]
        texts += [runtime.processor, runtime.software]
    return (
        _PROCESS.fullmatch(record.process) is not None
        and 0 <= record.epoch <= MAX_EPOCH
        and 0 <= record.begun_ms <= MAX_TIME_MS
        and 0 <= record.version <= MAX_INTEGER
        and 0 <= record.revision < 1 << 62
        and max(len(record.gateway), len(record.model)) <= MAX_NAME
        and len(record.digest) <= MAX_DIGEST
        and all(len(text) <= MAX_RUNTIME and "\0" not in text for text in texts)
    )


class Receipts:
    """Answers for ids. Thread-safe; calls block."""

    def __init__(self, epochs: Epochs, versions: Versions, permissions: Permissions) -> None:
        self._epochs = epochs
        self._versions = versions
        self._permissions = permissions

    def get(self, actor: Actor, text: str) -> Receipt:
        """The receipt. Raises ``NOT_FOUND`` for an id that was never given, and for one of a model
        that does not exist for the actor."""
        id, epoch = self.epoch(text)
        if not epoch.model:
            return _receipt(text, epoch, None, whole=actor.role in MANAGERS)
        try:
            whole = self._permissions.check_sees(actor, epoch.model)
            version = self._versions.get(epoch.model, epoch.version, callable_only=False)
        except TollwayError as error:
            raise _unknown(id) from error
        if not whole and version.state not in _SHOWN:
            raise _unknown(id)
        return _receipt(text, epoch, version, whole=whole)

    def epoch(self, text: str) -> tuple[PredictionId, EpochRecord]:
        """The parts of an id and its epoch. Raises ``NOT_FOUND``."""
        id = parse_id(text)
        if id is None and is_of_earlier_release(text):
            raise TollwayError(
                Code.NOT_FOUND,
                "this prediction id was given by an earlier release, whose ids do not say what "
                "answered: ask GET /audit/answered with the application, the model and the time",
            )
        if id is None:
            raise TollwayError(Code.NOT_FOUND, f"{text[:80]!r} is not a prediction id")
        found = self._epochs.get(id)
        if found is None:
            raise _unknown(id)
        return id, found


_SHOWN: Final = frozenset({"published", "deprecated", "retired"})
"""States of versions that consumers may know of."""


def _unknown(id: PredictionId) -> TollwayError:
    return TollwayError(
        Code.NOT_FOUND,
        f"no gateway has told of the run {id.process} what its epoch {id.epoch} is: an answer of "
        "the last seconds may be told of soon; while control was away, it takes until it is back",
    )


def _receipt(
    text: str, epoch: EpochRecord, version: VersionRecord | None, *, whole: bool
) -> Receipt:
    artifact = None if version is None else version.manifest.artifact
    runtime = epoch.runtime
    return Receipt(
        id=text,
        answered_by=epoch.by,
        model=epoch.model or None,
        version=epoch.version or None,
        manifest_digest=epoch.digest or None,
        artifact_digest=None if artifact is None else artifact.digest,
        runtime=None
        if runtime is None
        else Runtime(
            name=runtime.name,
            version=runtime.version,
            provider=runtime.provider,
            threads=runtime.threads,
            software=runtime.software,
            processor=runtime.processor if whole else None,
        ),
        configuration_revision=epoch.revision if epoch.model else None,
        begun_at=rfc3339(epoch.begun_ms),
        gateway=epoch.gateway if whole else None,
    )
