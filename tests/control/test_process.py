"""The real process: it starts, serves, stops with long polls open, and refuses what it must."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from stat import S_IMODE

import httpx
import pytest
import sqlalchemy as sa

from control.main import listen
from control.store import schema
from protocol import keys
from registry.store.database import Database

START_TIMEOUT_S = 30.0
STOP_WITHIN_S = 5.0
MAX_RESIDENT_KB = 150 * 1024


class Process:
    """``python -m control.main`` on a Unix socket."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.data = folder / "data"
        self.socket = folder / "c.sock"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "control.main"],
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith("TOLLWAY_")},
                "TOLLWAY_DATA_DIR": str(self.data),
                "TOLLWAY_BIND": f"unix:{self.socket}",
                **environment,
            },
            stderr=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid

    def client(self, token: str = "") -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        transport = httpx.HTTPTransport(uds=str(self.socket))
        return httpx.Client(transport=transport, base_url="http://control", headers=headers)

    def wait_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._listens():
            assert self._process.poll() is None, self.wait()
            assert time.monotonic() < deadline, "control did not become ready"
            time.sleep(0.02)
        with self.client() as client:
            assert client.get("/readyz").status_code == 200

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        self._process.send_signal(number)
        return self.wait()

    def wait(self) -> tuple[int, str]:
        _, errors = self._process.communicate(timeout=START_TIMEOUT_S)
        return self._process.returncode, errors

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self.wait()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path)
    try:
        process.wait_ready()
        yield process
    finally:
        process.kill()


def test_the_first_start_makes_its_secrets_for_the_owner_alone(started: Process) -> None:
    for name in ("admin.token", "cluster.token", "key.pepper"):
        assert S_IMODE((started.data / name).stat().st_mode) == 0o600, name
    assert S_IMODE(started.socket.stat().st_mode) == 0o600
    token = (started.data / "admin.token").read_text().strip()
    assert token.startswith("tw_admin_")
    assert keys.well_formed(token.encode())
    with started.client(token) as client:
        assert client.get("/api/v1/plans").status_code == 200
    for file in (started.data / "control").glob("tollway.db*"):
        assert S_IMODE(file.stat().st_mode) == 0o600, file.name
    database = (started.data / "control" / "tollway.db").read_bytes()
    assert token.encode() not in database


def test_a_stop_answers_open_long_polls_and_ends_within_seconds(started: Process) -> None:
    token = (started.data / "cluster.token").read_text().strip()
    with started.client(token) as client:
        now = client.get("/internal/v1/changes").json()
        place = {"stream": now["stream"], "after": now["next"], "wait_ms": 20_000}
        polls = [
            subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    _POLL,
                    str(started.socket),
                    token,
                    *[str(value) for value in place.values()],
                ],
                stdout=subprocess.PIPE,
            )
            for _ in range(2)
        ]
        for poll in polls:
            assert poll.stdout is not None
            assert poll.stdout.readline() == b"waiting\n"
        begun = time.monotonic()
        code, errors = started.stop()

    assert time.monotonic() - begun < STOP_WITHIN_S
    assert code == 0, errors
    assert "Traceback" not in errors
    for poll in polls:
        answered, _ = poll.communicate(timeout=10)
        assert answered == b"200\n"
    assert not started.socket.exists()


_POLL = """
import socket, sys
path, token, stream, after, wait = sys.argv[1:]
s = socket.socket(socket.AF_UNIX)
s.connect(path)
s.sendall(f"GET /internal/v1/changes?stream={stream}&after={after}&wait_ms={wait} HTTP/1.1\\r\\n"
          f"Host: c\\r\\nAuthorization: Bearer {token}\\r\\n\\r\\n".encode())
print("waiting", flush=True)
print(s.recv(65536).split()[1].decode(), flush=True)
"""


def test_a_second_start_knows_everything_and_keeps_its_token(tmp_path: Path) -> None:
    first = Process(tmp_path)
    try:
        first.wait_ready()
        token = (first.data / "admin.token").read_text().strip()
        with first.client(token) as client:
            client.put("/api/v1/applications/shop")
    finally:
        first.kill()
    assert first.socket.exists(), "a killed process leaves its socket"

    second = Process(tmp_path)
    try:
        second.wait_ready()
        with second.client(token) as client:
            assert client.get("/api/v1/applications/shop").status_code == 200
        assert second.stop(signal.SIGINT)[0] == 0
    finally:
        second.kill()


def test_an_idle_process_is_small(started: Process) -> None:
    with started.client() as client:
        client.get("/api/v1/openapi.json")
    status = Path(f"/proc/{started.pid}/status")
    if not status.exists():  # not Linux: nothing to read it from
        return
    resident = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    assert int(resident.split()[1]) < MAX_RESIDENT_KB


def test_a_database_of_a_newer_version_is_one_line_and_exit_1(tmp_path: Path) -> None:
    (tmp_path / "data" / "control").mkdir(parents=True)
    database = Database(f"sqlite:///{tmp_path / 'data' / 'control' / 'tollway.db'}")
    schema.upgrade(database)
    with database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()

    code, errors = Process(tmp_path).wait()

    assert code == 1
    assert len(errors.splitlines()) == 1
    assert "newer version" in errors


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"TOLLWAY_BIND": "nonsense"}, "TOLLWAY_BIND"),
        ({"TOLLWAY_GC_GRACE_S": "-1"}, "TOLLWAY_GC_GRACE_S"),
        ({"TOLLWAY_DATABASE_URL": "sqlite:////nowhere/at/all.db"}, "database"),
        ({"TOLLWAY_DATABASE_URL": "not a url"}, "database"),
        ({"TOLLWAY_ADMIN_TOKEN_FILE": "/dev/null"}, "management token"),
        ({"TOLLWAY_DATA_DIR": "/dev/null/x"}, "/dev/null"),
    ],
)
def test_what_keeps_it_from_starting_is_one_line_and_exit_1(
    tmp_path: Path, environment: dict[str, str], said: str
) -> None:
    code, errors = Process(tmp_path, **environment).wait()

    assert code == 1, errors
    assert len(errors.splitlines()) == 1, errors
    assert said in errors


def test_a_socket_in_use_is_not_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    with listen(f"unix:{path}"), pytest.raises(OSError, match="another process"):
        listen(f"unix:{path}")
    with listen(f"unix:{path}"):
        assert S_IMODE(path.stat().st_mode) == 0o600


def test_a_port_in_use_is_refused() -> None:
    with listen("127.0.0.1:0") as first:
        port = first.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            listen(f"127.0.0.1:{port}")
