"""Blobs from control, kept by digest on this machine, and handed to engines as verified copies."""

import asyncio
import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Final

import httpx

from protocol.manifest import Blob, Manifest

CHUNK: Final = 1 << 20
ARTIFACT: Final = "model.onnx"
GOLDEN: Final = "golden.json"
BACKGROUND: Final = "background.json"
_DIGEST: Final = "sha256:"


class FetchError(Exception):
    """A blob cannot be had, or is not what its digest says."""


class BlobCache:
    """``blobs/HEX`` were verified when they were written; ``partial/HEX`` are on their way.

    Nothing read from the cache is trusted: staging verifies again what it copies, so an engine only
    ever sees bytes whose digest was right a moment ago, in files that nothing else links to.
    """

    def __init__(self, root: Path, client: httpx.AsyncClient) -> None:
        self._client = client
        self._blobs = root / "blobs"
        self._partial = root / "partial"
        self._blobs.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._partial.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._locks: dict[str, asyncio.Lock] = {}

    async def stage(self, manifest: Manifest, folder: Path) -> None:
        """Fill ``folder``, made anew, with a version's files. Raises :class:`FetchError`."""
        await asyncio.to_thread(_make_empty, folder)
        places = {"artifact": ARTIFACT, "golden": GOLDEN, "background": BACKGROUND}
        for role, blob in manifest.blobs():
            target = folder / (places.get(role) or _inside(blob.path))
            if not await asyncio.to_thread(self._copy, blob, target):
                await self._download(blob)
                if not await asyncio.to_thread(self._copy, blob, target):
                    raise FetchError(f"{blob.digest} does not stay intact on this disk")

    def has(self, manifest: Manifest) -> bool:
        """Whether everything that a version needs is here, intact as far as sizes tell."""
        return all(
            _size(self._blobs / _hex(blob.digest)) == blob.size for _, blob in manifest.blobs()
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

    def _copy(self, blob: Blob, target: Path) -> bool:
        """Copy a blob from the cache, taking its digest; False, and forgotten, if it is wrong."""
        source = self._blobs / _hex(blob.digest)
        digest = hashlib.sha256()
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            with source.open("rb") as reader, target.open("xb") as writer:
                while chunk := reader.read(CHUNK):
                    digest.update(chunk)
                    writer.write(chunk)
        except FileNotFoundError:
            return False
        if _DIGEST + digest.hexdigest() == blob.digest:
            return True
        target.unlink()
        source.unlink(missing_ok=True)
        return False

    async def _download(self, blob: Blob) -> None:
        name = _hex(blob.digest)
        lock = self._locks.setdefault(name, asyncio.Lock())
        async with lock:
            final = self._blobs / name
            if await asyncio.to_thread(final.exists):
                return  # another engine's start fetched it while this one waited
            partial = self._partial / name
            try:
                await self._receive(blob, partial)
            except (httpx.HTTPError, OSError) as error:
                # What has arrived stays, and the next attempt asks for the rest.
                raise FetchError(f"cannot fetch {blob.digest}: {error!r}") from error
            if await asyncio.to_thread(_digest, partial) != blob.digest:
                await asyncio.to_thread(partial.unlink)
                raise FetchError(f"{blob.digest} arrived with another digest")
            await asyncio.to_thread(_publish, partial, final)

    async def _receive(self, blob: Blob, partial: Path) -> None:
        have = await asyncio.to_thread(_size, partial)
        if have >= blob.size:
            have = 0
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        url = f"/internal/v1/blobs/{blob.digest}"
        async with self._client.stream("GET", url, headers=headers, timeout=30.0) as response:
            response.raise_for_status()
            resumed = response.status_code == httpx.codes.PARTIAL_CONTENT
            file = await asyncio.to_thread(partial.open, "ab" if resumed else "wb")
            try:
                received = have if resumed else 0
                async for chunk in response.aiter_raw():
                    received += len(chunk)
                    if received > blob.size:
                        raise FetchError(f"{blob.digest} is larger than its manifest says")
                    await asyncio.to_thread(file.write, chunk)
            finally:
                await asyncio.to_thread(file.close)


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
