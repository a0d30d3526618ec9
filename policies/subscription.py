"""Whether the caller's application may use the model."""

from policies.base import Call
from protocol.configuration import SubscriptionDoc
from protocol.errors import Code, TollwayError


class SubscriptionPolicy:
    """Applications use models that they subscribe to, with keys that are not restricted to others.

    Management tokens use every model: publishers try their own without a subscription.
    """

    def __init__(self) -> None:
        self._plans: dict[tuple[str, str], str] = {}

    def check(self, call: Call) -> None:
        """Raise ``FORBIDDEN`` or ``NOT_SUBSCRIBED`` when the identity may not use the model."""
        identity = call.identity
        assert identity is not None
        if identity.manages:
            return
        if identity.models is not None and call.model not in identity.models:
            raise TollwayError(
                Code.FORBIDDEN, f"this API key is restricted to other models than '{call.model}'"
            )
        if (identity.application, call.model) not in self._plans:
            raise TollwayError(
                Code.NOT_SUBSCRIBED,
                f"application '{identity.application}' has no subscription to '{call.model}': "
                "subscribe it to a plan of this model",
            )

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
