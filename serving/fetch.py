"""Blobs from control, kept by digest on this machine, and handed to engines as verified copies."""

import asyncio
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final, TypeVar

import httpx

from protocol.manifest import Blob, Manifest
from runtime.files import blob_path
from runtime.priority import lowered_threads

CHUNK: Final = 1 << 20
ARTIFACT: Final = "model.onnx"
GOLDEN: Final = "golden.json"
BACKGROUND: Final = "background.json"
QUIET_THREADS: Final = 2
"""As many engines load at the same time, unless the settings say otherwise."""
_DIGEST: Final = "sha256:"

Done = TypeVar("Done")


class FetchError(Exception):
    """A blob cannot be had, or is not what its digest says."""


class BlobCache:
    """``blobs/HEX`` were verified when they were written; ``partial/HEX`` are on their way.

    Where control keeps its blobs on this machine they are read there, and no second copy is kept.
    Nothing read from either place is trusted: staging verifies what it copies, so an engine only
    ever sees bytes whose digest was right a moment ago, in files that nothing else links to.
    """

    def __init__(self, root: Path, client: httpx.AsyncClient, nearby: Path | None = None) -> None:
        """``nearby``: control's folder of blobs, if it is on this machine."""
        self._client = client
        self._nearby = nearby
        self._blobs = root / "blobs"
        self._partial = root / "partial"
        self._blobs.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._partial.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._locks: dict[str, asyncio.Lock] = {}
        self._quiet = lowered_threads(QUIET_THREADS, "blobs")

    async def stage(self, manifest: Manifest, folder: Path, *, urgent: bool = True) -> None:
        """Fill ``folder``, made anew, with a version's files. Raises :class:`FetchError`.

        Unless it is urgent, bytes are moved and hashed at a low priority."""
        threads = None if urgent else self._quiet
        await _in(threads, partial(_make_empty, folder))
        places = {"artifact": ARTIFACT, "golden": GOLDEN, "background": BACKGROUND}
        for role, blob in manifest.blobs():
            copy = partial(self._copy, blob, folder / (places.get(role) or _inside(blob.path)))
            if not await _in(threads, copy):
                await self._download(blob, threads)
                if not await _in(threads, copy):
                    raise FetchError(f"{blob.digest} does not stay intact on this disk")

    def has(self, manifest: Manifest) -> bool:
        """Whether everything that a version needs is here, intact as far as sizes tell."""
        return all(
            any(_size(place) == blob.size for place in self._places(_hex(blob.digest)))
            for _, blob in manifest.blobs()
        )

    def keep_only(self, manifests: Iterable[Manifest]) -> None:
        """Drop cached blobs that none of these versions needs."""
        needed = {_hex(blob.digest) for manifest in manifests for _, blob in manifest.blobs()}
        for folder in (self._blobs, self._partial):
            for path in folder.iterdir():
                if path.name not in needed and not self._locked(path.name):
                    path.unlink(missing_ok=True)

    def _locked(self, name: str) -> bool:
        lock = self._locks.get(name)
        return lock is not None and lock.locked()

    def _places(self, name: str) -> list[Path]:
        cached = self._blobs / name
        return [cached] if self._nearby is None else [cached, blob_path(self._nearby, name)]

    def _copy(self, blob: Blob, target: Path) -> bool:
        """Copy a blob that is on this machine, taking its digest. False where it is not, or is
        wrong; the cache forgets it then."""
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = _hex(blob.digest)
        for place in self._places(name):
            if _copied(place, blob, target):
                return True
        (self._blobs / name).unlink(missing_ok=True)
        return False

    async def _download(self, blob: Blob, threads: ThreadPoolExecutor | None) -> None:
        name = _hex(blob.digest)
        lock = self._locks.setdefault(name, asyncio.Lock())
        async with lock:
            final = self._blobs / name
            if await _in(threads, final.exists):
                return  # another engine's start fetched it while this one waited
            arriving = self._partial / name
            try:
                await self._receive(blob, arriving, threads)
            except (httpx.HTTPError, OSError) as error:
                # What has arrived stays, and the next attempt asks for the rest.
                raise FetchError(f"cannot fetch {blob.digest}: {error!r}") from error
            if await _in(threads, partial(_digest, arriving)) != blob.digest:
                await _in(threads, arriving.unlink)
                raise FetchError(f"{blob.digest} arrived with another digest")
            await _in(threads, partial(_publish, arriving, final))

    async def _receive(
        self, blob: Blob, arriving: Path, threads: ThreadPoolExecutor | None
    ) -> None:
        have = await _in(threads, partial(_size, arriving))
        if have >= blob.size:
            have = 0
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        url = f"/internal/v1/blobs/{blob.digest}"
        async with self._client.stream("GET", url, headers=headers, timeout=30.0) as response:
            response.raise_for_status()
            resumed = response.status_code == httpx.codes.PARTIAL_CONTENT
            file = await _in(threads, lambda: arriving.open("ab" if resumed else "wb"))
            try:
                received = have if resumed else 0
                async for chunk in _joined(response.aiter_raw()):
                    received += len(chunk)
                    if received > blob.size:
                        raise FetchError(f"{blob.digest} is larger than its manifest says")
                    await _in(threads, partial(file.write, chunk))
            finally:
                await _in(threads, file.close)


async def _in(threads: ThreadPoolExecutor | None, work: Callable[[], Done]) -> Done:
    """Do ``work`` in one of these threads, or of the usual ones, and wait for it."""
    return await asyncio.get_running_loop().run_in_executor(threads, work)


async def _joined(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces of at least :data:`CHUNK`, but for the last: what each piece costs
    is paid less often. A break in the middle loses none that came."""
    held = bytearray()
    try:
        async for piece in pieces:
            held += piece
            if len(held) >= CHUNK:
                yield bytes(held)
                held.clear()
    except httpx.HTTPError:
        if held:
            yield bytes(held)
        raise
    if held:
        yield bytes(held)


def _copied(source: Path, blob: Blob, target: Path) -> bool:
    """Copy ``source`` if it is the blob. Of a file that may not be read, nothing is known here."""
    digest = hashlib.sha256()
    try:
        with source.open("rb") as reader, target.open("xb") as writer:
            while chunk := reader.read(CHUNK):
                digest.update(chunk)
                writer.write(chunk)
    except (FileNotFoundError, PermissionError):
        return False
    if _DIGEST + digest.hexdigest() == blob.digest:
        return True
    target.unlink()
    return False


def _hex(digest: str) -> str:
    """The file name of a digest; the digest decides a path, so its form is checked."""
    name = digest.removeprefix(_DIGEST)
    if len(name) != hashlib.sha256().digest_size * 2 or not set(name) <= set("0123456789abcdef"):
        raise FetchError(f"{digest[:80]!r} is no digest")
    return name


def _inside(path: str) -> str:
    """A bundle's relative path, refused if it could leave the folder or replace our own files."""
    parts = PurePosixPath(path)
    if (
        not path
        or parts.is_absolute()
        or ".." in parts.parts
        or "\\" in path
        or "\0" in path
        or str(parts) in (".", ARTIFACT, GOLDEN)
    ):
        raise FetchError(f"the bundle's path {path[:80]!r} is not allowed")
    return path


def _make_empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return _DIGEST + hashlib.file_digest(file, "sha256").hexdigest()


def _publish(partial: Path, final: Path) -> None:
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(final)
