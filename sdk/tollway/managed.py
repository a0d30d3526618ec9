"""The client's methods about who may call: applications, plans, subscriptions, keys."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import EllipsisType

from tollway.access import Access
from tollway.plans import Plans
from tollway.resources import Application, Consumer, Key, NewKey, Plan, Subscription


class Managed:
    """What :class:`tollway.Client` offers beside models and predictions."""

    _access: Access
    _plans: Plans

    def consumers(self) -> list[Consumer]:
        """Every consumer that the token reaches, by name."""
        return self._access.consumers()

    def create_consumer(self, name: str, *, title: str | None = None) -> Consumer:
        """Make a consumer, or update it: a person, team or company that has applications."""
        return self._access.create_consumer(name, title=title)

    def delete_consumer(self, name: str, *, cascade: bool = False) -> None:
        """Delete a consumer. One that has applications is refused, unless ``cascade`` ends these
        first, with their keys and subscriptions; all of it or nothing happens."""
        self._access.delete_consumer(name, cascade=cascade)

    def applications(self) -> list[Application]:
        """Every application that the token reaches, by name."""
        return self._access.applications()

    def create_application(
        self,
        name: str,
        *,
        consumer: str | None = None,
        title: str | None = None,
        origins: Sequence[str] | None = None,
        capture: bool | None = None,
    ) -> Application:
        """Make an application, or update it. ``origins`` are the web origins (``https://host``)
        whose pages may call with its keys; an empty list takes them away. ``capture=False``: no
        payload of its calls is kept, whatever a model captures."""
        return self._access.create_application(
            name, consumer=consumer, title=title, origins=origins, capture=capture
        )

    def delete_application(self, name: str) -> None:
        """End an application: its keys are revoked and its subscriptions removed with it."""
        self._access.delete_application(name)

    def subscribe(self, application: str, model: str, plan: str | None = None) -> Subscription:
        """Let an application call a model. With no ``plan``, one that it has already stays.

        Under a plan that asks for approval the subscription is ``pending`` until who manages the
        model approves; an active one keeps its plan meanwhile.
        """
        return self._access.subscribe(application, model, plan)

    def unsubscribe(self, application: str, model: str) -> None:
        """End a subscription, at every gateway within a second."""
        self._access.unsubscribe(application, model)

    def subscriptions(
        self,
        application: str | None = None,
        model: str | None = None,
        state: str | None = None,
    ) -> list[Subscription]:
        """Which application may call which model, under which plan. The ``state`` ``pending``
        includes active ones that wait for another plan."""
        return self._access.subscriptions(application, model, state)

    def approve(self, application: str, model: str, reason: str = "") -> Subscription:
        """Agree to what a subscription waits for."""
        return self._access.decide(application, model, "approve", reason)

    def refuse(self, application: str, model: str, reason: str) -> Subscription:
        """Disagree, and say why. An active subscription keeps the plan that it has."""
        return self._access.decide(application, model, "refuse", reason)

    def plans(self) -> list[Plan]:
        """Every plan, by name."""
        return self._plans.list()

    def plan(self, name: str) -> Plan:
        """The plan of this name."""
        return self._plans.get(name)

    def set_plan(self, name: str, changes: Mapping[str, object]) -> Plan:
        """Make a plan, or change it: ``changes`` are fields of :class:`Plan` with JSON values, what
        they do not name stays, None lifts a limit. Nobody else's change is overwritten."""
        return self._plans.set(name, changes)

    def delete_plan(self, name: str) -> None:
        """Delete a plan that no subscription uses."""
        self._plans.delete(name)

    def create_key(
        self,
        application: str,
        model: str,
        plan: str | None = None,
        *,
        label: str | None = None,
        environment: str = "live",
        scopes: Sequence[str] | None = None,
        models: Sequence[str] | None = None,
        networks: Sequence[str] | None = None,
        expires_at: datetime | None = None,
    ) -> NewKey:
        """Make a key that may call ``model``; ``key.secret`` is shown here and never again.

        Makes the application and its subscription when they do not exist yet; with no ``plan``, a
        subscription that exists keeps its plan and a new one gets ``unlimited``. ``models`` narrows
        the key to some of what the application subscribes to, ``scopes`` to some uses, ``networks``
        to addresses or CIDR networks.
        """
        return self._access.create_key(
            application,
            model,
            plan=plan,
            environment=environment,
            restrictions={
                "label": label,
                "scopes": scopes,
                "models": models,
                "networks": networks,
                "expires_at": expires_at,
            },
        )

    def keys(self, application: str | None = None) -> list[Key]:
        """Keys, without their secrets."""
        return self._access.keys(application)

    def update_key(
        self,
        key_id: str,
        *,
        label: str | EllipsisType = ...,
        scopes: Sequence[str] | EllipsisType | None = ...,
        models: Sequence[str] | EllipsisType | None = ...,
        networks: Sequence[str] | EllipsisType | None = ...,
        expires_at: datetime | EllipsisType | None = ...,
    ) -> Key:
        """Relabel or restrict a key: what is not given stays, None lifts a restriction."""
        given: dict[str, object] = {
            "label": label,
            "scopes": scopes,
            "models": models,
            "networks": networks,
            "expires_at": expires_at,
        }
        return self._access.update_key(
            key_id, {name: value for name, value in given.items() if value is not ...}
        )

    def rotate_key(self, key_id: str, overlap_s: int) -> NewKey:
        """Give a key a new secret, shown here and never again. Earlier ones work for ``overlap_s``
        more seconds at most: with 0 they end now. The id stays."""
        return self._access.rotate_key(key_id, overlap_s)

    def revoke_key(self, key_id: str) -> None:
        """Make a key and all its secrets worthless, at every gateway within a second."""
        self._access.revoke_key(key_id)
