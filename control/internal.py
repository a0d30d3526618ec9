"""How the other roles prove themselves on internal routes: the cluster token."""

import hmac

from control.identity.authentication import bearer
from protocol.errors import Code, TollwayError

PREFIX = "/internal/"


class ClusterToken:
    """Holds the token; compares in constant time."""

    def __init__(self, token: bytes) -> None:
        self._token = token

    def check(self, authorization: bytes | None) -> None:
        """Raise ``UNAUTHENTICATED`` unless the header carries the cluster token."""
        sent = bearer(authorization)
        if sent is None or not hmac.compare_digest(sent, self._token):
            raise TollwayError(Code.UNAUTHENTICATED, "internal routes need the cluster token")
