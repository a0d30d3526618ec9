"""Where the control role listens: an ``http(s)://`` URL, or ``unix:/path`` on the same machine."""

import httpx


def control_client(
    url: str, cluster_token: str, *, timeout_s: float = 10.0, limits: httpx.Limits | None = None
) -> httpx.AsyncClient:
    """A client for control's internal routes, proving its role by the cluster token."""
    headers = {"Authorization": f"Bearer {cluster_token}"}
    transport = control_transport(url, limits)
    base = "http://control" if url.startswith("unix:") else url
    return httpx.AsyncClient(
        base_url=base, headers=headers, transport=transport, timeout=timeout_s, trust_env=False
    )


def control_transport(url: str, limits: httpx.Limits | None = None) -> httpx.AsyncHTTPTransport:
    """A transport to control, over its Unix socket where the URL names one."""
    path = url.removeprefix("unix:") if url.startswith("unix:") else None
    return httpx.AsyncHTTPTransport(uds=path, limits=limits or httpx.Limits(), retries=0)
