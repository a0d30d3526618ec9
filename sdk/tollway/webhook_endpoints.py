"""Webhook endpoints on the server: where deliveries go, and what became of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from tollway import errors
from tollway.registry import listing
from tollway.transport import Retry, Transport

PATH = "/api/v1/webhooks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """An endpoint, without its secret."""

    id: str
    url: str
    events: tuple[str, ...] = ()
    title: str = ""
    enabled: bool = True
    disabled_reason: str = ""
    scope: str = "all"
    consumer: str | None = None
    models: tuple[str, ...] | None = None
    owner: str = ""
    secret_generation: int = 1
    previous_secret_until: str | None = None
    failing_since: str | None = None
    created_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewWebhook(Webhook):
    """An endpoint at the only moment its ``secret`` is known. Its repr leaves the secret out."""

    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt at a delivery; ``status`` None: no answer came."""

    at: str
    status: int | None = None
    error: str = ""
    duration_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One event for one endpoint; ``event`` is the ``webhook-id`` that it is sent with."""

    id: str
    webhook: str
    event: str
    type: str
    state: Literal["pending", "delivered", "failed"]
    attempts: tuple[Attempt, ...] = ()
    next_attempt_at: str | None = None
    created_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Replay:
    queued: int
    next: int | None = None


class WebhookEndpoints:
    """The part of the management API about webhooks: ``client.webhooks``."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def all(self) -> list[Webhook]:
        """Every endpoint that the token reaches."""
        return list(listing(self._transport, PATH, Webhook))

    def get(self, id: str) -> Webhook:
        """One endpoint."""
        return self._transport.get(_path(id), Webhook)

    def create(
        self,
        url: str,
        events: Sequence[str] = ("*",),
        *,
        title: str = "",
        consumer: str | None = None,
        models: Sequence[str] | None = None,
    ) -> NewWebhook:
        """Make an endpoint; its ``secret`` is shown here and never again.

        ``events`` are types such as ``key.created``, ``key.*`` for a kind, ``*`` for all.
        ``consumer`` or ``models`` restrict it to matters of these.
        """
        body: dict[str, object] = {"url": url, "events": list(events), "title": title}
        if consumer is not None:
            body["consumer"] = consumer
        if models is not None:
            body["models"] = list(models)
        # A second attempt could make a second endpoint, whose secret nobody ever saw.
        response = self._transport.request("POST", PATH, json=body, retry=Retry.UNSENT)
        return self._transport.read(response, NewWebhook)

    def change(
        self,
        id: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        title: str | None = None,
        enabled: bool | None = None,
    ) -> Webhook:
        """Change what is given. Disabling drops what is still to be sent."""
        wish = {
            "url": url,
            "events": None if events is None else list(events),
            "title": title,
            "enabled": enabled,
        }
        body = {name: value for name, value in wish.items() if value is not None}
        return self._transport.read(self._transport.request("PUT", _path(id), json=body), Webhook)

    def delete(self, id: str) -> None:
        """Remove an endpoint with its deliveries."""
        self._transport.request("DELETE", _path(id))

    def rotate(self, id: str, overlap_s: int = 24 * 3600) -> NewWebhook:
        """Replace the secret. For ``overlap_s`` deliveries carry both signatures; 0: not at all."""
        response = self._transport.request(
            "POST", f"{_path(id)}/rotate", json={"overlap_s": overlap_s}, retry=Retry.UNSENT
        )
        return self._transport.read(response, NewWebhook)

    def test(self, id: str) -> Delivery:
        """Queue an event of type ``webhook.test``."""
        response = self._transport.request("POST", f"{_path(id)}/test", retry=Retry.UNSENT)
        return self._transport.read(response, Delivery)

    def deliveries(self, id: str, *, state: str | None = None) -> list[Delivery]:
        """Deliveries of an endpoint, newest first; only those in ``state`` if it is given."""
        params = {"state": state} if state else None
        return list(listing(self._transport, f"{_path(id)}/deliveries", Delivery, params))

    def delivery(self, id: str, delivery: str) -> Delivery:
        """One delivery."""
        return self._transport.get(f"{_path(id)}/deliveries/{_id(delivery)}", Delivery)

    def replay(self, id: str, delivery: str) -> Delivery:
        """Send a delivery again, with the same event id."""
        path = f"{_path(id)}/deliveries/{_id(delivery)}/replay"
        return self._transport.read(self._transport.request("POST", path), Delivery)

    def replay_range(
        self, id: str, start: datetime, end: datetime, *, everything: bool = False
    ) -> int:
        """Send the events of a time again: those that failed or were missed while the endpoint was
        disabled; with ``everything`` also those delivered. Returns how many."""
        body: dict[str, object] = {
            "from": start.astimezone(UTC).isoformat(),
            "to": end.astimezone(UTC).isoformat(),
            "include": "all" if everything else "undelivered",
        }
        queued = 0
        while True:
            response = self._transport.request("POST", f"{_path(id)}/replay", json=body)
            answer = self._transport.read(response, _Replay)
            queued += answer.queued
            if answer.next is None:
                return queued
            body["after"] = answer.next


def _path(id: str) -> str:
    return f"{PATH}/{_id(id)}"


def _id(text: str) -> str:
    if not text or not text.replace("-", "").isalnum():
        raise errors.InvalidRequestError(f"{text!r} is not an id; `tollway webhooks` shows them")
    return text
