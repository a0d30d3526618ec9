"""The plans, and which of them holds between an application and a model."""

from protocol.configuration import PlanDoc, SubscriptionDoc


class Subscriptions:
    """Which applications use which models, and under which plan."""

    def __init__(self) -> None:
        self._plans: dict[tuple[str, str], str] = {}

    def plan(self, application: str, model: str) -> str | None:
        """Name of the plan; None without a subscription."""
        return self._plans.get((application, model))

    def put(self, document: SubscriptionDoc) -> None:
        """Learn of a subscription, or of another plan for it."""
        self._plans[document.application, document.model] = document.plan

    def remove(self, key: str) -> None:
        """Forget the subscription ``APPLICATION/MODEL``."""
        application, _, model = key.partition("/")
        self._plans.pop((application, model), None)

    def clear(self) -> None:
        """Forget every subscription."""
        self._plans.clear()


class Plans:
    """The plans' present terms. Joined with the subscriptions at each question, so that another
    plan, or other terms of the same one, hold from the moment at which their change arrives."""

    def __init__(self) -> None:
        self.subscriptions = Subscriptions()
        self._documents: dict[str, PlanDoc] = {}

    def of(self, application: str, model: str) -> PlanDoc | None:
        """The terms under which ``application`` uses ``model``. None without a subscription, or
        while the plan's own document has not arrived: never a reason to let a call pass."""
        name = self.subscriptions.plan(application, model)
        return None if name is None else self._documents.get(name)

    def put(self, document: PlanDoc) -> None:
        """Learn of a plan, or of other terms of it."""
        self._documents[document.name] = document

    def remove(self, key: str) -> None:
        """Forget the plan of this name."""
        self._documents.pop(key, None)

    def clear(self) -> None:
        """Forget every plan."""
        self._documents.clear()
