"""Calls that change users, their sessions, tokens and grants, and identity providers."""

from collections.abc import Awaitable, Callable

from tests.control.audited_calls import ANN, PASSWORD, Call, done
from tests.control.running import Control

ISSUER = {
    "issuer": "https://login.example",
    "audiences": ["tollway"],
    "algorithms": ["RS256"],
    "jwks_uri": "https://login.example/keys",
}


async def change_issuer(control: Control) -> Call:
    await done(control, "PUT", "/issuers/login", json=ISSUER)
    return Call("/issuers/login", ISSUER | {"leeway_s": 5})


async def delete_issuer(control: Control) -> Call:
    await done(control, "PUT", "/issuers/login", json=ISSUER)
    return Call("/issuers/login")


async def _user(control: Control) -> str:
    """The secret of a session of the publisher ann."""
    body = {"role": "publisher", "password": PASSWORD}
    await done(control, "PUT", "/users/ann", json=body)
    login = {"name": "ann", "password": PASSWORD}
    begun = await control.anonymous.post("/api/v1/sessions", json=login)
    return str(begun.json()["secret"])


async def sign_up(_control: Control) -> Call:
    body = {"name": "newcomer", "password": PASSWORD}
    return Call("/signup", body, secret="", actor=("anonymous", "anonymous"))


async def change_user(control: Control) -> Call:
    await _user(control)
    return Call("/users/ann", {"title": "Ann"})


async def delete_user(control: Control) -> Call:
    await _user(control)
    return Call("/users/ann")


async def change_password(control: Control) -> Call:
    body = {"old": PASSWORD, "new": "another fine password"}
    return Call("/users/me/password", body, secret=await _user(control), actor=ANN)


async def log_in(control: Control) -> Call:
    await _user(control)
    return Call("/sessions", {"name": "ann", "password": PASSWORD}, secret="", actor=ANN)


def end_sessions(path: str) -> Callable[[Control], Awaitable[Call]]:
    async def prepare(control: Control) -> Call:
        return Call(path, secret=await _user(control), actor=ANN)

    return prepare


async def make_token(control: Control) -> Call:
    return Call("/tokens", {"label": "script"}, secret=await _user(control), actor=ANN)


async def revoke_token(control: Control) -> Call:
    headers = {"Authorization": f"Bearer {await _user(control)}"}
    made = await done(control, "POST", "/tokens", headers=headers)
    return Call(f"/tokens/{made['id']}/revoke")


async def grant(control: Control) -> Call:
    await done(control, "PUT", "/models/risk")
    await _user(control)
    return Call("/models/risk/grants/ann")


async def take_back_grant(control: Control) -> Call:
    call = await grant(control)
    await done(control, "PUT", call.path)
    return call


async def transfer_model(control: Control) -> Call:
    await grant(control)
    return Call("/models/risk/owner", {"user": "ann"})
