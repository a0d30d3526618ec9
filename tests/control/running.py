"""A whole control for tests, with a clock that they move."""

from typing import NamedTuple

import httpx
import pytest
from fastapi import FastAPI

from control.services import Services
from control.settings import ControlSettings
from tollway import cli

START_MS = 1_800_000_000_000


class FakeClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_ms = START_MS

    def __call__(self) -> int:
        return self.now_ms

    def advance(self, seconds: float) -> None:
        self.now_ms += round(seconds * 1000)


class Control(NamedTuple):
    """A running control: its application, a client with the admin token, and one with the cluster
    token."""

    app: FastAPI
    services: Services
    settings: ControlSettings
    clock: FakeClock
    admin: httpx.AsyncClient
    cluster: httpx.AsyncClient
    anonymous: httpx.AsyncClient


def connect(app: FastAPI, token: str | None) -> httpx.AsyncClient:
    """A client of the application, with a bearer token or none."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://control", headers=headers
    )


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run ``tollway`` with these arguments. Returns its exit code."""
    monkeypatch.setattr("sys.argv", ["tollway", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    code = ended.value.code
    return code if isinstance(code, int) else 0
