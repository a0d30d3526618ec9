"""Models and versions on the server: reading them, their states, and which version gets traffic."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

import msgspec

from tollway import errors
from tollway.resources import AliasMove, Model, Transition, Version
from tollway.transport import Transport

T = TypeVar("T")

STABLE = "stable"
TO_PUBLISHED = ("validated", "approved", "published")
"""The states that a new version passes, in order."""
UNPUBLISHED = frozenset({"registered", "validated", "approved"})
_RANK = {state: rank for rank, state in enumerate(("registered", *TO_PUBLISHED))}
_OUT_OF_SERVICE = {"retired", "rejected"}
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_NOT_FOUND = 404
_NOT_YET = frozenset({_NOT_FOUND, 503})
_POLL_FIRST_S = 0.05
_POLL_LONGEST_S = 1.0


class Page(msgspec.Struct, Generic[T]):
    """A page of a listing; ``next`` is the ``after`` of the following one."""

    items: list[T]
    next: str | int | None = None


class _Alias(msgspec.Struct):
    version: int | None = None


class _Used(msgspec.Struct):
    version: int


class _Rollout(msgspec.Struct):
    canary: _Used | None = None
    shadow: list[_Used] = []


class _Pinned(msgspec.Struct):
    application: str
    version: int


class _VersionStatistics(msgspec.Struct):
    version: str = ""
    engines: list[object] = []


class _Readiness(msgspec.Struct):
    """Answer of ``GET /v2/models/M/ready``."""

    version: str = ""


class _Statistics(msgspec.Struct):
    """Answer of ``GET /v2/models/M/stats``."""

    model_stats: list[_VersionStatistics] = []


def check_name(name: str, what: str) -> str:
    """Refuse a name that the server would refuse, before any work is done for it."""
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise errors.InvalidRequestError(
            f"{what} name {name!r} is not valid: use 1 to 63 of a-z, 0-9 and '-',"
            " not starting with '-'"
        )
    return name


def listing(
    transport: Transport, path: str, type: type[T], params: Mapping[str, str | int] | None = None
) -> Iterator[T]:
    """Every item of a listing, page by page."""
    query = dict(params or {})
    while True:
        page = transport.get(path, Page[type], query)  # type: ignore[valid-type]
        yield from page.items
        if page.next is None:
            return
        query["after"] = page.next


class Waiter:
    """Polls with growing pauses until a deadline. Clock and sleep are injected for tests."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep

    def until(self, look: Callable[[], T | None], timeout_s: float) -> T | None:
        """The first result of ``look`` that is not None; None when time is up."""
        deadline = self._clock() + timeout_s
        pause = _POLL_FIRST_S
        while True:
            found = look()
            if found is not None:
                return found
            left = deadline - self._clock()
            if left <= 0:
                return None
            self._sleep(min(pause, left))
            pause = min(pause * 1.5, _POLL_LONGEST_S)


