"""What keeps the stack from starting is said in one line, with exit code 1."""

import contextlib
import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import tollway
from runtime.start import StartError
from supervisor.data_directory import FORMAT, open_data_directory
from tests.fixtures.certificates import contexts


def tollwayd(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "supervisor.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
        check=False,
    )


def one_line(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 1, result
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line


def test_a_port_that_speaks_tls_is_ready_too_and_control_knows_its_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contexts(tmp_path, "models.example.org")
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "supervisor.cli",
            "up",
            "--port",
            "0",
            "--data",
            str(tmp_path / "d"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={
            **os.environ,
            "TOLLWAY_TLS_CERTIFICATE_FILE": str(tmp_path / "chain.pem"),
            "TOLLWAY_TLS_KEY_FILE": str(tmp_path / "key.pem"),
        },
    )
    assert process.stdout is not None
    watch = threading.Timer(60.0, process.kill)
    watch.start()
    with process.stdout as output:
        try:
            line = output.readline()
            assert line.startswith("ready https://127.0.0.1:")
            monkeypatch.setenv("TOLLWAY_PINNED_CERTIFICATE", str(tmp_path / "chain.pem"))
            url, token = line.split()[1], (tmp_path / "d" / "admin.token").read_text().strip()
            with tollway.Client(url, token) as client:
                told = {one.name: one.value for one in client.operations.settings().settings}
            assert told["TOLLWAY_GATEWAY_URL"] == url
            assert told["TOLLWAY_GATEWAY_CERTIFICATE_FILE"] == str(tmp_path / "chain.pem")
        finally:
            watch.cancel()
            process.terminate()
            process.wait(30)


def test_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = one_line(tollwayd("up", "--port", str(port), "--data", str(tmp_path / "d")))
    assert f"127.0.0.1:{port}" in line
    assert "--port" in line


def test_data_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    line = one_line(tollwayd("up", "--port", "0", "--data", str(tmp_path / "file" / "d")))
    assert "--data" in line


def test_data_directory_of_a_newer_version(tmp_path: Path) -> None:
    (tmp_path / "tollway.json").write_text(json.dumps({"format": FORMAT + 1}))
    line = one_line(tollwayd("up", "--port", "0", "--data", str(tmp_path)))
    assert "newer" in line


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"format": "x"}', "\x00"])
def test_damaged_marker_is_not_guessed_at(tmp_path: Path, content: str) -> None:
    (tmp_path / "tollway.json").write_text(content)
    with pytest.raises(StartError, match="damaged"):
        open_data_directory(tmp_path)


def test_one_directory_serves_one_stack(tmp_path: Path) -> None:
    lock = open_data_directory(tmp_path)
    try:
        line = one_line(tollwayd("up", "--port", "0", "--data", str(tmp_path)))
        assert "in use" in line
    finally:
        os.close(lock)
    os.close(open_data_directory(tmp_path))


def test_setting_that_is_missing_or_wrong_is_named() -> None:
    line = one_line(tollwayd("gateway", TOLLWAY_PORT="-1"))
    assert "TOLLWAY_" in line


def gateway_settings(tmp_path: Path) -> dict[str, str]:
    for name in ("token", "pepper"):
        (tmp_path / name).write_text("secret")
    return {
        "TOLLWAY_DATA_DIR": str(tmp_path),
        "TOLLWAY_CONTROL_URL": f"unix:{tmp_path}/none.sock",
        "TOLLWAY_CLUSTER_TOKEN_FILE": str(tmp_path / "token"),
        "TOLLWAY_KEY_PEPPER_FILE": str(tmp_path / "pepper"),
    }


def test_gateway_alone_says_that_its_port_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = one_line(tollwayd("gateway", **gateway_settings(tmp_path), TOLLWAY_PORT=port))
    assert port in line


@pytest.mark.parametrize("content", [None, "", "  \n"])
def test_role_makes_no_secret_of_its_own(tmp_path: Path, content: str | None) -> None:
    settings = gateway_settings(tmp_path)
    if content is None:
        (tmp_path / "pepper").unlink()
    else:
        (tmp_path / "pepper").write_text(content)
    line = one_line(tollwayd("gateway", **settings, TOLLWAY_PORT="0"))
    assert str(tmp_path / "pepper") in line
    assert (tmp_path / "pepper").exists() == (content is not None)


def test_worker_without_its_token_says_so(tmp_path: Path) -> None:
    settings = gateway_settings(tmp_path)
    (tmp_path / "token").unlink()
    run_dir = str(tmp_path / "run")
    line = one_line(tollwayd("worker", **settings, TOLLWAY_WORKER_ID="w", TOLLWAY_RUN_DIR=run_dir))
    assert str(tmp_path / "token") in line


def test_unknown_log_level_is_refused(tmp_path: Path) -> None:
    assert tollwayd("up", "--log-level", "loud", "--data", str(tmp_path)).returncode == 2
    settings = gateway_settings(tmp_path)
    assert "LOG_LEVEL" in one_line(tollwayd("gateway", **settings, TOLLWAY_LOG_LEVEL="loud"))


def test_database_of_a_newer_version_ends_the_stack(tmp_path: Path) -> None:
    """Not only the directory: a role that says it cannot start is not started again and again."""
    (tmp_path / "control").mkdir()
    with contextlib.closing(sqlite3.connect(tmp_path / "control" / "tollway.db")) as database:
        database.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        database.execute("INSERT INTO alembic_version VALUES ('9999')")
        database.commit()
    result = tollwayd("up", "--port", "0", "--data", str(tmp_path))
    assert result.returncode == 1
    assert result.stdout == ""
    assert "newer version" in result.stderr
    # On a busy machine the others have time to warn that control is away: that is no second reason.
    lines = result.stderr.splitlines()
    assert len([line for line in lines if '"level": "warning"' not in line]) <= 2


def test_usage_error_is_exit_2() -> None:
    assert tollwayd("up", "--port", "many").returncode == 2
