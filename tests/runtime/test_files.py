"""Secrets are made once, for one reader, and writes are all or nothing."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runtime.files import secret_file, write_atomically


def test_secret_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "secret"
    first = secret_file(path)
    assert len(first) == 64
    assert path.stat().st_mode & 0o777 == 0o600
    assert secret_file(path) == first


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
