"""Whether the caller's application may use the model, and under which plan."""

from policies.base import CALLING_ROLES, Call
from policies.plans import Plans
from protocol.errors import Code, TollwayError


class SubscriptionPolicy:
    """Applications use models that they subscribe to, with keys that are not restricted to others.

    Management tokens need no subscription and have no plan: administrators call every model,
    publishers their own, and the other roles none.
    """

    def __init__(self, plans: Plans) -> None:
        self._plans = plans

    def check(self, call: Call) -> None:
        """Set ``call.plan``, or raise ``FORBIDDEN`` or ``NOT_SUBSCRIBED``; ``UNAVAILABLE`` while
        the terms of the plan are not known here."""
        identity = call.identity
        assert identity is not None
        if identity.role is not None:
            if identity.manages(call.model):
                return
            if identity.role not in CALLING_ROLES:
                raise TollwayError(
                    Code.FORBIDDEN,
                    f"a management token with role '{identity.role}' calls no models: use an API "
                    "key of an application",
                )
        if identity.models is not None and call.model not in identity.models:
            raise TollwayError(
                Code.FORBIDDEN, f"this credential is restricted to other models than '{call.model}'"
            )
        plan = call.plan = self._plans.of(identity.application, call.model)
        if plan is None:
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
