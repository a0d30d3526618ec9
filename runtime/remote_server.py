"""A model on another server of the Open Inference Protocol, over HTTP.

Connects to checked addresses only (:mod:`runtime.checked_transport`), follows no redirect, uses no
proxy, keeps no cookies, and reads no more of an answer than it was told to.
"""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

import httpx
import msgspec

from protocol.errors import Code, TollwayError
from protocol.manifest import Remote
from runtime.checked_transport import CheckedTransport
from runtime.cookies import no_cookies
from runtime.release import software_version
from runtime.remote_credentials import Secret
from runtime.targets import Targets, parse

RESOLVED_S: Final = 10.0
"""How long the addresses of a server's name are used without asking again."""
KEEP_ALIVE_S: Final = 4.0
"""Less than common servers allow: a connection that the other end is closing is not used."""
MAX_NAME: Final = 255
HEADER_LENGTH: Final = "inference-header-content-length"


class RemoteAnswer(NamedTuple):
    """An answer, whole."""

    status: int
    headers: httpx.Headers
    body: bytes


class RemoteFault(Exception):  # noqa: N818 -- says what happened
    """No answer that could be used came. ``str`` is why, in words that name no address."""

    def __init__(self, why: str, *, unanswered: bool) -> None:
        super().__init__(why)
        self.unanswered = unanswered
        """Whether the connection failed before an answer had begun."""


class RemoteServer:
    """The connections to one remote model. Close it when done."""

    def __init__(
        self,
        remote: Remote,
        targets: Targets,
        *,
        verify: ssl.SSLContext | None = None,
        max_connections: int = 1,
    ) -> None:
        """``verify`` are the certificates to trust; None: those of the system's usual bundle."""
        connect_s = remote.connect_timeout_ms / 1000
        self._path = model_path(remote)
        self.secret: Secret | None = None
        """Sent with every request."""
        self._http = httpx.AsyncClient(
            cookies=no_cookies(),
            transport=CheckedTransport(
                targets,
                resolve_timeout_s=connect_s,
                verify=verify,
                limits=httpx.Limits(
                    max_connections=max_connections,
                    max_keepalive_connections=max_connections,
                    keepalive_expiry=KEEP_ALIVE_S,
                ),
                fresh_s=RESOLVED_S,
            ),
            base_url=remote.url,
            follow_redirects=False,
            trust_env=False,
            # The caller bounds the whole; the number of those who wait is bounded as well.
            timeout=httpx.Timeout(None, connect=connect_s),
            headers={
                "User-Agent": f"tollway/{software_version()}",
                "Accept": "application/json, application/octet-stream",
                # An answer is bounded by what is read of it, not by what that unfolds to.
                "Accept-Encoding": "identity",
            },
        )

    async def get(self, what: str, max_bytes: int) -> RemoteAnswer:
        """``GET /v2/models/NAME`` and ``what`` after it. See :meth:`post` for errors."""
        return await self._ask("GET", self._path + what, {}, b"", max_bytes)

    async def get_server(self, max_bytes: int) -> RemoteAnswer:
        """``GET /v2``: what the server says of itself."""
        return await self._ask("GET", "/v2", {}, b"", max_bytes)

    async def post(
        self, what: str, headers: Mapping[str, str], body: bytes, max_bytes: int
    ) -> RemoteAnswer:
        """``POST``. Raises :class:`RemoteFault`, and ``TargetRefused`` for a URL that leads where
        nothing may be sent. Takes as long as the server: bound it."""
        return await self._ask("POST", self._path + what, headers, body, max_bytes)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _ask(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, max_bytes: int
    ) -> RemoteAnswer:
        secret = self.secret
        proof = {} if secret is None else {secret.name: secret.value}
        request = self._http.build_request(
            method, path, headers={**headers, **proof}, content=body or None
        )
        try:
            response = await self._http.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise RemoteFault(_reason(error), unanswered=True) from error
        except httpx.TransportError as error:
            raise RemoteFault(
                "the connection broke before an answer came", unanswered=True
            ) from error
        self._http.cookies.clear()
        try:
            return RemoteAnswer(
                response.status_code, response.headers, await _whole(response, max_bytes)
            )
        except httpx.TransportError as error:
            raise RemoteFault("the answer was cut off", unanswered=False) from error
        finally:
            await response.aclose()


async def _whole(response: httpx.Response, max_bytes: int) -> bytes:
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise RemoteFault("the answer is compressed, which was not asked for", unanswered=False)
    too_large = RemoteFault(f"the answer is larger than {max_bytes} bytes", unanswered=False)
    announced = response.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > max_bytes:
        raise too_large
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_raw():
        size += len(part)
        if size > max_bytes:
            raise too_large
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """By which remote servers are checked: the public CAs, or those in ``ca_file`` (PEM)."""
    if ca_file is None:
        return httpx.create_ssl_context()
    return ssl.create_default_context(cafile=str(ca_file))


def model_path(remote: Remote) -> str:
    """The model's path below the server's URL."""
    path = f"/v2/models/{quote(remote.model, safe='')}"
    return f"{path}/versions/{quote(remote.version, safe='')}" if remote.version else path


def check_remote(remote: Remote) -> Remote:
    """The same, with its URL in the form that is stored. Raises ``INVALID`` for what cannot be a
    server's URL or a model's name; asks nobody."""
    url = parse(remote.url)
    if url.query or remote.url.endswith("?"):
        raise TollwayError(Code.INVALID, "the remote URL must not have a query (?...)")
    text = str(url).rstrip("/")
    if text.endswith("/v2") or "/v2/models" in url.path:
        raise TollwayError(
            Code.INVALID, "give the remote URL without /v2: the model's name goes into 'model'"
        )
    for what, name in (("model", remote.model), ("version", remote.version)):
        empty = what == "model" and not name
        if empty or len(name) > MAX_NAME or not name.isprintable() or name in {".", ".."}:
            raise TollwayError(Code.INVALID, f"the remote {what} {name[:80]!r} is no {what}'s name")
    return msgspec.structs.replace(remote, url=text)


def _reason(error: httpx.TransportError) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the server's certificate is not valid: {cause.verify_message[:120]}"
        cause = cause.__cause__ or cause.__context__
    return "the connection could not be made"
