"""One attempt at one delivery over HTTP: bounded in time and size, to a checked address only."""

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Final, NamedTuple, Self

import httpx

from runtime.checked_transport import CheckedTransport
from runtime.cookies import no_cookies
from runtime.targets import TargetRefused, Targets, parse

MAX_RESPONSE_BYTES: Final = 16 << 10
"""Of an answer's body as much is read, and none of it is kept."""
READ_S: Final = 1.0
"""How long the body is read for."""
_GONE: Final = 410
_THROTTLED: Final = frozenset({429, 503})


class Outcome(NamedTuple):
    """How an attempt ended."""

    delivered: bool
    status: int | None
    """HTTP status; None when no answer came."""
    error: str
    """Why it failed, in words that tell nothing of the network inside; empty when it did not."""
    duration_ms: int
    retry_after_s: float | None = None
    gone: bool = False
    """The receiver wants no more deliveries (410)."""
    refused: bool = False
    """Nothing was sent, because the target is not allowed."""


class Sender:
    """Sends over fresh connections: one made for another name on the same address is never
    used again. An async context manager, or call :meth:`close`."""

    def __init__(
        self,
        targets: Targets,
        *,
        connect_timeout_s: float,
        timeout_s: float,
        user_agent: str,
        verify: ssl.SSLContext | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``timeout_s`` is for the whole attempt, resolving the name included."""
        self._timeout_s = timeout_s
        self._user_agent = user_agent
        self._monotonic = monotonic
        self._http = httpx.AsyncClient(
            cookies=no_cookies(),
            transport=CheckedTransport(
                targets,
                resolve_timeout_s=connect_timeout_s,
                verify=verify,
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            ),
            follow_redirects=False,
            trust_env=False,
            timeout=httpx.Timeout(timeout_s, connect=connect_timeout_s),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the client. Attempts under way fail."""
        await self._http.aclose()

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """POST ``body``. Never raises for what a receiver, or the way to it, does."""
        began = self._monotonic()

        def outcome(error: str, **more: bool) -> Outcome:
            return Outcome(False, None, error, self._since(began), **more)

        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._post(url, headers, body, began)
        except TargetRefused as error:
            return outcome(error.public, refused=True)
        except TimeoutError:
            return outcome(f"no answer within {self._timeout_s:g} s")
        except httpx.TimeoutException:
            return outcome("the connection or the answer took too long")
        except httpx.HTTPError as error:
            return outcome(_reason(error))

    async def _post(
        self, url: str, headers: Mapping[str, str], body: bytes, began: float
    ) -> Outcome:
        request = self._http.build_request(
            "POST",
            parse(url),
            content=body,
            headers={
                **headers,
                "User-Agent": self._user_agent,
                "Content-Type": "application/json",
                "Accept-Encoding": "identity",
                "Connection": "close",
            },
        )
        response = await self._http.send(request, stream=True)
        try:
            await _read_some(response)
        finally:
            await response.aclose()
        status = response.status_code
        delivered = response.is_success
        return Outcome(
            delivered=delivered,
            status=status,
            error="" if delivered else f"the receiver answered {status}",
            duration_ms=self._since(began),
            retry_after_s=_retry_after(response) if status in _THROTTLED else None,
            gone=status == _GONE,
        )

    def _since(self, began: float) -> int:
        return round((self._monotonic() - began) * 1000)


async def _read_some(response: httpx.Response) -> None:
    """Read the body up to the bound, so that an orderly receiver sees an orderly end.

    The status has been received: what becomes of the body changes nothing.
    """
    read = 0
    try:
        async with asyncio.timeout(READ_S):
            async for chunk in response.aiter_raw():
                read += len(chunk)
                if read >= MAX_RESPONSE_BYTES:
                    return
    except (httpx.TransportError, httpx.StreamError, TimeoutError):
        return


def _retry_after(response: httpx.Response) -> float | None:
    text = response.headers.get("retry-after", "").strip()
    return float(text) if text.isascii() and text.isdecimal() and len(text) < 7 else None  # noqa: PLR2004


def _reason(error: httpx.HTTPError) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the certificate is not valid: {cause.verify_message[:120]}"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.ConnectError):
        return "the connection could not be made"
    return "the connection broke before an answer came"
