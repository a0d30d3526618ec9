"""Where the control role listens: an ``http(s)://`` URL, or ``unix:/path`` on the same machine."""

import httpx

from runtime.control_transport import ControlTransport


def control_client(url: str, cluster_token: str, *, timeout_s: float = 10.0) -> httpx.AsyncClient:
    """A client for control's internal routes, proving its role by the cluster token."""
    headers = {"Authorization": f"Bearer {cluster_token}"}
    return httpx.AsyncClient(
        base_url="http://control" if url.startswith("unix:") else url,
        headers=headers,
        transport=ControlTransport(url),
        timeout=timeout_s,
        trust_env=False,
    )
