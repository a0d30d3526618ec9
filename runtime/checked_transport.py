"""HTTP connections to checked addresses only, see :mod:`runtime.targets`."""

import ssl
import time
from collections.abc import Callable
from typing import Final

import httpx

from runtime.targets import Target, Targets

_CONNECTIONS: Final = httpx.Limits()


class CheckedTransport(httpx.AsyncBaseTransport):
    """Resolves a request's host, checks every address, and connects to a checked one.

    Certificates are checked against the name in the URL. A client over it must not follow
    redirects by itself, nor go through a proxy: either would lead past the check. Idle connections
    are kept by address: a transport that keeps any is for one host. Raises ``TargetRefused``, and
    httpx's own errors.
    """

    def __init__(
        self,
        targets: Targets,
        *,
        resolve_timeout_s: float,
        verify: ssl.SSLContext | None = None,
        limits: httpx.Limits = _CONNECTIONS,
        fresh_s: float = 0.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``verify`` are the certificates to trust; None: those of the system's usual bundle.
        ``fresh_s`` is how long the addresses found for a host are used without asking again."""
        self._targets = targets
        self._resolve_timeout_s = resolve_timeout_s
        self._fresh_s = fresh_s
        self._monotonic = monotonic
        self._found: tuple[float, httpx.URL, Target] | None = None
        self._http = httpx.AsyncHTTPTransport(
            verify=httpx.create_ssl_context() if verify is None else verify,
            limits=limits,
            trust_env=False,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send to the first address that can be connected to."""
        target = await self._target(request.url)
        last = len(target.addresses) - 1
        for number, address in enumerate(target.addresses):
            try:
                return await self._http.handle_async_request(_to(request, address))
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if number == last:
                    raise
        raise AssertionError("a target has an address")

    async def _target(self, url: httpx.URL) -> Target:
        origin = url.copy_with(raw_path=b"/")
        now = self._monotonic()
        if self._found is not None and self._found[0] > now and self._found[1] == origin:
            return self._found[2]
        target = await self._targets.check(str(origin), self._resolve_timeout_s)
        self._found = (now + self._fresh_s, origin, target)
        return target

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()


def _to(request: httpx.Request, address: str) -> httpx.Request:
    """The same request to this address; its ``Host`` was set by the name."""
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={
            **request.extensions,
            "sni_hostname": request.url.raw_host.decode("ascii"),
        },
    )
