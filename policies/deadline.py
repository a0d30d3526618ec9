"""How long a call may take under its plan."""

from policies.base import Call


class PlanDeadlinePolicy:
    """Refuses nothing: it brings the call's deadline forward to the plan's, if that is sooner than
    what the client and the gateway allow. Comes before whatever may wait until the deadline."""

    def check(self, call: Call) -> None:
        """Set ``call.deadline``, which runs from the request's headers whoever has set it."""
        plan = call.plan
        if plan is not None and plan.deadline_s is not None:
            call.deadline = min(call.deadline, call.started + plan.deadline_s)
