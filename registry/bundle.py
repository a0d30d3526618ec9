"""Bundles: a model's artifact and its external data files, side by side in one folder."""

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final

from protocol.errors import Code, TollwayError
from protocol.manifest import Blob
from registry.blobs import Blobs

ARTIFACT_NAME: Final = "model.onnx"
MAX_PATH_CHARACTERS: Final = 255


def check_paths(files: Iterable[Blob]) -> None:
    """Raise ``INVALID`` unless every path stays inside the bundle and names one file of its own."""
    seen = {ARTIFACT_NAME}
    for file in files:
        _check_path(file.path)
        if file.path in seen:
            raise TollwayError(Code.INVALID, f"file path {file.path!r} is used twice")
        seen.add(file.path)
    for path in seen:
        for parent in PurePosixPath(path).parents:
            if str(parent) in seen:
                raise TollwayError(
                    Code.INVALID, f"file path {str(parent)!r} is a file and a folder at once"
                )


@contextmanager
def materialised(
    blobs: Blobs, artifact: Blob, files: Iterable[Blob], under: Path
) -> Iterator[Path]:
    """A folder below ``under`` with verified private copies of the blobs; removed at the end.

    Copies, not links: links are what external data must not be.
    """
    folder = Path(tempfile.mkdtemp(dir=under))
    try:
        blobs.copy_out(artifact, folder / ARTIFACT_NAME)
        for file in files:
            target = folder / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            blobs.copy_out(file, target)
        yield folder
    finally:
        shutil.rmtree(folder)


def _check_path(path: str) -> None:
    parts = path.split("/")
    printable = path.isprintable() and "\\" not in path and ":" not in path
    if (
        not 0 < len(path) <= MAX_PATH_CHARACTERS
        or not printable
        or any(part in ("", ".", "..") for part in parts)
    ):
        raise TollwayError(
            Code.INVALID,
            f"file path {path[:80]!r} must be relative, inside the bundle, at most "
            f"{MAX_PATH_CHARACTERS} characters, with '/' between plain names",
        )
