"""The plans, and which of them holds between an application and a model."""

from collections.abc import Callable
from sys import intern

from policies.limits import Limits
from protocol.configuration import PlanDoc, SubscriptionDoc


class Subscriptions:
    """Which applications use which models, and under which plan."""

    def __init__(self, changed: Callable[[], None]) -> None:
        """``changed`` is called after each change."""
        self._plans: dict[tuple[str, str], str] = {}
        self._changed = changed

    def plan(self, application: str, model: str) -> str | None:
        """Name of the plan; None without a subscription."""
        return self._plans.get((application, model))

    def put(self, document: SubscriptionDoc) -> None:
        """Learn of a subscription, or of another plan for it."""
        # A name is held once, whatever number of documents it is in: to compare is then to look at
        # one address, and many subscriptions are fewer places in memory.
        application, model = intern(document.application), intern(document.model)
        self._plans[application, model] = intern(document.plan)
        self._changed()

    def remove(self, key: str) -> None:
        """Forget the subscription ``APPLICATION/MODEL``."""
        application, _, model = key.partition("/")
        self._plans.pop((application, model), None)
        self._changed()

    def clear(self) -> None:
        """Forget every subscription."""
        self._plans.clear()
        self._changed()


class Plans:
    """The plans' present terms. Another plan, or other terms of the same one, hold from the moment
    at which their change arrives."""

    def __init__(self) -> None:
        self._joined: dict[tuple[str, str], Limits] = {}
        """Answers of :meth:`of`, so that most questions are one look-up; none outlives a change."""
        self._terms: dict[str, Limits] = {}
        self.subscriptions = Subscriptions(self._joined.clear)

    def of(self, application: str, model: str) -> Limits | None:
        """The terms under which ``application`` uses ``model``. None without a subscription, or
        while the plan's own document has not arrived: never a reason to let a call pass."""
        return self._joined.get((application, model)) or self._join(application, model)

    def _join(self, application: str, model: str) -> Limits | None:
        name = self.subscriptions.plan(application, model)
        found = None if name is None else self._terms.get(name)
        if found is not None:
            self._joined[application, model] = found
        return found

    def put(self, document: PlanDoc) -> None:
        """Learn of a plan, or of other terms of it."""
        self._terms[document.name] = Limits(document)
        self._joined.clear()

    def remove(self, key: str) -> None:
        """Forget the plan of this name."""
        self._terms.pop(key, None)
        self._joined.clear()

    def clear(self) -> None:
        """Forget every plan."""
        self._terms.clear()
        self._joined.clear()
