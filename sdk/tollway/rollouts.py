"""How a model's traffic is answered: its rollout, and the pins of applications."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tollway import errors
from tollway.guarded import CanaryStep, Guard, Guarded, GuardedCanary
from tollway.registry import check_name, listing
from tollway.transport import Retry, Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """A version that answers ``percent`` of the applications which name none."""

    version: int
    percent: float
    since: str = ""
    steps: tuple[CanaryStep, ...] | None = None
    """None: its share is set by hand."""
    guard: Guard | None = None
    promote: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """A version that also scores ``percent`` of the requests, after their answer has left."""

    version: int
    percent: float = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """Which versions answer. ``previous`` is where a rollback goes; None: nowhere. ``guarded``: the
    last guarded canary, under way or over."""

    stable: int | None = None
    canary: Canary | None = None
    shadow: tuple[Shadow, ...] = ()
    previous: int | None = None
    guarded: GuardedCanary | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutChange:
    """The rollout as one change left it. ``cause``: ``set``, ``rollback`` ..."""

    stable: int | None = None
    canary: Canary | None = None
    shadow: tuple[Shadow, ...] = ()
    cause: str = ""
    actor: str = ""
    reason: str = ""
    at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """The version that answers an application's calls of a model which name none. ``set_by``:
    ``consumer`` or ``publisher``."""

    application: str
    model: str
    version: int
    set_by: str = ""
    reason: str = ""
    created_at: str = ""
    updated_at: str = ""


class Rollouts:
    """The rollouts' part of the management API."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.guarded = Guarded(transport)

    def get(self, model: str) -> Rollout:
        """The model's rollout."""
        return self._transport.get(_rollout(model), Rollout)

    def history(self, model: str) -> Iterator[RolloutChange]:
        """Every change, oldest first."""
        return listing(self._transport, f"{_rollout(model)}/history", RolloutChange)

    def change(
        self, model: str, fields: Mapping[str, object], *, reason: str, force: bool
    ) -> Rollout:
        """Change what ``fields`` name: ``stable``, ``canary``, ``shadow``."""
        body = {**fields, **said(reason, force=force)}
        return self._transport.read(
            self._transport.request("PUT", _rollout(model), json=body), Rollout
        )

    def change_shadows(
        self, model: str, add: Shadow | None, remove: frozenset[int] | None, *, reason: str
    ) -> Rollout:
        """Add one shadow to those that there are, or take some away (None: all)."""
        found = self._transport.request("GET", _rollout(model))
        present = self._transport.read(found, Rollout).shadow
        gone = {add.version} if add is not None else remove
        kept = [one for one in present if gone is not None and one.version not in gone]
        wanted = kept if add is None else [*kept, add]
        body = {
            "shadow": [{"version": one.version, "percent": one.percent} for one in wanted],
            **said(reason, force=False),
        }
        # Nobody else's shadow is lost.
        condition = {"If-Match": found.headers["ETag"]} if "ETag" in found.headers else {}
        answer = self._transport.request("PUT", _rollout(model), json=body, headers=condition)
        return self._transport.read(answer, Rollout)

    def roll_back(self, model: str, reason: str) -> Rollout:
        """Give the traffic back to the version that was stable before."""
        found = self._transport.request("GET", _rollout(model))
        condition = {"If-Match": found.headers["ETag"]} if "ETag" in found.headers else {}
        answer = self._transport.request(
            "POST",
            f"/api/v1/models/{check_name(model, 'model')}/rollback",
            json=said(reason, force=False),
            headers=condition,
            retry=Retry.UNSENT,  # a second one would go back two versions
        )
        return self._transport.read(answer, Rollout)

    def pins(self, application: str | None, model: str | None) -> list[Pin]:
        """The pins of an application, or of a model."""
        if (application is None) == (model is None):
            raise errors.InvalidRequestError("name an application or a model, one of the two")
        if application is not None:
            path = f"/api/v1/applications/{check_name(application, 'application')}/pins"
        else:
            path = f"/api/v1/models/{check_name(model or '', 'model')}/pins"
        return list(listing(self._transport, path, Pin))

    def pin(self, application: str, model: str, version: int, reason: str) -> Pin:
        """Have a version answer the application's calls."""
        body = {"version": version, **said(reason, force=False)}
        answer = self._transport.request("PUT", _pin(application, model), json=body)
        return self._transport.read(answer, Pin)

    def unpin(self, application: str, model: str) -> None:
        """Have the rollout say again which version answers."""
        self._transport.request("DELETE", _pin(application, model))


def said(reason: str, *, force: bool) -> dict[str, object]:
    """What a change says beside what it changes; servers that know of neither are told neither."""
    return ({"reason": reason} if reason else {}) | ({"force": True} if force else {})


def _rollout(model: str) -> str:
    return f"/api/v1/models/{check_name(model, 'model')}/rollout"


def _pin(application: str, model: str) -> str:
    name = check_name(application, "application")
    return f"/api/v1/applications/{name}/pins/{check_name(model, 'model')}"
