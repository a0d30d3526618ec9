"""A credential goes where its file says, and nowhere else."""

import json
from pathlib import Path
from typing import Any

import pytest

from protocol.errors import TollwayError
from protocol.manifest import Remote
from runtime.remote_credentials import RemoteCredentials, Secret

ORIGIN = "https://models.example"


def remote(url: str = ORIGIN, credential: str = "triton") -> Remote:
    return Remote(url=url, model="m", credential=credential)


@pytest.fixture
def credentials(tmp_path: Path) -> RemoteCredentials:
    return RemoteCredentials(tmp_path)


def put(folder: Path, mode: int = 0o600, **document: Any) -> None:
    path = folder / "triton"
    path.write_text(json.dumps({"origins": [ORIGIN], **document}))
    path.chmod(mode)


def test_a_token_is_sent_as_a_bearer(credentials: RemoteCredentials, tmp_path: Path) -> None:
    put(tmp_path, token="s3cret")
    assert credentials.secret("m", remote()) == Secret("Authorization", "Bearer s3cret")


def test_a_header_of_another_name_is_sent_as_it_is(
    credentials: RemoteCredentials, tmp_path: Path
) -> None:
    put(tmp_path, header="X-API-Key", value="s3cret")
    assert credentials.secret("m", remote()) == Secret("X-API-Key", "s3cret")


def test_without_a_credential_nothing_is_read(credentials: RemoteCredentials) -> None:
    assert credentials.secret("m", remote(credential="")) is None


@pytest.mark.parametrize(
    "url", [ORIGIN, f"{ORIGIN}/a/b", "https://models.example:443", "https://MODELS.example"]
)
def test_an_origin_is_scheme_host_and_port(
    credentials: RemoteCredentials, tmp_path: Path, url: str
) -> None:
    put(tmp_path, token="s3cret")
    assert credentials.secret("m", remote(url)) is not None


@pytest.mark.parametrize(
    "url",
    [
        "http://models.example",
        "https://models.example:8443",
        "https://models.example.evil.example",
        "https://evil.example/https://models.example",
        "https://models.example@evil.example",
    ],
)
def test_a_version_cannot_send_a_credential_elsewhere(
    credentials: RemoteCredentials, tmp_path: Path, url: str
) -> None:
    put(tmp_path, token="s3cret")
    with pytest.raises(TollwayError, match="is not meant for"):
        credentials.secret("m", remote(url))


def test_a_credential_may_be_for_some_models_alone(
    credentials: RemoteCredentials, tmp_path: Path
) -> None:
    put(tmp_path, token="s3cret", models=["m"])
    assert credentials.secret("m", remote()) is not None
    with pytest.raises(TollwayError, match="not meant for model 'other'"):
        credentials.secret("other", remote())


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_file_that_others_can_read_is_refused(
    credentials: RemoteCredentials, tmp_path: Path, mode: int
) -> None:
    put(tmp_path, mode, token="s3cret")
    with pytest.raises(TollwayError, match="chmod 600"):
        credentials.secret("m", remote())


@pytest.mark.parametrize("name", ["../triton", "a/b", ".", "A", "no-such"])
def test_a_name_leads_to_no_file_outside(credentials: RemoteCredentials, name: str) -> None:
    with pytest.raises(TollwayError, match="is not"):
        credentials.secret("m", remote(credential=name))


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"token": "s3cret", "header": "X-A", "value": "s3cret"},
        {"header": "X-A"},
        {"header": "Host", "value": "s3cret"},
        {"header": "Content-Length", "value": "s3cret"},
        {"header": "X A", "value": "s3cret"},
        {"header": "X-A", "value": "s3cret\r\nX-B: c"},
        {"token": "s3cret\n"},
        {"token": "s3crét"},
        {"token": "s3cret", "extra": 1},
        {"token": 1, "origins": "s3cret"},
    ],
)
def test_a_file_that_makes_no_header_is_refused_without_quoting_it(
    credentials: RemoteCredentials, tmp_path: Path, document: dict[str, Any]
) -> None:
    put(tmp_path, **document)
    with pytest.raises(TollwayError) as refused:
        credentials.secret("m", remote())
    assert "s3c" not in str(refused.value)


def test_a_secret_does_not_show_itself() -> None:
    assert "s3cret" not in repr(Secret("Authorization", "Bearer s3cret"))
