"""How large a request body may be."""

from policies.base import Call
from protocol.errors import Code, TollwayError


class RequestSizePolicy:
    """Refuses a declared body that is too large before any of it is read. What is not declared is
    measured by the lanes against :meth:`limit` while it arrives."""

    def __init__(self, max_bytes: int) -> None:
        """``max_bytes``: the gateway's own limit, which no plan exceeds."""
        self._max_bytes = max_bytes

    def check(self, call: Call) -> None:
        """Raise ``TOO_LARGE`` when ``Content-Length`` exceeds the limit."""
        if call.content_length > self.limit(call):
            raise self.refusal(call)

    def limit(self, call: Call) -> int:
        """Bytes that the call's body may have, as far as is known of the call by now."""
        of_plan = None if call.plan is None else call.plan.max_body_bytes
        if of_plan is None or of_plan > self._max_bytes:
            return self._max_bytes
        return of_plan

    def refusal(self, call: Call) -> TollwayError:
        """The error for a body that is too large, declared or not."""
        limit, plan = self.limit(call), call.plan
        whose = f", the limit of plan '{plan.name}'" if plan and limit < self._max_bytes else ""
        return TollwayError(
            Code.TOO_LARGE,
            f"the body is larger than {limit} bytes{whose}: send fewer rows per request",
        )