class Registry:
    """The registry's part of the management API."""

    def __init__(self, transport: Transport, waiter: Waiter) -> None:
        self._transport = transport
        self._waiter = waiter

    def check(self) -> None:
        """Ask for something small, to see whether server and token are right."""
        self._transport.get("/api/v1/models", Page[Model], {"limit": 1})

    def models(self) -> list[Model]:
        """Every model, by name."""
        return list(listing(self._transport, "/api/v1/models", Model))

    def model(self, name: str) -> Model:
        """One model."""
        return self._transport.get(f"/api/v1/models/{check_name(name, 'model')}", Model)

    def put_model(self, name: str, **fields: str | float) -> Model:
        """Make a model, or change what is given."""
        path = f"/api/v1/models/{check_name(name, 'model')}"
        return self._transport.read(self._transport.request("PUT", path, json=fields), Model)

    def versions(self, name: str) -> list[Version]:
        """Every version of a model, by number."""
        found = listing(self._transport, f"{_model(name)}/versions", Version)
        return sorted(found, key=lambda version: version.number)

    def version(self, name: str, number: int) -> Version:
        """One version."""
        return self._transport.get(_version(name, number), Version)

    def transitions(self, name: str, number: int) -> list[Transition]:
        """Who moved the version to which state, when and why."""
        path = f"{_version(name, number)}/transitions"
        return list(listing(self._transport, path, Transition))

    def set_loaded(self, name: str, number: int, loaded: bool) -> Version:
        """Have workers hold the version, or let it go."""
        response = self._transport.request("PATCH", _version(name, number), json={"loaded": loaded})
        return self._transport.read(response, Version)

    def transition(self, name: str, number: int, to: str, reason: str = "") -> Version:
        """Move the version to the state ``to``. A repetition is no error."""
        path = f"{_version(name, number)}/transitions"
        body = {"to": to, "reason": reason} if reason else {"to": to}
        try:
            self._transport.request("POST", path, json=body)
        except errors.ConflictError:
            if self.version(name, number).state != to:
                raise
        return self.version(name, number)

    def retire(self, name: str, number: int, reason: str) -> Version:
        """Take a version out of service by the steps that its state asks for."""
        state = self.version(name, number).state
        # Asked before the first step, which is not to be taken when the last one is refused.
        held = self._uses(name, number)
        if held:
            raise errors.ConflictError(
                f"version {number} of model '{name}' cannot be retired while"
                f" {', '.join(held)}: move these to another version first, or end them",
                hinted=False,
            )
        if state in UNPUBLISHED:
            return self.transition(name, number, "rejected", reason)
        if state == "published":
            self.transition(name, number, "deprecated", reason)
        return self.transition(name, number, "retired", reason)

    def _uses(self, name: str, number: int) -> list[str]:
        """What sends calls to the version, in words."""
        found = [
            f"alias '{alias}' points at it"
            for alias, at in self.model(name).aliases.items()
            if at == number
        ]
        rollout = self._transport.get(f"{_model(name)}/rollout", _Rollout)
        if rollout.canary is not None and rollout.canary.version == number:
            found.append("it is the canary")
        found += ["it is a shadow" for one in rollout.shadow if one.version == number]
        pins = listing(self._transport, f"{_model(name)}/pins", _Pinned)
        found += [f"'{pin.application}' is pinned to it" for pin in pins if pin.version == number]
        return found

    def walk(self, version: Version, to: str) -> Version:
        """Take the version through the states up to ``to`` (of ``TO_PUBLISHED``)."""
        for state in TO_PUBLISHED[: TO_PUBLISHED.index(to) + 1]:
            if version.state in _RANK and _RANK[version.state] < _RANK[state]:
                version = self.transition(version.model, version.number, state)
        return version

    def wait_ready(self, name: str, number: int, timeout_s: float) -> Version:
        """Wait until an engine answers for the version. DeploymentError says why when none will."""
        last: list[Version] = []

        def look() -> Version | None:
            version = self.version(name, number)
            last[:] = [version]
            if version.serving.state == "failed" or version.state in _OUT_OF_SERVICE:
                return version
            return version if version.serving.state == "ready" else None

        found = self._waiter.until(look, timeout_s)
        named = f"model '{name}' version {number}"
        if found is None:
            state = last[0].serving.state if last else "unknown"
            advice = (
                "no worker has taken it up: check that one runs"
                if state == "none"
                else "it may still come: look with `tollway versions`"
            )
            raise errors.DeploymentError(
                f"{named} is not ready after {timeout_s:g} s (engines: {state}); {advice}"
            )
        if found.serving.state != "ready":
            reason = found.serving.error or next(
                (engine.error for engine in found.serving.engines if engine.error), found.state
            )
            raise errors.DeploymentError(
                f"{named} cannot be served: {reason} - it stays registered without traffic;"
                " mend the model and deploy it again"
            )
        return found

    def roll_out(self, name: str, number: int, more: Mapping[str, object]) -> None:
        """Point the model's traffic at the version; ``more``: ``force`` and ``reason``."""
        body = {"stable": number, **more}
        self._transport.request("PUT", f"{_model(name)}/rollout", json=body)

    def move_alias(
        self,
        name: str,
        alias: str,
        number: int,
        expected: int | None = None,
        *,
        reason: str = "",
        force: bool = False,
    ) -> None:
        """Point ``alias`` at a version by compare-and-swap.

        ConflictError when somebody else moved it meanwhile, or when it does not point to
        ``expected`` now.
        """
        path = f"{_model(name)}/aliases/{check_name(alias, 'alias')}"
        found = self._transport.request("GET", path, accept=frozenset({_NOT_FOUND}))
        present: int | None = None
        if found.status_code == _NOT_FOUND:
            condition = {"If-None-Match": "*"}
        else:
            present = self._transport.read(found, _Alias).version
            condition = {"If-Match": found.headers.get("ETag", "*")}
        if expected is not None and present != expected:
            raise errors.ConflictError(
                f"alias '{alias}' of model '{name}' points to"
                f" {'nothing' if present is None else f'version {present}'}, not to {expected}"
            )
        if present == number:
            return
        try:
            body = {"version": number} | ({"reason": reason} if reason else {})
            body |= {"force": True} if force else {}
            self._transport.request("PUT", path, json=body, headers=condition)
        except errors.ConflictError:
            # The answer to an attempt that worked may have been lost on its way.
            if self.alias(name, alias) != number:
                raise

    def alias(self, name: str, alias: str) -> int | None:
        """The version that an alias points to; None when there is no such alias."""
        return self.model(name).aliases.get(alias)

    def alias_history(self, name: str, alias: str) -> list[AliasMove]:
        """Every move of the alias, oldest first."""
        path = f"{_model(name)}/aliases/{check_name(alias, 'alias')}/history"
        return list(listing(self._transport, path, AliasMove))

    def wait_live(self, name: str, number: int, alias: str | None, timeout_s: float) -> None:
        """Wait until the gateway answers with the version: by its number, and for ``stable`` by the
        model's name alone."""

        def look() -> bool | None:
            live = (
                self._stable(name) == number
                if alias == STABLE
                else self._answering(f"/v2/models/{name}/versions/{number}") == number
            )
            return live or None

        if self._waiter.until(look, timeout_s) is None:
            raise errors.DeploymentError(
                f"model '{name}' version {number} is loaded, but the gateway does not answer with"
                f" it after {timeout_s:g} s; `tollway versions {name}` shows the engines"
            )

    def _stable(self, name: str) -> int | None:
        """The version that the gateway answers with for the model's name; None while it does not.

        It is published, so readiness tells of it.
        """
        response = self._transport.request("GET", f"/v2/models/{name}/ready", accept=_NOT_YET)
        if not response.is_success:
            return None
        version = self._transport.read(response, _Readiness).version
        return int(version) if version.isdecimal() else None

    def _answering(self, path: str) -> int | None:
        """The version that the gateway has an engine for at ``path``; None when there is none.

        Statistics are asked for because readiness is public, and tells the public nothing of a
        version that is not published yet.
        """
        response = self._transport.request("GET", f"{path}/stats", accept=_NOT_YET)
        if not response.is_success:
            return None
        found = self._transport.read(response, _Statistics).model_stats
        return next((int(s.version) for s in found if s.engines and s.version.isdecimal()), None)


def _model(name: str) -> str:
    return f"/api/v1/models/{check_name(name, 'model')}"


def _version(name: str, number: int) -> str:
    return f"{_model(name)}/versions/{int(number)}"
