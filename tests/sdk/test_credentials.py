"""Where the client gets its server and token from."""

import stat
from pathlib import Path

import pytest

import tollway
from tollway import credentials
from tollway.credentials import Credentials


def test_arguments_go_before_the_environment_before_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    credentials.save(Credentials("http://file", "t-file"))
    assert credentials.resolve(None, None) == Credentials("http://file", "t-file")
    monkeypatch.setenv("TOLLWAY_URL", "http://env")
    monkeypatch.setenv("TOLLWAY_TOKEN", "t-env")
    assert credentials.resolve(None, None) == Credentials("http://env", "t-env")
    assert credentials.resolve("http://arg/", "t-arg") == Credentials("http://arg", "t-arg")


def test_a_stored_token_goes_to_no_other_server() -> None:
    credentials.save(Credentials("http://file", "t-file"))
    assert credentials.resolve("http://elsewhere", None).token is None
    assert credentials.resolve("http://file/", None).token == "t-file"


def test_the_file_is_for_its_owner_only_and_never_half_written() -> None:
    file = credentials.save(Credentials("http://a", "t"))
    credentials.save(Credentials("http://b", "t2"))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_without_anything_the_local_server_is_meant() -> None:
    assert credentials.resolve(None, None) == Credentials("http://127.0.0.1:8080", None)
    assert credentials.resolve("host:1", None).url == "http://host:1"


def test_a_broken_file_says_what_to_do() -> None:
    file = credentials.path()
    file.parent.mkdir(parents=True)
    file.write_text("{")
    with pytest.raises(tollway.CredentialsError, match="run `tollway login URL` again"):
        credentials.resolve(None, None)


def test_a_place_that_cannot_be_written_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    with pytest.raises(tollway.CredentialsError, match="cannot write"):
        credentials.save(Credentials("http://a", "t"))


def test_the_token_is_in_no_repr() -> None:
    assert "secret" not in repr(Credentials("http://a", "secret"))
