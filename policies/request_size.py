"""How large a request body may be."""

from policies.base import Call
from protocol.errors import Code, TollwayError


class RequestSizePolicy:
    """Refuses a declared body that is too large before any of it is read."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes

    def check(self, call: Call) -> None:
        """Raise ``TOO_LARGE`` when ``Content-Length`` exceeds the limit."""
        if call.content_length > self.max_bytes:
            raise self.refusal()

    def refusal(self) -> TollwayError:
        """The error for a body that is too large, declared or not."""
        return TollwayError(
            Code.TOO_LARGE,
            f"the body is larger than {self.max_bytes} bytes: send fewer rows per request",
        )
