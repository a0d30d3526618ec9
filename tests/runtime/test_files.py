"""Secrets are made once, for one reader, and writes are all or nothing."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runtime.files import lock_folder, secret_file, write_atomically
from runtime.start import StartError


def test_secret_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "secret"
    first = secret_file(path)
    assert len(first) == 64
    assert path.stat().st_mode & 0o777 == 0o600
    assert secret_file(path) == first


def test_an_empty_secret_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"\n")
    with pytest.raises(StartError, match="is empty"):
        secret_file(path)
    assert path.read_bytes() == b"\n"


def test_a_folder_that_cannot_be_locked_is_not_said_to_be_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = lock_folder(tmp_path)
    with pytest.raises(StartError, match="in use"):
        lock_folder(tmp_path)
    os.close(lock)

    def fail(_fd: int, _how: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", fail)
    with pytest.raises(OSError, match="No locks"):
        lock_folder(tmp_path)


def test_processes_that_start_together_get_one_secret(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(lambda _: secret_file(path), range(64)))) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["secret"]


def test_failed_write_leaves_the_old_file_and_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def fail(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
