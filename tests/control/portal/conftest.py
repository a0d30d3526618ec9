"""Browsers of the portal, without a browser: pages over ASGI, with cookies."""

import html
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Concatenate, ParamSpec

import httpx
import pytest

from control.portal.api import Api
from control.settings import ControlSettings
from tests.control.running import Control

More = ParamSpec("More")
PASSWORD = "correct horse battery"
Visiting = Callable[[str | None], Awaitable[httpx.AsyncClient]]


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """What pages show does not depend on the database."""
    return f"sqlite:///{tmp_path / 'tollway.db'}"


@pytest.fixture
def settings(settings: ControlSettings) -> ControlSettings:
    """Sign-up is open, and a name is tried four times a minute at most."""
    return settings.model_copy(update={"sign_up": True, "rate_login_name": "4/minute"})


@pytest.fixture
async def visiting(control: Control) -> AsyncIterator[Visiting]:
    """``await visiting("publisher")``: ``robin-publisher``, who is logged in; None: nobody."""
    opened: list[httpx.AsyncClient] = []

    async def visit(role: str | None) -> httpx.AsyncClient:
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(control.app), base_url="http://portal"
        )
        opened.append(client)
        if role is not None:
            body = {"role": role, "password": PASSWORD}
            made = await control.admin.put(f"/api/v1/users/robin-{role}", json=body)
            assert made.is_success, made.text
            entered = await log_in(client, f"robin-{role}")
            assert entered.status_code == 303, entered.text
        return client

    yield visit
    for client in opened:
        await client.aclose()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What pages ask of the API, as it is asked: ``GET /models``."""
    return counted(monkeypatch, Api.call)


def counted(
    monkeypatch: pytest.MonkeyPatch,
    call: Callable[Concatenate[Api, str, str, More], Awaitable[httpx.Response]],
) -> list[str]:
    """A list of the calls from here on."""
    found: list[str] = []

    async def counting(
        api: Api, method: str, path: str, *more: More.args, **named: More.kwargs
    ) -> httpx.Response:
        found.append(f"{method} {path}")
        return await call(api, method, path, *more, **named)

    monkeypatch.setattr(Api, "call", counting)
    return found


async def log_in(
    client: httpx.AsyncClient, name: str, password: str = PASSWORD, **fields: str
) -> httpx.Response:
    """Send the login page's form."""
    token = await token_of(client, "/portal/login")
    form = {"csrf": token, "name": name, "password": password, **fields}
    return await client.post("/portal/login", data=form)


async def filled(client: httpx.AsyncClient, action: str, *pages: str) -> dict[str, str]:
    """The hidden fields of the form that is sent to ``action``, on the first of ``pages`` that has
    it; left out: the page of that address, and the one above it. The token alone if none does."""
    for page in pages or (action, action.rpartition("/")[0]):
        answer = await client.get(page)
        found = filled_of(answer.text, action)
        if found:
            return found
    return {"csrf": await token_of(client)}


def filled_of(text: str, action: str) -> dict[str, str]:
    """The hidden fields of the form that a page has for ``action``; none where it has none."""
    form = re.search(rf'<form[^>]*action="{re.escape(action)}".*?</form>', text, re.DOTALL)
    return {} if form is None else hidden(form[0])


def hidden(form: str) -> dict[str, str]:
    """The hidden fields of a form, as a browser sends them."""
    found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form)
    return {name: html.unescape(value) for name, value in found}


async def token_of(client: httpx.AsyncClient, path: str = "/portal") -> str:
    """The token in a page."""
    answer = await client.get(path)
    found = re.search(r'<meta name="csrf-token" content="(\w+)">', answer.text)
    assert found is not None, answer.text
    return found[1]
