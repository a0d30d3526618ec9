"""Users, tokens and grants from Python and from a shell, against a whole control."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn

import tollway
from control.app import create_app
from control.settings import ControlSettings
from tollway.cli import main

PASSWORD = "correct horse battery staple"
Run = Callable[..., str]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """URL and admin token of a control that runs in a thread."""
    settings = ControlSettings(data_dir=tmp_path_factory.mktemp("data"))
    app = create_app(settings)
    config = uvicorn.Config(app, port=0, log_level="error", lifespan="on", ws="none")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(running.serve()))
    thread.start()
    started = threading.Event()
    while not running.started and thread.is_alive():
        started.wait(0.02)
    port = running.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}", settings.admin_token_path.read_text().strip()
    running.should_exit = True
    thread.join()


@pytest.fixture
def admin(server: tuple[str, str]) -> Iterator[tollway.Client]:
    with tollway.Client(*server) as client:
        yield client


@pytest.fixture
def run(
    server: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Runs a command; ``token`` None: what is stored counts. Returns its stdout."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("TOLLWAY_URL", server[0])

    def execute(*arguments: str, token: str | None = server[1], code: int = 0) -> str:
        if token is None:
            monkeypatch.delenv("TOLLWAY_TOKEN", raising=False)
        else:
            monkeypatch.setenv("TOLLWAY_TOKEN", token)
        monkeypatch.setattr("sys.argv", ["tollway", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert (ended.value.code or 0) == code, capsys.readouterr()
        return capsys.readouterr().out

    return execute


def test_a_user_logs_in_works_with_a_token_and_is_kept_out(
    admin: tollway.Client, server: tuple[str, str]
) -> None:
    made = admin.users.put("ann", role="publisher", password=PASSWORD, title="Ann")
    assert (made.name, made.role, made.consumer) == ("ann", "publisher", "ann")
    session = admin.users.log_in("ann", PASSWORD)
    assert session.secret not in repr(session)
    with tollway.Client(server[0], session.secret) as ann:
        assert ann.users.me().credential == "session"
        token = ann.tokens.create("ci", role="consumer")
        assert [one.id for one in ann.tokens.all()] == [token.id]
        with tollway.Client(server[0], token.secret) as script:
            assert script.users.me().role == "consumer"
            ann.tokens.revoke(token.id)
            with pytest.raises(tollway.AuthenticationError):
                script.users.me()
        admin.users.put("ann", disabled=True)
        with pytest.raises(tollway.AuthenticationError):
            ann.users.me()
    with pytest.raises(tollway.AuthenticationError):
        admin.users.log_in("ann", PASSWORD)
    admin.users.delete("ann")
    with pytest.raises(tollway.NotFoundError):
        admin.users.get("ann")


def test_a_model_is_shared_and_given_away(admin: tollway.Client, server: tuple[str, str]) -> None:
    admin.users.put("bob", role="publisher")
    admin.users.put("carla", role="publisher")
    httpx.put(
        f"{server[0]}/api/v1/models/risk", headers={"Authorization": f"Bearer {server[1]}"}
    ).raise_for_status()
    assert admin.grants.owner("risk") == "admin"
    admin.grants.put("risk", "bob")
    assert [(one.user, one.created_by) for one in admin.grants.all("risk")] == [("bob", "admin")]
    admin.grants.transfer("risk", "carla")
    admin.grants.delete("risk", "bob")
    assert (admin.grants.owner("risk"), admin.grants.all("risk")) == ("carla", [])


def test_the_commands_do_the_same(
    run: Run, server: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "password"
    secret.write_text(PASSWORD + "\n")
    run("users", "put", "dora", "--role", "publisher", "--password-file", str(secret))
    assert json.loads(run("users", "--json"))[-1]["name"] == "dora"
    assert "dora" in run("users", "list")

    run("login", server[0], "--user", "dora", "--password-file", str(secret), token=None)
    assert json.loads(run("users", "me", "--json", token=None))["credential"] == "session"
    made = json.loads(run("tokens", "create", "--label", "ci", "--json", token=None))
    assert made["secret"].startswith("tw_user_")
    assert made["id"] in run("tokens", token=None)
    assert made["secret"] not in run("tokens", "list", "--user", "dora")
    run("tokens", "revoke", made["id"], token=None)
    run("logout", token=None)
    run("users", "me", token=None, code=1)
    assert "nobody" in run("logout", token=None)

    run("users", "put", "dora", "--disable")
    run("login", "--user", "dora", "--password-file", str(secret), token=None, code=1)
    run("users", "delete", "dora")


def test_open_logins_are_listed_and_ended(
    admin: tollway.Client, run: Run, server: tuple[str, str]
) -> None:
    for name in ("fay", "gus"):
        admin.users.put(name, role="consumer", password=PASSWORD)
    fay, second = (admin.users.log_in("fay", PASSWORD).secret for _ in range(2))
    other = admin.users.log_in("gus", PASSWORD)
    with tollway.Client(server[0], fay) as client:
        own = client.sessions.all()
        assert [(one.user, one.current) for one in own].count(("fay", True)) == 1
        assert {one.user for one in own} == {"fay"}
        with pytest.raises(tollway.NotFoundError):
            client.sessions.end(other.id)
        [here] = [one.id for one in own if one.current]
    assert {one.user for one in admin.sessions.all()} >= {"fay", "gus"}
    listed = json.loads(run("sessions", "list", "--user", "fay", "--json"))
    assert {one["id"] for one in listed} == {one.id for one in own}
    assert here in run("sessions")

    assert json.loads(run("sessions", "end", here, "--json"))["ended"] is True
    run("users", "me", token=fay, code=1)
    assert "all sessions of gus" in run("sessions", "end", "--all", "--user", "gus")
    assert admin.sessions.all("gus") == []
    assert "all of your sessions" in run("sessions", "end", "--all", token=second)
    assert admin.sessions.all("fay") == []
    for wrong in ((), ("x", "--all"), ("x", "--user", "fay")):
        run("sessions", "end", *wrong, code=2)
    run("sessions", "end", "x", code=1)


def test_settings_are_shown_to_who_looks_after_the_installation(
    run: Run, admin: tollway.Client
) -> None:
    found = admin.operations.settings()
    assert found.database == "sqlite"
    everything = json.loads(run("settings", "--json"))
    assert len(everything["settings"]) == len(found.settings)
    changed = json.loads(run("settings", "--changed", "--json"))["settings"]
    assert {one["is_default"] for one in changed} == {False}
    assert "TOLLWAY_DATA_DIR" in {one["name"] for one in changed}
    assert "TOLLWAY_USAGE_DAYS_DAYS" in run("settings")
    admin.users.put("hal", role="consumer", password=PASSWORD)
    secret = admin.users.log_in("hal", PASSWORD).secret
    run("settings", token=secret, code=1)


def test_models_are_granted_and_transferred_by_command(
    run: Run, admin: tollway.Client, server: tuple[str, str]
) -> None:
    admin.users.put("emil", role="publisher")
    httpx.put(
        f"{server[0]}/api/v1/models/fraud", headers={"Authorization": f"Bearer {server[1]}"}
    ).raise_for_status()
    assert "fraud" in run("models")
    run("models", "grant", "fraud", "emil")
    assert "emil\tgrant" in run("models", "grants", "fraud")
    run("models", "revoke", "fraud", "emil")
    run("models", "transfer", "fraud", "emil")
    assert json.loads(run("models", "grants", "fraud", "--json"))["owner"] == "emil"


def test_the_own_password_is_changed_from_two_lines_of_stdin(
    run: Run, admin: tollway.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    import io

    admin.users.put("finn", role="consumer", password=PASSWORD)
    session = admin.users.log_in("finn", PASSWORD)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\nanother fine password\n"))
    run("users", "password", token=session.secret)
    assert admin.users.log_in("finn", "another fine password").user == "finn"
