"""HTTP to the server: credentials, time limits, retries, and answers turned into typed errors."""

import ipaddress
import random
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

import httpx
import msgspec

from tollway import errors
from tollway.trust import trust
from tollway.version import __version__

T = TypeVar("T")
Content = bytes | None
_RETRIED_STATUS = frozenset({502, 503, 504})


class Retry(Enum):
    """When a request may be sent again."""

    IDEMPOTENT = "idempotent"
    """Whenever no answer came, or the server is not ready: a second one does no harm."""
    UNSENT = "unsent"
    """Only when the connection could not be made, so the server cannot have acted on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how patiently to try again. Waits double, with jitter, up to ``longest_s``."""

    attempts: int = 5
    first_s: float = 0.2
    longest_s: float = 5.0


class Transport:
    """One connection pool to one server. Safe to use from several threads."""

    def __init__(
        self,
        url: str,
        token: str | None,
        *,
        timeout_s: float,
        retry: RetryPolicy,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url
        self.timeout_s = timeout_s
        self._retry = retry
        self._sleep = sleep
        headers = {"User-Agent": f"tollway-python/{__version__}", "Accept": "application/json"}
        if token:
            _check_token(token)
            headers["Authorization"] = f"Bearer {token}"
        self._timeout = _limits(timeout_s)
        trusted = trust()
        try:
            self._http = httpx.Client(
                base_url=url,
                headers=headers,
                timeout=self._timeout,
                transport=transport,
                verify=trusted,
                trust_env=not _is_loopback(url),
                follow_redirects=False,  # a redirect would carry the token elsewhere
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise errors.ConnectionFailed(f"{url!r} is not a URL: {error}") from error

    def close(self) -> None:
        """Close the pooled connections."""
        self._http.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        content: Content = None,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        retry: Retry = Retry.IDEMPOTENT,
        timeout_s: float | None = None,
        accept: frozenset[int] = frozenset(),
        anonymous: bool = False,
    ) -> httpx.Response:
        """Send, again if ``retry`` allows, and return the answer.

        Raises the typed error for a status of 300 and above that is not in ``accept``. POST carries
        one ``Idempotency-Key`` over all attempts. ``anonymous`` leaves the token out.
        """
        sent = dict(headers or {})
        if json is not None:
            content = msgspec.json.encode(json)
            sent.setdefault("Content-Type", "application/json")
        if method == "POST":
            sent.setdefault("Idempotency-Key", secrets.token_hex(16))
        limit = self._timeout if timeout_s is None else _limits(timeout_s)
        request = self._http.build_request(
            method, path, content=content, params=params, headers=sent, timeout=limit
        )
        if anonymous:
            request.headers.pop("Authorization", None)
        waits = self._waits()
        while True:
            try:
                response = self._http.send(request)
            except httpx.RequestError as error:
                wait = next(waits, None)
                unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                if wait is None or not (unsent or retry is Retry.IDEMPOTENT):
                    raise self._no_answer(error) from error
                self._sleep(wait)
                continue
            if response.is_success or response.status_code in accept:
                return response
            failure = errors.from_response(
                response.status_code,
                response.content,
                request_id=response.headers.get("X-Request-Id", ""),
                retry_after=response.headers.get("Retry-After"),
            )
            again = response.status_code in _RETRIED_STATUS and retry is Retry.IDEMPOTENT
            wait = next(waits, None) if again else None
            if wait is None:
                raise failure
            self._sleep(min(max(wait, failure.retry_after_s or 0.0), self._retry.longest_s))

    def read(self, response: httpx.Response, type: type[T]) -> T:
        """The answer's JSON as ``type``; ServerError when it is something else."""
        try:
            return msgspec.json.decode(response.content, type=type)
        except msgspec.DecodeError as error:
            raise errors.ServerError(
                f"the answer of {self.url}{response.request.url.path} is not what this client"
                f" understands ({error}); is this a Tollway server, and not newer than the client?",
                status=response.status_code,
                request_id=response.headers.get("X-Request-Id", ""),
            ) from error

    def get(self, path: str, type: type[T], params: Mapping[str, str | int] | None = None) -> T:
        """GET ``path`` as ``type``."""
        return self.read(self.request("GET", path, params=params), type)

    def _waits(self) -> Iterator[float]:
        longest = self._retry.first_s
        for _ in range(self._retry.attempts - 1):
            yield longest * random.uniform(0.5, 1.0)  # noqa: S311 -- spreads retries, no secret
            longest = min(longest * 2, self._retry.longest_s)

    def _no_answer(self, error: httpx.RequestError) -> errors.TollwayError:
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return errors.ConnectionFailed(f"no connection to {self.url}: {_reason(error)}")
        if isinstance(error, httpx.TimeoutException):
            return errors.TimedOut(f"{self.url} did not answer in time")
        return errors.ConnectionFailed(f"the connection to {self.url} broke: {_reason(error)}")


def _limits(timeout_s: float) -> httpx.Timeout:
    """However long the answer may take, a server that is there accepts a connection soon."""
    return httpx.Timeout(timeout_s, connect=min(timeout_s, 10.0))


def _reason(error: httpx.RequestError) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _check_token(token: str) -> None:
    # Refused here, because the message of the HTTP library would quote it.
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise errors.AuthenticationError("the token holds characters that no token has")


def _is_loopback(url: str) -> bool:
    """Whether the server is on this machine, where a proxy of the environment cannot reach it."""
    try:
        host = httpx.URL(url).host
    except httpx.InvalidURL:
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
