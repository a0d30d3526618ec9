"""Issuers of tokens, from Python and from a shell."""

import json
import re
from typing import Any

import httpx
import pytest

import tollway
from tollway.cli import issuers as commands
from tollway.cli.app import app

PATH = re.compile(r"/api/v1/issuers(?:/([^/]+))?")
LEAST: dict[str, Any] = {
    "issuer": "https://login.example",
    "jwks_uri": "https://login.example/keys",
    "audiences": ["tollway"],
    "algorithms": ["RS256"],
}


class FakeIssuers:
    """The routes of issuers, in memory."""

    def __init__(self) -> None:
        self.known: dict[str, dict[str, Any]] = {}
        self.sent: list[dict[str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        found = PATH.fullmatch(request.url.path)
        assert found is not None, request.url
        name = found[1]
        if name is None:
            return httpx.Response(200, json={"items": list(self.known.values()), "next": None})
        if request.method == "PUT":
            self.sent.append(json.loads(request.content))
            self.known[name] = {"name": name, **self.sent[-1]}
            return httpx.Response(201, json=self.known[name])
        if self.known.pop(name, None) is None:
            problem = {"code": "not_found", "detail": f"there is no issuer {name!r}"}
            return httpx.Response(404, json=problem)
        return httpx.Response(204)


@pytest.fixture
def server() -> FakeIssuers:
    return FakeIssuers()


@pytest.fixture
def client(server: FakeIssuers) -> tollway.Client:
    return connected(server)


def connected(server: FakeIssuers) -> tollway.Client:
    return tollway.Client("http://server", "token", transport=httpx.MockTransport(server))


def run(server: FakeIssuers, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int | str | None:
    monkeypatch.setattr(commands, "Client", lambda: connected(server))
    with pytest.raises(SystemExit) as ended:
        app(["issuers", *arguments])
    return ended.value.code


def test_an_issuer_is_put_listed_and_deleted(client: tollway.Client, server: FakeIssuers) -> None:
    made = client.put_issuer("login", **LEAST, applications={"c": "shop"}, leeway_s=None)

    assert (made.name, made.audiences, made.max_lifetime_s) == ("login", ("tollway",), 86_400)
    assert server.sent == [LEAST | {"applications": {"c": "shop"}}]
    assert client.issuers() == [made]
    client.delete_issuer("login")
    assert client.issuers() == []
    with pytest.raises(tollway.NotFoundError):
        client.delete_issuer("login")


def test_a_name_that_would_leave_its_path_is_not_sent(client: tollway.Client) -> None:
    with pytest.raises(tollway.InvalidRequestError):
        client.delete_issuer("../models")


PUT = (
    "put", "login", "--issuer", LEAST["issuer"], "--jwks-uri", LEAST["jwks_uri"],
    "--audience", "tollway", "--algorithm", "RS256",
)  # fmt: skip


def test_the_command_says_what_the_client_says(
    server: FakeIssuers,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    more = ("--application", "a=b=shop", "--scope-claim", "scp", "--scope", "x=predict",
            "--role-claim", "groups", "--role", "admins=admin", "--leeway", "5",
            "--max-lifetime", "3600", "--title", "Login")  # fmt: skip
    assert run(server, monkeypatch, *PUT, *more) == 0
    assert "are taken as issuer login" in capsys.readouterr().out
    assert server.sent == [
        LEAST
        | {
            "title": "Login",
            "applications": {"a=b": "shop"},
            "scope_claim": "scp",
            "scopes": {"x": "predict"},
            "role_claim": "groups",
            "roles": {"admins": "admin"},
            "leeway_s": 5,
            "max_lifetime_s": 3600,
        }
    ]

    assert run(server, monkeypatch) == 0
    columns, row = capsys.readouterr().out.splitlines()
    assert columns.startswith("name\tissuer\taudiences")
    assert row.startswith("login\thttps://login.example\ttollway\tRS256\ta=b=shop")
    assert run(server, monkeypatch, "list", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["name"] == "login"
    assert run(server, monkeypatch, "delete", "login", "--json") == 0
    assert server.known == {}


@pytest.mark.parametrize("pair", ["shop", "=shop", "value="])
def test_half_a_pair_is_a_wrong_command(
    server: FakeIssuers, monkeypatch: pytest.MonkeyPatch, pair: str
) -> None:
    assert run(server, monkeypatch, *PUT, "--application", pair) == 2
    assert server.sent == []


def test_a_value_that_is_mapped_twice_is_a_wrong_command(
    server: FakeIssuers, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    least = [
        "--issuer", "https://login.example", "--jwks-uri", "https://login.example/keys",
        "--audience", "tollway", "--algorithm", "RS256",
    ]  # fmt: skip
    twice = ["--application", "c=shop", "--application", "c=till"]

    assert run(server, monkeypatch, "put", "login", *least, *twice) == 2
    assert "'c' is given twice" in capsys.readouterr().err
    assert server.sent == []
