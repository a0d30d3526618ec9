"""Who may read ``/metrics`` on the gateway's public port."""

import hmac
from collections.abc import Mapping

from policies.api_key import ApiKeyPolicy
from policies.base import Call
from protocol.errors import TollwayError

LOOPBACK = frozenset({"127.0.0.1", "::1"})
_PROXIED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


class ScrapeAccess:
    """Processes of this machine that reach the port directly, the cluster token, admin tokens."""

    def __init__(self, credentials: ApiKeyPolicy, cluster_token: bytes) -> None:
        self._credentials = credentials
        self._cluster_token = cluster_token

    def allows(self, client: str, headers: Mapping[str, str]) -> bool:
        """Whether a request from ``client`` (an address) may read the metrics."""
        if client in LOOPBACK and not any(name in headers for name in _PROXIED):
            return True
        scheme, _, credential = headers.get("authorization", "").partition(" ")
        token = credential.encode()
        if scheme.lower() != "bearer" or not token:
            return False
        if hmac.compare_digest(token, self._cluster_token):
            return True
        call = Call(model="", credential=token)
        try:
            self._credentials.check(call)
        except TollwayError:
            return False
        return call.identity is not None and call.identity.role in {"admin", "auditor"}
