"""Whether the request's headers ask for what can be done."""

from policies.base import Call
from protocol.errors import TollwayError


class RequestHeadersPolicy:
    """Comes after the caller's right to the model, so that a refusal tells them how their limits
    stand, as every answer does, and tells strangers nothing."""

    def check(self, call: Call) -> None:
        """Raise what the lane found wrong with the headers."""
        if call.flaw is not None:
            raise TollwayError(*call.flaw)
