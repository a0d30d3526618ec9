"""The publish path: from a publisher's request to an immutable, numbered version. Reads top down.

names and sizes → blobs are there → bundle on disk, digests verified → inspection in a process
of its own → golden rows and columns fit the graph → manifest and its digest → number, version,
references and change, in one transaction. Of a remote version its server is asked instead of a
graph: :mod:`registry.remote`.
"""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
from msgspec import UNSET, UnsetType
from rfc8785 import CanonicalizationError

from protocol.errors import Code, TollwayError
from protocol.manifest import (
    Blob,
    Column,
    Manifest,
    Parity,
    Task,
    Tensor,
    canonical_json,
    sha256_digest,
)
from protocol.names import check_name
from registry.access import INSTALLATION, Actor
from registry.blobs import Blobs
from registry.bundle import ARTIFACT_NAME, check_paths, materialised
from registry.clock import Clock
from registry.fit import check_background, check_columns, check_golden, check_labels
from registry.inspect import Inspect, Inspection, inspect_bundle
from registry.models import model_not_found
from registry.permissions import Permissions
from registry.remote import InspectRemote, RemoteRequest, no_remotes
from registry.settings import RegistrySettings
from registry.store import audit
from registry.store import blobs as blob_store
from registry.store import models as model_store
from registry.store import versions as store
from registry.store.database import AlreadyThere, Database
from registry.store.versions import VersionRecord

NUMBER_ATTEMPTS = 20
"""Publishers of one model at the same moment that one of them may lose against."""
CONCURRENT_INSPECTIONS = 2
INSPECTION_WAIT_S = 30.0
"""How long a publisher waits for its turn; waiting holds one of the server's few threads."""
MAX_ROWS_BYTES = 16 << 20
"""Of golden rows, and of background rows."""


class VersionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the publisher states. Inputs, outputs and opsets are read from the graph instead."""

    artifact: Blob | None = None
    """Or :attr:`remote`: a version has one of them."""
    remote: RemoteRequest | UnsetType = UNSET
    files: tuple[Blob, ...] = ()
    golden: Blob | None = None
    background: Blob | UnsetType = UNSET
    task: Task = "unknown"
    labels: tuple[str | int | float | bool, ...] = ()
    columns: tuple[Column, ...] = ()
    libraries: dict[str, str] = {}
    conversion: dict[str, str] = {}
    parity: Parity | None = None
    metrics: dict[str, float] = {}
    description: str = ""


class Publisher:
    """Registers versions."""

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        settings: RegistrySettings,
        clock: Clock,
        permissions: Permissions,
        inspect: Inspect = inspect_bundle,
        inspect_remote: InspectRemote = no_remotes,
    ) -> None:
        self._database = database
        self._permissions = permissions
        self._blobs = blobs
        self._settings = settings
        self._clock = clock
        self._inspect_bundle = inspect
        self._inspect_remote = inspect_remote
        self._bundles = settings.staging_dir / "bundles"
        self._bundles.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._inspections = threading.BoundedSemaphore(CONCURRENT_INSPECTIONS)

    def publish(
        self,
        model: str,
        request: VersionRequest,
        *,
        actor: str,
        by: Actor = INSTALLATION,
        idempotency_key: str | None = None,
    ) -> tuple[VersionRecord, bool]:
        """Register the next version of ``model``. Returns it and whether it is new.

        The same request again under the same ``idempotency_key`` gives the version that the first
        one made. ``by`` must have brought the blobs, or manage a version that needs them. Raises
        ``INVALID``, ``INVALID_MODEL``, ``TOO_LARGE``, ``MODEL_NOT_FOUND``, and ``UNAVAILABLE``
        while others are being inspected.
        """
        check_name(model, "model name")
        request_digest = sha256_digest(msgspec.json.encode(request))
        earlier = self._earlier(model, actor, idempotency_key, request_digest)
        if earlier is not None:
            return earlier, False
        _check_kind(request)
        if request.remote is not UNSET:
            manifest = self._remote_manifest(model, request, request.remote)
        else:
            manifest = self._local_manifest(model, request, by)
        check_columns(request.columns, manifest.inputs)
        check_labels(request.labels, manifest.outputs)
        text = _canonical(manifest)
        draft = VersionRecord(
            model=model,
            number=0,
            digest=sha256_digest(text),
            manifest=manifest,
            state="registered",
            loaded=True,
            created_at=self._clock(),
            created_by=actor,
            idempotency_key=idempotency_key,
            request_digest=request_digest,
        )
        for _ in range(NUMBER_ATTEMPTS):
            try:
                return self._insert(draft, text), True
            except AlreadyThere as error:
                # The number went to another publisher, or this very request came twice.
                earlier = self._earlier(model, actor, idempotency_key, request_digest)
                if earlier is not None:
                    return earlier, False
                conflict = error
        raise TollwayError(
            Code.CONFLICT,
            f"too many publishers of model {model!r} at this moment; try again",
            repr(conflict),
        )

    def inspect(self, artifact: Blob, files: tuple[Blob, ...], *, by: Actor) -> Inspection:
        """What the graph of an uploaded artifact says of itself: as for :meth:`publish`, and
        nothing is registered."""
        request = VersionRequest(artifact=artifact, files=files)
        self._check_blobs(request, by)
        check_paths(files)
        return self._inspect(request, artifact)[0]

    def _local_manifest(self, model: str, request: VersionRequest, by: Actor) -> Manifest:
        assert request.artifact is not None
        self._check_blobs(request, by)
        check_paths(request.files)
        inspection, golden, background = self._inspect(request, request.artifact)
        if golden is not None:
            check_golden(golden, inspection.inputs, inspection.outputs)
        if background is not None:
            check_background(background, inspection.inputs, request.columns)
        return msgspec.structs.replace(
            _stated(model, request, inspection.inputs, inspection.outputs),
            artifact=msgspec.structs.replace(request.artifact, path=""),
            files=tuple(sorted(request.files, key=lambda file: file.path)),
            golden=request.golden and msgspec.structs.replace(request.golden, path=""),
            background=UNSET
            if request.background is UNSET
            else msgspec.structs.replace(request.background, path=""),
            additive=inspection.additive or UNSET,
            opsets=inspection.opsets,
            ir_version=inspection.ir_version,
        )

    def _remote_manifest(
        self, model: str, request: VersionRequest, remote: RemoteRequest
    ) -> Manifest:
        found = self._inspect_remote(model, remote)
        return msgspec.structs.replace(
            _stated(model, request, found.inputs, found.outputs),
            platform="open_inference_remote",
            remote=found.remote,
        )

    def clean(self) -> int:
        """Remove bundles that a crash left behind. Returns how many."""
        age_s = max(self._settings.upload_ttl_s, 10 * self._settings.inspect_timeout_s)
        before = self._clock() - int(age_s * 1000)
        removed = 0
        for left in self._bundles.iterdir():
            with suppress(FileNotFoundError):  # its own inspection has just ended
                if left.stat().st_mtime_ns // 1_000_000 < before:
                    shutil.rmtree(left) if left.is_dir() else left.unlink()
                    removed += 1
        return removed

    def _earlier(
        self, model: str, actor: str, key: str | None, request_digest: str
    ) -> VersionRecord | None:
        with self._database.read() as connection:
            if model_store.get(connection, model) is None:
                raise model_not_found(model)
            found = None if key is None else store.by_idempotency_key(connection, model, actor, key)
        if found is not None and found.request_digest != request_digest:
            raise TollwayError(
                Code.CONFLICT,
                f"this Idempotency-Key was used for version {found.number}, with another request",
            )
        return found

    def _check_blobs(self, request: VersionRequest, by: Actor) -> None:
        wanted = _blobs_of(request)
        readable = self._permissions.readable_blobs(by, {blob.digest for blob in wanted})
        limit = self._settings.max_artifact_bytes
        total = sum(blob.size for blob in wanted)
        if total > limit:
            raise TollwayError(
                Code.TOO_LARGE, f"the version has {total} bytes; the limit is {limit} bytes"
            )
        for blob in wanted:
            # A claim, so that garbage collection leaves it alone while it is being inspected.
            found = self._blobs.claim(blob.digest) if blob.digest in readable else None
            if found is None:
                raise _not_uploaded(blob.digest)
            if found.size != blob.size:
                raise TollwayError(
                    Code.INVALID, f"blob {blob.digest} has {found.size} bytes, not {blob.size}"
                )
        for what, rows in (("golden", request.golden), ("background", request.background or None)):
            if rows is not None and rows.size > MAX_ROWS_BYTES:
                raise TollwayError(
                    Code.TOO_LARGE, f"{what} rows may have at most {MAX_ROWS_BYTES} bytes"
                )

    def _inspect(
        self, request: VersionRequest, artifact: Blob
    ) -> tuple[Inspection, bytes | None, bytes | None]:
        """The inspection, and the golden and background rows."""
        with (
            self._turn(),
            materialised(self._blobs, artifact, request.files, self._bundles) as folder,
        ):
            golden = self._rows(request.golden, folder)
            background = self._rows(request.background or None, folder)
            inspection = self._inspect_bundle(
                folder / ARTIFACT_NAME,
                {file.path: file.size for file in request.files},
                timeout_s=self._settings.inspect_timeout_s,
                memory_bytes=self._settings.inspect_memory_bytes,
            )
        return inspection, golden, background

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._inspections.acquire(timeout=INSPECTION_WAIT_S):
            raise TollwayError(
                Code.UNAVAILABLE, "other versions are being inspected; try again in a moment"
            )
        try:
            yield
        finally:
            self._inspections.release()

    def _rows(self, blob: Blob | None, folder: Path) -> bytes | None:
        if blob is None:
            return None
        target = folder.with_suffix(".rows")
        try:
            self._blobs.copy_out(blob, target)
            return target.read_bytes()
        finally:
            target.unlink(missing_ok=True)

    def _insert(self, draft: VersionRecord, text: bytes) -> VersionRecord:
        digests = {blob.digest for _, blob in draft.manifest.blobs()}
        with self._database.write() as connection:
            # Under their locks nobody can begin to sweep them; see registry.collect.
            present = blob_store.lock(connection, digests)
            for digest in sorted(digests):
                if digest not in present or present[digest].state != blob_store.PRESENT:
                    raise _not_uploaded(digest)
            number = store.next_number(connection, draft.model)
            numbered = msgspec.structs.replace(draft, number=number)
            record = store.insert(connection, numbered, text)
            audit.record(
                connection,
                "version.registered",
                "version",
                f"{record.model}/{number}",
                at_ms=record.created_at,
                after=store.standing(record),
            )
        return record


def _check_kind(request: VersionRequest) -> None:
    remote = request.remote is not UNSET
    if remote == (request.artifact is not None):
        raise TollwayError(Code.INVALID, "a version has either an 'artifact' or a 'remote'")
    if remote and (request.files or request.golden is not None or request.background is not UNSET):
        raise TollwayError(
            Code.INVALID, "a remote version has no 'files', and no 'golden' or 'background' rows"
        )


def _blobs_of(request: VersionRequest) -> list[Blob]:
    every = (request.artifact, *request.files, request.golden, request.background or None)
    return [blob for blob in every if blob is not None]


def _not_uploaded(digest: str) -> TollwayError:
    return TollwayError(Code.INVALID, f"blob {digest} has not been uploaded; upload it first")


def _stated(
    model: str, request: VersionRequest, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]
) -> Manifest:
    """The manifest without what answers: neither artifact nor remote."""
    return Manifest(
        model=model,
        task=request.task,
        inputs=inputs,
        outputs=outputs,
        columns=request.columns,
        labels=request.labels,
        libraries=request.libraries,
        conversion=request.conversion,
        parity=request.parity,
        metrics=request.metrics,
        description=request.description,
    )


def _canonical(manifest: Manifest) -> bytes:
    try:
        return canonical_json(manifest)
    except (CanonicalizationError, UnicodeEncodeError) as error:
        raise TollwayError(
            Code.INVALID,
            "the manifest has a value that canonical JSON cannot hold: integers beyond 2^53, "
            "numbers that are not finite, or text that is not Unicode",
            repr(error),
        ) from None
