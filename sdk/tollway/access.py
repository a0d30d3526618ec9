"""Who may call: applications, their subscriptions and keys."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from tollway import errors
from tollway.registry import Waiter, check_name, listing
from tollway.resources import Application, Consumer, Key, NewKey, Subscription
from tollway.transport import Retry, Transport

DEFAULT_PLAN = "unlimited"
_NOT_FOUND = 404
_UNAUTHORIZED = 401
KEY_WAIT_S = 5.0
"""How long ``create_key`` waits for the gateway to know the key. It is made by then in any case."""


class Access:
    """The part of the management API about consumers."""

    def __init__(self, transport: Transport, waiter: Waiter) -> None:
        self._transport = transport
        self._waiter = waiter

    def consumers(self) -> list[Consumer]:
        """Every consumer, by name."""
        return list(listing(self._transport, "/api/v1/consumers", Consumer))

    def create_consumer(self, name: str, *, title: str | None = None) -> Consumer:
        """Make a consumer, or update it."""
        body = {} if title is None else {"title": title}
        response = self._transport.request("PUT", _consumer(name), json=body)
        return self._transport.read(response, Consumer)

    def delete_consumer(self, name: str, *, cascade: bool = False) -> None:
        """Delete a consumer; with ``cascade`` its applications end first."""
        params = {"cascade": "true"} if cascade else None
        self._transport.request("DELETE", _consumer(name), params=params)

    def applications(self) -> list[Application]:
        """Every application, by name."""
        return list(listing(self._transport, "/api/v1/applications", Application))

    def create_application(
        self,
        name: str,
        *,
        consumer: str | None = None,
        title: str | None = None,
        origins: Sequence[str] | None = None,
        capture: bool | None = None,
    ) -> Application:
        """Make an application, or update it."""
        wish = {
            "consumer": consumer,
            "title": title,
            "origins": None if origins is None else list(origins),
            "capture": capture,
        }
        body = {key: value for key, value in wish.items() if value is not None}
        path = f"/api/v1/applications/{check_name(name, 'application')}"
        return self._transport.read(self._transport.request("PUT", path, json=body), Application)

    def delete_application(self, name: str) -> None:
        """End an application with its keys and subscriptions."""
        path = f"/api/v1/applications/{check_name(name, 'application')}"
        self._transport.request("DELETE", path)

    def subscriptions(
        self,
        application: str | None = None,
        model: str | None = None,
        state: str | None = None,
    ) -> list[Subscription]:
        """Which application may call which model, under which plan."""
        query = {"application": application, "model": model, "state": state}
        params = {key: value for key, value in query.items() if value is not None}
        return list(listing(self._transport, "/api/v1/subscriptions", Subscription, params))

    def subscribe(self, application: str, model: str, plan: str | None = None) -> Subscription:
        """Let an application call a model. With no ``plan``, one that it has already stays."""
        path = _subscription(application, model)
        found = self._transport.request("GET", path, accept=frozenset({_NOT_FOUND}))
        if found.is_success:
            present = self._transport.read(found, Subscription)
            settled = present.state != "refused" and present.requested_plan is None
            if plan is None or (plan == present.plan and settled):
                return present
        body = {"plan": plan or DEFAULT_PLAN}
        return self._transport.read(self._transport.request("PUT", path, json=body), Subscription)

    def unsubscribe(self, application: str, model: str) -> None:
        """End a subscription."""
        self._transport.request("DELETE", _subscription(application, model))

    def decide(self, application: str, model: str, decision: str, reason: str) -> Subscription:
        """``approve`` or ``refuse`` what a subscription waits for."""
        path = f"{_subscription(application, model)}/{decision}"
        response = self._transport.request("POST", path, json={"reason": reason})
        return self._transport.read(response, Subscription)

    def create_key(
        self,
        application: str,
        model: str,
        *,
        plan: str | None,
        environment: str,
        restrictions: Mapping[str, object],
    ) -> NewKey:
        """A key that works when this returns; makes the application and its subscription."""
        # Asked first, so that a mistyped model does not leave an application behind.
        self._transport.request("GET", f"/api/v1/models/{check_name(model, 'model')}")
        path = f"/api/v1/applications/{check_name(application, 'application')}"
        found = self._transport.request("GET", path, accept=frozenset({_NOT_FOUND}))
        if not found.is_success:
            self.create_application(application)
        self.subscribe(application, model, plan)
        given = {key: value for key, value in restrictions.items() if value is not None}
        response = self._transport.request(
            "POST",
            "/api/v1/keys",
            json={"application": application, "environment": environment, **_plain(given)},
            # A second attempt could make a second key, whose secret nobody ever saw.
            retry=Retry.UNSENT,
        )
        key = self._transport.read(response, NewKey)
        self._wait_known(key)
        return key

    def keys(self, application: str | None = None) -> list[Key]:
        """Keys, without their secrets."""
        params = {"application": application} if application else None
        return list(listing(self._transport, "/api/v1/keys", Key, params))

    def revoke_key(self, key_id: str) -> None:
        """Make a key worthless, at every gateway within a second."""
        self._transport.request("POST", f"{_key(key_id)}/revoke")

    def update_key(self, key_id: str, changes: Mapping[str, object]) -> Key:
        """Change what is named; None lifts a restriction."""
        response = self._transport.request("PATCH", _key(key_id), json=_plain(changes))
        return self._transport.read(response, Key)

    def rotate_key(self, key_id: str, overlap_s: int) -> NewKey:
        """A new secret for the key that works when this returns."""
        response = self._transport.request(
            "POST",
            f"{_key(key_id)}/rotate",
            json={"overlap_s": overlap_s},
            # A second attempt could end a secret that nobody ever saw.
            retry=Retry.UNSENT,
        )
        key = self._transport.read(response, NewKey)
        self._wait_known(key)
        return key

    def _wait_known(self, key: NewKey) -> None:
        # Statistics ask who calls before anything else, so this need not be a model: 401 until the
        # gateway knows the key. What was changed before the key reaches the gateway before it.
        def look() -> bool | None:
            response = self._transport.request(
                "GET",
                "/v2/models/-/stats",
                headers={"X-API-Key": key.secret},
                anonymous=True,
                accept=frozenset(range(400, 600)),
            )
            return None if response.status_code == _UNAUTHORIZED else True

        self._waiter.until(look, KEY_WAIT_S)


def _consumer(name: str) -> str:
    return f"/api/v1/consumers/{check_name(name, 'consumer')}"


def _subscription(application: str, model: str) -> str:
    return (
        f"/api/v1/subscriptions/{check_name(application, 'application')}"
        f"/{check_name(model, 'model')}"
    )


def _key(key_id: str) -> str:
    if not key_id or not key_id.replace("-", "").replace("_", "").isalnum():
        raise errors.InvalidRequestError("this is not a key's id; `tollway keys list` shows them")
    return f"/api/v1/keys/{key_id}"


def _plain(values: Mapping[str, object]) -> dict[str, object]:
    """Values as JSON has them: times with their zone, sequences as lists."""
    return {
        name: _moment(value)
        if isinstance(value, datetime)
        else list(value)
        if isinstance(value, Sequence) and not isinstance(value, str)
        else value
        for name, value in values.items()
    }


def _moment(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    if moment.tzinfo is None:
        moment = moment.astimezone()
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
