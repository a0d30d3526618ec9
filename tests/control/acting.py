"""Clients of a control as certain actors, without accounts: what a reach allows is tested alone."""

import httpx
import pytest

from control.store.credentials import Credential
from protocol.errors import Code, TollwayError
from registry.access import Actor
from tests.control.running import Control, connect


class Cast:
    """Actors by name; a client's token is the name."""

    def __init__(self, control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
        self._control = control
        self._actors: dict[str, Actor] = {}
        monkeypatch.setattr(control.services.authenticator, "authenticate", self._authenticate)

    def client(self, actor: Actor) -> httpx.AsyncClient:
        """A client whose requests are ``actor``'s."""
        self._actors[actor.name] = actor
        return connect(self._control.app, actor.name)

    def _authenticate(self, authorization: bytes | None, *_more: object) -> Credential:
        name = (authorization or b"").decode().removeprefix("Bearer ")
        if name not in self._actors:
            raise TollwayError(Code.UNAUTHENTICATED, "nobody")
        return Credential(self._actors[name], "token", name, None)
