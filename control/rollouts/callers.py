"""Who calls a model, and from which share on a canary answers them. Pure."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from protocol.buckets import BUCKETS, bucket

_PERCENT = 100


class _Resource(BaseModel):
    model_config = ConfigDict(frozen=True)


class RolloutCaller(_Resource):
    """An application that calls the model."""

    application: str
    consumer: str | None
    """Null: nothing is known of the application any more."""
    requests: int
    canary_from: float
    """Percent: a canary with this share or more answers it, whatever the canary is. Raising the
    share never takes an application back."""
    pinned: int | None
    """The version that it is pinned to: then no share moves it."""


class RolloutCallers(_Resource):
    """Who calls a model."""

    days: int
    applications: int
    """All of them, listed or not. Calls with management tokens are no application's: stable
    answers them."""
    requests: int
    items: list[RolloutCaller]


class RolloutTraffic(_Resource):
    """Requests of the model that were answered lately."""

    variant: str
    """`stable`, `canary` or `pinned`."""
    version: int
    requests: int


def callers_of(
    model: str,
    days: int,
    whole: tuple[int, int],
    named: Mapping[str, int],
    consumers: Mapping[str, str],
    pins: Mapping[str, int],
) -> RolloutCallers:
    """The resource: ``whole`` is the number of applications and of their requests, of which those
    ``named`` are listed with theirs."""
    applications, requests = whole
    return RolloutCallers(
        days=days,
        applications=applications,
        requests=requests,
        items=[
            RolloutCaller(
                application=name,
                consumer=consumers.get(name),
                requests=count,
                canary_from=canary_from(model, name),
                pinned=pins.get(name),
            )
            for name, count in named.items()
        ],
    )


def canary_from(model: str, application: str) -> float:
    """The least share, in percent, at which a canary of the model answers the application."""
    return (bucket(model, application) + 1) * _PERCENT / BUCKETS
