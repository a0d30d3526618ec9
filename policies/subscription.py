"""Whether the caller's application may use the model, and under which plan."""

from policies.base import Call
from policies.plans import Plans
from protocol.errors import Code, TollwayError


class SubscriptionPolicy:
    """Applications use models that they subscribe to, with keys that are not restricted to others.

    Management tokens need no subscription and have no plan: publishers try their own models.
    """

    def __init__(self, plans: Plans) -> None:
        self._plans = plans

    def check(self, call: Call) -> None:
        """Set ``call.plan``, or raise ``FORBIDDEN`` or ``NOT_SUBSCRIBED``; ``UNAVAILABLE`` while
        the terms of the plan are not known here."""
        identity = call.identity
        assert identity is not None
        if identity.manages:
            return
        if identity.models is not None and call.model not in identity.models:
            raise TollwayError(
                Code.FORBIDDEN, f"this API key is restricted to other models than '{call.model}'"
            )
        call.plan = self._plans.of(identity.application, call.model)
        if call.plan is None:
            raise self._refusal(identity.application, call.model)

    def _refusal(self, application: str, model: str) -> TollwayError:
        plan = self._plans.subscriptions.plan(application, model)
        if plan is None:
            return TollwayError(
                Code.NOT_SUBSCRIBED,
                f"application '{application}' has no subscription to '{model}': "
                "subscribe it to a plan of this model",
            )
        return TollwayError(
            Code.UNAVAILABLE,
            f"the terms of plan '{plan}' have not arrived at this gateway yet: try again soon",
        )
