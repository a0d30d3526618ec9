"""Files that must survive a crash, and secrets on disk."""

import fcntl
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from runtime.start import StartError


def write_atomically(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Replace ``path`` by ``data``: readers, and a crash, see the old bytes or the new."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def blob_path(store: Path, digits: str) -> Path:
    """Where a folder of blobs keeps the one whose SHA-256 has these hex digits: control writes
    there, and workers on the same machine may read."""
    return store / "sha256" / digits[:2] / digits


def make_private(descriptor: int) -> None:
    """Take an open file's bytes from everybody but its owner. One of another user is left to them:
    this process may be allowed to use it, not to decide on it."""
    if os.fstat(descriptor).st_mode & 0o077:
        with suppress(PermissionError):
            os.fchmod(descriptor, 0o600)


def sync_directory(path: Path) -> None:
    """Make renames and new names in ``path`` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lock_folder(folder: Path) -> int:
    """Take ``folder`` for this process alone, until the descriptor returned is closed.

    Raises :class:`StartError` when another process has it. ``flock`` does nothing on some network
    file systems: a role's folder belongs on a local disk.
    """
    lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        if not isinstance(error, BlockingIOError):  # a file system without locks, or too many
            raise
        raise StartError(
            f"{folder} is in use by another process: stop it, or choose another data directory"
        ) from None
    return lock


def read_secret(path: Path) -> bytes:
    """The secret in ``path``, which another role has made. Raises :class:`StartError`."""
    try:
        secret = path.read_bytes().strip()
    except OSError as error:
        raise StartError(
            f"the secret file {path} cannot be read: {error.strerror}. Copy it from the machine "
            "that runs control, readable by this user alone"
        ) from None
    if not secret:
        raise StartError(f"the secret file {path} is empty: copy it again")
    return secret


def secret_file(path: Path, make: Callable[[], str] = lambda: secrets.token_hex(32)) -> bytes:
    """What ``path`` holds; made by ``make`` (mode 0600) when there is no such file yet.

    Of several processes that start at once, all get the secret of the one that was first. Raises
    :class:`StartError` for an empty file: anybody knows the secret that it holds.
    """
    if not path.exists():
        _make_secret(path, make())
    secret = path.read_bytes().strip()
    if not secret:
        raise StartError(
            f"the secret file {path} is empty: restore it from a backup. A new one is made when "
            "the file is removed, and what was made with the old one holds no longer"
        )
    return secret


def _make_secret(path: Path, secret: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    write_atomically(temporary, secret.encode() + b"\n", 0o600)
    try:
        os.link(temporary, path)  # fails when another process was first; a rename would replace
    except FileExistsError:
        pass
    finally:
        temporary.unlink()
    sync_directory(path.parent)
